import type { JsonRecord, ScheduleOptions } from "@lenggen/interventions";
import { dispose } from "@lenggen/kernels";
import { type BegunRun, begunRun, recordedCount } from "../begun";
import type { CommandSpec } from "../command";
import { MODEL_HELP, MODEL_LIST, modelNamed } from "../models";
import { wholeNumber } from "../parse";
import { openText } from "../texts";
import { inTokens, tokenizerFor } from "../tokens";
import { runTraining } from "../training";
import { addTrainingOptions, checkTask, METHODS, reportTraining, sharedPlan, type SharedOptions } from "./trainOptions";

const CONTEXT = 256;
/** Updates of warm-up, where there are as many. */
const WARMUP = 50;

export const train: CommandSpec = {
  name: "train",
  summary: "Train a model on a text. Ctrl-C saves; --resume goes on, on the same device to the same bits.",
  examples: [
    "lenggen train --out runs/base --text sotu --steps 2000",
    "lenggen train --out runs/mine --text my-books/ --model tiny-byte --context 512 --seed 1 --json",
    "lenggen train --out runs/keys --model drt-tiny --task key-retrieval --task-share 0.9 --context 1k --batch 4",
  ],
  define: (command) =>
    addTrainingOptions(
      command
        .option("--model <name>", MODEL_HELP, "tiny-byte")
        .option("--method <name>", `source of initial states: ${METHODS.join(", ")}`, "zero")
        .option("--steps <n>", "updates in all", wholeNumber("--steps", 1), 2000),
      {
        rateShare: 1, unless: { warmup: `${WARMUP}, or a tenth of a shorter schedule.` },
        context: `tokens per sequence, which are bytes without a tokenizer; ${CONTEXT} unless given`,
        tokenizer: "bytes, or the run's own that goes on",
      },
    ).addHelpText("after", MODEL_LIST),
  async run(context, _, given) {
    const { text: source, field, out: folder, resume, steps, context: length = CONTEXT } = given as unknown as SharedOptions;
    const begun = resume ? await begunRun(folder) : undefined;
    const shared = sharedPlan(given, length, 1, begun);
    const note = (line: string): void => context.out.note(line);
    const model = await modelNamed((given as { model: string }).model);
    const tokenizer = await tokenizerFor(model, given["tokenizer"] as string | undefined, begun?.checkpoint, context);
    const read = await openText(source, length + 1, { field: field ?? begun?.field, signal: context.signal });
    checkTask(shared.task?.task.name, tokenizer);
    const text = await inTokens(read, tokenizer, length + 1, context);
    const device = await context.openDevice();
    const plan = { ...shared, schedule: withWarmup(shared.schedule, steps!, begun, note) };
    const outcome = await runTraining(
      device,
      { ...plan, label: "train", model: model, text, tokenizer, steps: steps!, seed: context.common.seed, folder, resume, note },
      context.signal,
    );
    dispose(outcome.parameters);
    reportTraining(context, device, folder, steps!, { ...outcome, text });
  },
};

/** The schedule with the warm-up that holds where none was asked for: that of the run that goes on, or one that fits. */
function withWarmup(
  schedule: Partial<ScheduleOptions>, steps: number, begun: BegunRun | undefined, note: (line: string) => void,
): Partial<ScheduleOptions> {
  if (schedule.warmup !== undefined) return schedule;
  const recorded = recordedCount(begun?.settings["schedule"] as JsonRecord | undefined, "warmup");
  if (recorded !== undefined) return { ...schedule, warmup: recorded };
  const length = schedule.scheduleSteps || steps;
  if (length >= WARMUP) return { ...schedule, warmup: WARMUP };
  const warmup = Math.floor(length / 10);
  note(`warm-up: ${warmup} of ${length} steps, since ${WARMUP}, the default, are more than there are; --warmup says otherwise`);
  return { ...schedule, warmup };
}
