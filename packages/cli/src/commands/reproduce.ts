import { stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { METHODS, terminalChart } from "@lenggen/evals";
import { LenggenError } from "@lenggen/kernels";
import { makeFolder, writeWhole } from "@lenggen/kernels/node";
import { CHECKPOINT_HELP, findCheckpoint } from "../checkpoints";
import { addSavingOptions, type CommandSpec } from "../command";
import { MODEL_HELP, MODEL_LIST, modelNamed } from "../models";
import { oneOf, parseLength } from "../parse";
import type { Experiment, ReproductionInput, View } from "../reproduce/experiment";
import { EXPERIMENTS } from "../reproduce/experiments";
import { holdingParts } from "../reproduce/locks";
import { addFieldOption, TEXT_HELP } from "../texts";
import { addTokenizerOption } from "../tokens";
import { UsageError } from "../usage";

interface Options extends Partial<Readonly<Record<Asked, unknown>>> {
  readonly preset: string;
  readonly model?: string;
  readonly checkpoint?: string;
  readonly text?: string;
  readonly heldOut?: string;
  readonly field?: string;
  readonly tokenizer?: string;
  readonly trainLength?: number;
  readonly methods?: string;
  readonly out?: string;
  readonly fromScratch: boolean;
  readonly only?: string;
}

/** Options that not every experiment takes, by their names in {@link Options}, with what an experiment has instead. */
const ASKED = {
  model: { flag: "--model", choice: "chosen", why: "compares models of its own" },
  checkpoint: { flag: "--checkpoint", choice: "checkpoint", why: "trains its models itself" },
  text: { flag: "--text", choice: "text", why: "has texts of its own" },
  heldOut: { flag: "--held-out", choice: "heldOut", why: "has texts of its own" },
  field: { flag: "--field", choice: "field", why: "has texts of its own" },
  tokenizer: { flag: "--tokenizer", choice: "tokenizer", why: "has models of bytes" },
  trainLength: { flag: "--train-length", choice: "trainLength", why: "has lengths of its own" },
  methods: { flag: "--methods", choice: "methods", why: "has methods of its own" },
} as const;
type Asked = keyof typeof ASKED;

/** What a checkpoint can be trained on with. */
const METHOD_NAMES = METHODS.filter((method) => method !== "base");

const NAMES = Object.keys(EXPERIMENTS);
const PRESETS = [...new Set(Object.values(EXPERIMENTS).flatMap(({ presets }) => presets))];
const REPORT = "report.json";

export const reproduce: CommandSpec = {
  name: "reproduce",
  summary: "Repeat an experiment from beginning to end, and write a report of what came out.",
  examples: ["lenggen reproduce unexplored-states --preset quick", "lenggen reproduce unexplored-states --model tiny-byte",
    "lenggen reproduce unexplored-states --preset full --seed 1 --out runs/full-1", "lenggen reproduce gca-retrieval --preset quick",
    "lenggen reproduce published --checkpoint my-mamba2 --methods state-passing,tbtt"],
  define: (command) =>
    addTokenizerOption(addFieldOption(addSavingOptions(command)), "published: that of the checkpoint")
      .argument("<experiment>", `one of ${NAMES.join(", ")}`)
      .option("--preset <name>", `size of the experiment: ${PRESETS.join(", ")}`, "quick")
      .option("--model <name>", `unexplored-states: train this model, of any recurrent family: ${MODEL_HELP}; the size is then its own, `
        + "whatever the preset says")
      .option("--checkpoint <place>",
        `published: the checkpoint to measure and to train on: ${CHECKPOINT_HELP}`)
      .option("--text <source>", `published: what it is trained on with: ${TEXT_HELP}; sotu unless given`)
      .option("--held-out <source>", "published: what it is measured on, likewise; moby-dick unless given")
      .option("--train-length <n>", "published: tokens per sequence that it was trained on; 2,048 unless given",
        (text) => parseLength(text, "--train-length"))
      .option("--methods <names>", `published: what it is trained on with, separated by commas: ${METHOD_NAMES.join(", ")}; state-passing `
        + "unless given")
      .option("--out <folder>", "where everything goes; a new folder below runs/ unless given. An interrupted run in it goes on")
      .option("--from-scratch", "train even where a checkpoint comes with this package", false)
      .option("--only <models>",
        "do the part of these models alone, without a report; processes with the same --out may share the models of gca-retrieval so, "
          + "and the command without --only then puts the report together")
      .addHelpText("after", `\nExperiments:\n${NAMES.map((name) => `  ${name}: ${EXPERIMENTS[name]!.summary}`).join("\n")}\n${MODEL_LIST}`),
  async run(context, [experiment], given) {
    const options = given as unknown as Options;
    const chosen = EXPERIMENTS[oneOf("experiment", NAMES)(experiment!)]!;
    const preset = oneOf("preset", chosen.presets)(options.preset);
    const { out, common, signal } = context;
    checkTaken(experiment!, chosen, options);
    const { text, heldOut, field, tokenizer, trainLength } = options;
    const methods = options.methods === undefined ? undefined : [...new Set(options.methods.split(",").map(oneOf("method", METHOD_NAMES)))];
    if (field !== undefined && text === undefined && heldOut === undefined) {
      throw new UsageError("--field: the built-in texts have no fields; give --text or --held-out");
    }
    const model = await chosenModel(chosen, options.model);
    const only = options.only?.split(",").map(oneOf("model", modelsOf(experiment!, preset)));
    const about = model?.name ?? options.checkpoint;
    const whole = `${experiment}${about === undefined ? "" : `-${slug(about)}`}-${preset}-seed${common.seed}`;
    const folder = options.out ?? await freeFolder(join("runs", whole));
    if (await exists(join(folder, REPORT))) {
      throw new LenggenError("E_EXISTS", `${folder} holds a finished reproduction already (${REPORT}); choose another folder with --out`);
    }
    const checkpoint = options.checkpoint === undefined ? undefined
      : { name: options.checkpoint, place: await findCheckpoint(options.checkpoint, context) };
    await makeFolder(folder);
    const device = await context.openDevice();
    out.note(`${experiment}: ${device.description}; everything goes to ${folder}`);
    const note = (line: string): void => out.note(line);
    const html = join(folder, "report.html");
    let shown = "";
    const write = async ({ page, chart }: View, again: boolean): Promise<void> => {
      await writeWhole(html, [new TextEncoder().encode(page)]);
      const drawn = chart ? terminalChart(chart, { width: Math.min(100, process.stdout.columns ?? 80), color: process.stdout.isTTY }) : "";
      if (drawn !== "" && (again || drawn !== shown)) out.print(drawn);
      shown = drawn;
    };
    const show = async (soFar: View, done: string): Promise<void> => {
      if (only) return; // the command without --only makes the report
      await write(soFar, false);
      out.print(`${done}; the report so far: ${html}`);
    };
    const { report, summary, ...view } = await holdingParts(folder, only ?? chosen.models?.(preset), { signal, note }, () =>
      chosen.run({
        preset, seed: common.seed, chosen: model, checkpoint, text, heldOut, field, tokenizer, trainLength, methods, folder,
        fromScratch: options.fromScratch, only, device, signal, note, show,
      }))
      .catch((error: unknown) => {
        const stopped = error instanceof LenggenError && error.code === "E_INTERRUPTED";
        if (stopped) note(`what is done is in ${folder}; the same command goes on there`);
        throw error;
      });
    if (only) {
      out.print(`${only.join(", ")}: done, in ${folder}; the same command without --only does the rest and writes the report`);
      out.document({ experiment, preset, seed: common.seed, models: only });
      return;
    }
    await write(view, true);
    await writeWhole(join(folder, REPORT), [new TextEncoder().encode(`${JSON.stringify(report, null, 1)}\n`)]);
    for (const line of summary(html)) out.print(line);
    out.document(report);
  },
};

/** Models that may be done apart. Throws a {@link UsageError} for an experiment whose models need each other. */
function modelsOf(experiment: string, preset: string): readonly string[] {
  const models = EXPERIMENTS[experiment]!.models?.(preset);
  if (!models) throw new UsageError(`--only: the models of ${experiment} follow from one another and can't be done apart`);
  return models;
}

/** Throws a {@link UsageError} for an option that the experiment does not take, and for one that it needs. */
function checkTaken(experiment: string, { takes, needs }: Experiment, options: Options): void {
  for (const [name, { flag, choice, why }] of Object.entries(ASKED)) {
    const given = options[name as Asked] !== undefined;
    if (given && !takes.includes(choice)) throw new UsageError(`${flag}: ${experiment} ${why}; leave the option out`);
    if (!given && needs === choice) throw new UsageError(`${experiment} needs ${flag}`);
  }
}

/** The model that was asked for, if any. */
async function chosenModel({ accepts }: Experiment, name: string | undefined): Promise<ReproductionInput["chosen"]> {
  if (name === undefined) return undefined;
  const model = await modelNamed(name);
  accepts?.(model);
  return { name, model };
}

/** A name for a folder: that of a preset as it is, of a file or folder without its place and ending. */
function slug(name: string): string {
  return basename(name).replace(/\.\w+$/, "").replace(/[^\w.-]+/g, "-");
}

/** The folder itself while it holds no finished reproduction, else the next number that is free. */
async function freeFolder(folder: string): Promise<string> {
  for (let n = 1; ; n++) {
    const candidate = n === 1 ? folder : `${folder}-${n}`;
    if (!(await exists(join(candidate, REPORT)))) return candidate;
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(() => true, () => false);
}
