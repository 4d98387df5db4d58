/** What `train` and `post-train` share: their flags, and what they say in the end. */
import {
  findIntervention, findLoss, findOptimizer, INTERVENTIONS, type LossName, LOSSES, type OptimizerName, OPTIMIZERS,
  type ScheduleOptions, type TrainCounts, TRAINER_SETTINGS,
} from "@lenggen/interventions";
import { type TaskName, TASKS } from "@lenggen/evals";
import { check, type Device, type SettingsTable } from "@lenggen/kernels";
import type { Command } from "commander";
import { type BegunRun, joinedDocuments } from "../begun";
import { addSavingOptions, type Context } from "../command";
import { bytes, count, counted, duration, lossInWords } from "../format";
import { oneOf, parseLength, realNumber, wholeNumber } from "../parse";
import { addSettings, describeSettings, parseAssignments, pickSettings, repeated } from "../settings";
import { describeTaskSettings, taskOptions } from "../taskSettings";
import type { TokenizerFiles, TokenText } from "@lenggen/data/node";
import { addFieldOption, TEXT_HELP } from "../texts";
import { addTokenizerOption, unitOf } from "../tokens";
import type { TrainingOutcome } from "../training";

export const METHODS = Object.keys(INTERVENTIONS);
const TASK_NAMES = Object.keys(TASKS) as TaskName[];
const OPTIMIZER_NAMES = Object.keys(OPTIMIZERS) as OptimizerName[];
const DEFAULT_OPTIMIZER: OptimizerName = "adamw";
const LOSS_NAMES = Object.keys(LOSSES) as LossName[];

/** Most tokens that one batch may hold on the host. */
const MOST_TOKENS = 2 ** 28;

export interface SharedOptions {
  readonly method: string;
  readonly set?: readonly string[];
  readonly text: string;
  readonly field?: string;
  readonly batch: number;
  readonly context?: number;
  readonly steps?: number;
  readonly out: string;
  readonly resume: boolean;
  readonly joinDocuments?: boolean;
  readonly task?: string;
  readonly taskShare?: number;
  readonly taskShortest?: number;
  readonly taskSet?: readonly string[];
  readonly optimizer: string;
  readonly optimizerSet?: readonly string[];
  readonly loss: string;
  readonly lossSet?: readonly string[];
}

/** What a command wants otherwise than the others. */
export interface TrainingHelp {
  /** Share of the optimiser's learning rate that holds where none is given. */
  readonly rateShare: number;
  /** What holds of those that have none, in words. */
  readonly unless?: Readonly<Record<string, string>>;
  /** Of `--context`. */
  readonly context: string;
  /** Which tokenizer it is unless one is given. */
  readonly tokenizer: string;
}

