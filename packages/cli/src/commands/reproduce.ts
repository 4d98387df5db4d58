import { stat } from "node:fs/promises";
import { join } from "node:path";
import { buildUnexploredStatesReport, charts, terminalChart } from "@lenggen/evals";
import { LenggenError } from "@lenggen/kernels";
import { makeFolder, writeWhole } from "@lenggen/kernels/node";
import type { CommandSpec } from "../command";
import { oneOf } from "../parse";
import { reproduceUnexploredStates } from "../reproduce/run";
import { PRESETS } from "../reproduce/settings";
import { summary } from "../reproduce/summary";

interface Options {
  readonly preset: string;
  readonly out?: string;
  readonly fromScratch: boolean;
}

const EXPERIMENTS = ["unexplored-states"] as const;
const presets = Object.keys(PRESETS);
const REPORT = "report.json";

export const reproduce: CommandSpec = {
  name: "reproduce",
  summary: "Repeat an experiment from beginning to end, and write a report of what came out.",
  examples: ["lenggen reproduce unexplored-states --preset quick", "lenggen reproduce unexplored-states --preset full --seed 1 --out runs/full-1"],
  define: (command) =>
    command
      .argument("<experiment>", `one of ${EXPERIMENTS.join(", ")}`)
      .option("--preset <name>", `size of the experiment: ${presets.join(", ")}`, "quick")
      .option("--out <folder>", "where everything goes; a new folder below runs/ unless given. An interrupted run in it goes on")
      .option("--from-scratch", "train the base model even where a checkpoint of it comes with this package", false),
  async run(context, [experiment], given) {
    const options = given as unknown as Options;
    oneOf("experiment", EXPERIMENTS)(experiment!);
    const preset = oneOf("preset", presets)(options.preset);
    const { out, common, signal } = context;
    const folder = options.out === undefined ? await freeFolder(join("runs", `${experiment}-${preset}-seed${common.seed}`)) : options.out;
    if (await exists(join(folder, REPORT))) {
      throw new LenggenError("E_EXISTS", `${folder} holds a finished reproduction already (${REPORT}); choose another folder with --out`);
    }
    await makeFolder(folder);
    const device = await context.openDevice();
    out.note(`${experiment}: ${device.description}; everything goes to ${folder}`);
    const report = await reproduceUnexploredStates({
      preset, settings: PRESETS[preset]!, seed: common.seed, folder, fromScratch: options.fromScratch, device, signal, note: (line) => out.note(line),
    });
    const html = join(folder, "report.html");
    await writeWhole(html, [new TextEncoder().encode(buildUnexploredStatesReport(report))]);
    await writeWhole(join(folder, REPORT), [new TextEncoder().encode(`${JSON.stringify(report, null, 1)}\n`)]);
    const { ratio } = charts(report);
    if (ratio) out.print(terminalChart(ratio, { width: Math.min(100, process.stdout.columns ?? 80), color: process.stdout.isTTY }));
    for (const line of summary(report, html)) out.print(line);
    out.document(report);
  },
};

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
