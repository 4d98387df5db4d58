import type { JsonRecord } from "@lenggen/interventions";
import { check, dispose, type Parameters } from "@lenggen/kernels";
import { type BegunRun, begunRun, findIfThere, recordedCount, weightsHash } from "../begun";
import type { CommandSpec, Context } from "../command";
import { CHECKPOINT_HELP, findCheckpoint, loadCheckpoint, modelOf, settingsOfRun } from "../checkpoints";
import { wholeNumber } from "../parse";
import { openText } from "../texts";
import { inTokens, tokenizerFor } from "../tokens";
import { runTraining } from "../training";
import { UsageError } from "../usage";
import { addTrainingOptions, checkTask, METHODS, reportTraining, sharedPlan, type SharedOptions } from "./trainOptions";

/** Part of the base run's steps that post-training takes unless given. */
const SHARE = 0.05;
/** And of a learning rate from the beginning. */
const RATE_SHARE = 0.3;

export const postTrain: CommandSpec = {
  name: "post-train",
  summary: "Train a trained model on, with initial states from a method, so that it holds beyond its training length.",
  examples: ["lenggen post-train --method state-passing --checkpoint runs/base --out runs/passed --steps 100 --learning-rate 0.0003"],
  define: (command) =>
    addTrainingOptions(
      command
        .requiredOption("--method <name>", `source of initial states: ${METHODS.join(", ")}`)
        .option("--checkpoint <place>",
          `where to start: ${CHECKPOINT_HELP}; not needed with --resume`)
        .option("--steps <n>", "updates in all; 5% of the base run's unless given", wholeNumber("--steps", 1)),
      {
        rateShare: RATE_SHARE, context: "tokens per sequence, which are bytes without a tokenizer; the base run's unless given",
        tokenizer: "the checkpoint's",
      },
    ),
  async run(context, _, given) {
    const { text: source, field, out: folder, resume, ...options } = given as unknown as SharedOptions;
    const { checkpoint } = given as { checkpoint?: string };
    const note = (line: string): void => context.out.note(line);
    const begun = resume ? await begunRun(folder) : undefined;
    const from = begun ? await baseOfBegun(folder, begun, checkpoint, context) : await newBase(checkpoint, context);
    const length = options.context ?? from.context;
    const steps = options.steps ?? from.steps;
    check(length !== undefined && steps !== undefined, "E_ARGUMENT", () =>
      `${checkpoint} lies in no run directory, so --context and --steps must be given`);
    const plan = sharedPlan(given, length, RATE_SHARE, begun);
    const read = await openText(source, length + 1, { field: field ?? begun?.field, signal: context.signal });
    const device = await context.openDevice();
    const { model, parameters, about } = begun
      ? { model: await modelOf(begun.checkpoint), parameters: undefined, about: undefined }
      : await loadCheckpoint(from.place!, device);
    if (about !== undefined) note(`${from.place}: ${about}`);
    const tokenizer = await tokenizerFor(model, given["tokenizer"] as string | undefined, begun?.checkpoint ?? from.place, context);
    checkTask(plan.task?.task.name, tokenizer);
    const text = await inTokens(read, tokenizer, length + 1, context);
    const outcome = await runTraining(
      device,
      {
        ...plan, label: plan.method, model, text, tokenizer, steps, seed: context.common.seed, folder, resume, note,
        parameters: parameters && (() => Promise.resolve<Parameters>(parameters)),
        base: from,
      },
      context.signal,
    );
    dispose([outcome.parameters, parameters]);
    reportTraining(context, device, folder, steps, { ...outcome, text });
  },
};

/** What a run starts from, and what it takes over from there. */
interface Base {
  /** Hash of the weights; older runs recorded none, and draw as they did. */
  readonly weights?: string;
  /** The checkpoint's folder. */
  readonly place?: string;
  readonly context?: number;
  readonly steps?: number;
}

async function newBase(checkpoint: string | undefined, context: Context): Promise<Base> {
  if (checkpoint === undefined) throw new UsageError("required option '--checkpoint <place>' not specified");
  const place = await findCheckpoint(checkpoint, context);
  const settings = await settingsOfRun(place);
  const steps = recordedCount(settings, "steps");
  return {
    weights: await weightsHash(place, context.signal), place,
    context: recordedCount(settings?.["data"] as JsonRecord | undefined, "context"),
    steps: steps === undefined ? undefined : Math.max(1, Math.round(SHARE * steps)),
  };
}

/** The base of a run that goes on and needs it no more: it may be gone. Throws `E_CONFIG` when another one is given. */
async function baseOfBegun(folder: string, { settings }: BegunRun, checkpoint: string | undefined,
  context: Context): Promise<Base> {
  const { out, signal } = context;
  const { weights } = (settings["base"] ?? {}) as { weights?: string };
  const place = checkpoint === undefined ? undefined : await findIfThere(checkpoint, context);
  if (checkpoint !== undefined && place === undefined) out.note(`${checkpoint} is gone; the run in ${folder} goes on without it`);
  if (place !== undefined && weights !== undefined) {
    const given = await weightsHash(place, signal);
    check(given === weights, "E_CONFIG", () =>
      `the run in ${folder} began from other weights than those of ${place}; leave out --checkpoint to go on with it, or choose another `
        + "--out");
  }
  return { weights, context: recordedCount(settings["data"] as JsonRecord | undefined, "context"),
    steps: recordedCount(settings, "steps") };
}