/** Adds the flags. */
export function addTrainingOptions(command: Command, help: TrainingHelp): Command {
  command
    .requiredOption("--out <folder>", "run directory: checkpoints, metrics.jsonl, run.json")
    .option("--text <source>", `training text: ${TEXT_HELP}`, "sotu");
  addTokenizerOption(addFieldOption(command), help.tokenizer)
    .option("--context <n>", help.context, (text: string) => parseLength(text, "--context"))
    .option("--batch <n>", "sequences per batch", wholeNumber("--batch", 1, 2 ** 20), 16)
    .option("--resume", "go on with the run in --out; without it an existing run is refused", false)
    .option("--join-documents", "tbtt: streams run on over the ends of documents, also of short ones; the default")
    .option("--no-join-documents", "tbtt: streams start anew at each document; what fills no --context is not used")
    .option("--task <name>", `train on samples of a task: ${TASK_NAMES.join(", ")}; the answer weighs as much as all the text before it`)
    .option("--task-share <x>", "share of batches that are samples of the task, the others being text; 1 unless given",
      realNumber("--task-share", { above: 0, maximum: 1 }))
    .option("--task-shortest <n>",
      "shortest sample in bytes; each batch draws its length from here to --context. Half of --context unless given",
      (text: string) => parseLength(text, "--task-shortest"))
    .option("--task-set <name=value>", "a setting of the task, see below; can be repeated", repeated)
    .option("--set <name=value>", "a setting of the method, see below; can be repeated", repeated);
  command
    .option("--optimizer <name>", `what makes updates of gradients: ${OPTIMIZER_NAMES.join(", ")}`, DEFAULT_OPTIMIZER)
    .option("--optimizer-set <name=value>", "a setting of the optimiser that has no flag of its own, see below; can be repeated", repeated)
    .option("--loss <name>", `what is minimised: ${LOSS_NAMES.join(", ")}`, "cross-entropy")
    .option("--loss-set <name=value>", "a setting of the loss, see below; can be repeated", repeated);
  addSavingOptions(command);
  addSettings(command, TRAINER_SETTINGS, { learningRate: ratesInWords(help.rateShare), ...help.unless });
  const described = <Name extends string>(names: readonly Name[],
    of: (name: Name) => { summary: string; settings: SettingsTable }): string =>
    names.flatMap((name) => [`  ${name}: ${of(name).summary}`, ...describeSettings(of(name).settings)]).join("\n");
  return command.addHelpText("after", [
    "", "Methods, and their settings for --set:",
    described(METHODS, (name) => ({ ...findIntervention(name), settings: findIntervention(name).options })),
    "", "Optimisers, and their settings for --optimizer-set:",
    described(OPTIMIZER_NAMES, (name) => ({ ...findOptimizer(name), settings: ownSettings(name) })),
    "", "Losses, and their settings for --loss-set:",
    described(LOSS_NAMES, (name) => ({ ...findLoss(name), settings: findLoss(name).options })),
    "", "Tasks, and their settings for --task-set:", ...describeTaskSettings(),
  ].join("\n"));
}

/** The learning rate that holds where none is given. */
const rateOf = (optimizer: OptimizerName, share: number): number => OPTIMIZERS[optimizer].learningRate * share;

function ratesInWords(share: number): string {
  const others = OPTIMIZER_NAMES.filter((name) => name !== DEFAULT_OPTIMIZER).map((name) => `, with ${name} ${rateOf(name, share)}`);
  return `${rateOf(DEFAULT_OPTIMIZER, share)}${others.join("")}.`;
}

/** Settings of an optimiser that are not the trainer's, and so have no flags. */
function ownSettings(name: OptimizerName): SettingsTable {
  return Object.fromEntries(Object.entries<SettingsTable[string]>(OPTIMIZERS[name].options)
    .filter(([option]) => !Object.hasOwn(TRAINER_SETTINGS, option)));
}

/** The plan's part that the flags decide, or the run that goes on. `rateShare` as in {@link TrainingHelp}. */
export function sharedPlan(given: Readonly<Record<string, unknown>>, context: number, rateShare: number, begun?: BegunRun) {
  const {
    method: named, set = [], batch, joinDocuments, task: taskNamed, taskShare, taskShortest, taskSet, optimizerSet = [],
    lossSet = [], ...more
  } = given as unknown as SharedOptions;
  const [optimizer, loss] = [oneOf("optimiser", OPTIMIZER_NAMES)(more.optimizer), oneOf("loss", LOSS_NAMES)(more.loss)];
  const method = oneOf("method", METHODS)(named);
  check(batch * context <= MOST_TOKENS, "E_MEMORY", () =>
    `--batch ${batch} times --context ${context} is more than ${count(MOST_TOKENS)} bytes in one batch; use --micro-batches to split it`);
  const task = taskNamed === undefined ? undefined : oneOf("task", TASK_NAMES)(taskNamed);
  const aboutTasks = Object.entries({ "--task-share": taskShare, "--task-shortest": taskShortest, "--task-set": taskSet })
    .find(([, value]) => value !== undefined);
  check(task !== undefined || aboutTasks === undefined, "E_ARGUMENT", () =>
    `${aboutTasks![0]} says how to train on a task; give one with --task`);
  check(taskShortest === undefined || taskShortest <= context, "E_ARGUMENT", () =>
    `--task-shortest ${taskShortest} is longer than the context of ${context}`);
  const all = pickSettings(TRAINER_SETTINGS, given);
  const pick = <T>(names: readonly (keyof T & string)[]): Partial<T> =>
    Object.fromEntries(names.map((name) => [name, all[name]])) as Partial<T>;
  return {
    method,
    methodOptions: parseAssignments(method, findIntervention(method).options, set),
    batch,
    context,
    joinDocuments: joinDocuments ?? (begun ? joinedDocuments(begun) : true),
    task: task === undefined ? undefined : {
      task: TASKS[task], share: taskShare ?? 1, shortest: taskShortest,
      ...(taskSet && { options: taskOptions(`task ${task}`, TASKS[task].settings, taskSet, "--task-set") }),
    },
    ...pick<TrainCounts>(["microBatches", "checkpointEvery", "keepCheckpoints", "logEvery", "skipNotFinite"]),
    schedule: {
      ...pick<ScheduleOptions>(["schedule", "scheduleSteps", "warmup", "finalShare"]),
      learningRate: (all["learningRate"] as number | undefined) ?? rateOf(optimizer, rateShare),
    },
    optimizer: {
      name: optimizer,
      options: {
        ...pickSettings(OPTIMIZERS[optimizer].options, given),
        ...parseAssignments(`optimiser ${optimizer}`, ownSettings(optimizer), optimizerSet, "--optimizer-set"),
      },
    },
    loss: { name: loss, options: parseAssignments(`loss ${loss}`, findLoss(loss).options, lossSet, "--loss-set") },
  };
}

/** Throws `E_CONFIG` for a task with other tokens than those that tasks speak. */
export function checkTask(task: string | undefined, { tokenizer }: TokenizerFiles): void {
  check(task === undefined || tokenizer.kind === "bytes", "E_CONFIG", () =>
    `task ${task} speaks bytes, and texts are read with the tokenizer ${tokenizer.name}; tasks are for models of bytes`);
}

/** Says how a run ended, to people and to programs. */
export function reportTraining({ out }: Context, device: Device, folder: string, steps: number,
  outcome: TrainingOutcome & { readonly text: TokenText }): void {
  const { status, step, loss, tokens, tokensPerSecond, seconds, peakBytes, skipped, checkpoint, text, unused, bytesPerToken } = outcome;
  const unit = unitOf(text);
  const facts = [
    step === steps ? counted(steps, "step") : `step ${count(step)} of ${count(steps)}`,
    loss === null ? "" : `loss ${lossInWords(loss, bytesPerToken)}`,
    `${count(tokens)} ${unit} in ${duration(seconds)}`,
    skipped === 0 ? "" : `${counted(skipped, "step")} skipped that ${skipped === 1 ? "was" : "were"} not finite`,
    peakBytes === null ? "" : `peak ${bytes(peakBytes)}`,
  ].filter((fact) => fact !== "");
  out.print(`${status}: ${facts.join(", ")}`);
  out.print(`checkpoint: ${checkpoint}`);
  if (status === "interrupted") out.note("go on with the same command and --resume");
  out.document({
    status, run: folder, device: device.description, checkpoint, step, steps,
    lossBitsPerByte: loss === null ? null : loss / Math.LN2 / bytesPerToken,
    tokens, tokensPerSecond, seconds, peakBytes,
    ...(skipped > 0 && { skipped }),
    textBytes: text.bytes,
    ...(unit === "bytes" ? { unusedBytes: unused }
      : { lossNatsPerToken: loss, bytesPerToken, textTokens: text.tokens.length, unusedTokens: unused }),
  });
}
