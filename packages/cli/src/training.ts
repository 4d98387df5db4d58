/** Training from the command line: one path for `train`, `post-train` and the reproductions. */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import {
  type BatchSource, type Device, type ErrorCode, LenggenError, type Parameters, type SequenceModel, type TokenSource,
} from "@lenggen/kernels";
import { type TaskTraining, withTask } from "@lenggen/evals";
import {
  createIntervention, createLoss, createOptimizer, findIntervention, hashTokens, type JsonRecord, type LossName, type OptimizerName, runKey,
  type RunStore, type ScheduleOptions, textBatches, train, type TrainCounts, type TrainEvent, type TrainResult,
} from "@lenggen/interventions";
import { runDirectory } from "@lenggen/interventions/node";
import { count, lossInWords } from "./format";
import { readJson } from "./jsonFiles";
import { Progress } from "./progress";
import { bytesFiles, hubReferenceOf, type Text, type TokenizerFiles, type TokenText } from "@lenggen/data/node";
import { packageFolder, version } from "./package";
import { bytesPerToken, tokenizerRecord, unitOf } from "./tokens";

export interface TrainingPlan extends Partial<TrainCounts> {
  /** Stands before the progress. */
  readonly label: string;
  readonly model: SequenceModel;
  /** In the tokens of the tokenizer; bytes unless that is given. */
  readonly text: Text | TokenText;
  readonly tokenizer?: TokenizerFiles;
  /** Batches of another kind than windows of the text. */
  readonly batches?: BatchSource;
  /** Samples of a task among the text. */
  readonly task?: Pick<TaskTraining, "task" | "share" | "shortest" | "options">;
  /**
   * tbtt: streams run on over the ends of documents, so that their states can grow older than a document and short ones are read too; true
   * unless given. Otherwise they start anew at each.
   */
  readonly joinDocuments?: boolean;
  /** Source of initial states, with its options. */
  readonly method: string;
  readonly methodOptions?: JsonRecord;
  readonly batch: number;
  readonly context: number;
  readonly steps: number;
  readonly seed: number;
  readonly schedule?: Partial<ScheduleOptions>;
  /** With its options; AdamW with its defaults unless given. */
  readonly optimizer?: { readonly name: OptimizerName; readonly options?: JsonRecord };
  /** What is minimised, with its options; cross-entropy unless given. */
  readonly loss?: { readonly name: LossName; readonly options?: JsonRecord };
  /** Run directory. */
  readonly folder: string;
  readonly resume: boolean;
  /** Where a new run starts; fresh parameters unless given. */
  readonly parameters?: () => Promise<Parameters>;
  /**
   * What post-training starts from: the hash of its weights, which decides the result and which windows are drawn, and where it lay.
   * Without a hash the draws are those of a run from fresh parameters: older runs go on so, and the reproductions keep to their results.
   */
  readonly base?: { readonly weights?: string; readonly place?: string };
  /** What else decides the result. */
  readonly settings?: JsonRecord;
  /** Whether steps take about the same time, so that the time left can be estimated; true unless given. */
  readonly alike?: boolean;
  /** How to go on after a failure, in words; with `--resume` unless given. */
  readonly again?: string;
  /** Takes lines about the run, such as what of the text is not used. */
  readonly note?: (line: string) => void;
}

export interface TrainingOutcome extends TrainResult {
  /** Nats per token at the last line of metrics; null when no step was run. */
  readonly loss: number | null;
  /** Bytes of the text in a token, on average. */
  readonly bytesPerToken: number;
  readonly tokens: number;
  readonly tokensPerSecond: number | null;
  readonly seconds: number;
  readonly peakBytes: number | null;
  /** Steps that were skipped, since their numbers were not finite. */
  readonly skipped: number;
  /** Tokens of the text that are in no batch. */
  readonly unused: number;
  /** The last checkpoint. */
  readonly checkpoint: string;
}

/** Trains with progress on stderr. The parameters in the outcome are the caller's to dispose. */
export async function runTraining(device: Device, plan: TrainingPlan, signal?: AbortSignal): Promise<TrainingOutcome> {
  const { label, model, method, methodOptions = {}, batch, context, steps, seed, folder, text, base, microBatches = 1, alike } = plan;
  const hub = base?.place && hubReferenceOf(base.place);
  const tokenizer = plan.tokenizer ?? bytesFiles;
  const record = tokenizerRecord(tokenizer);
  const perToken = "bytes" in text ? bytesPerToken(text) : 1;
  const store = runDirectory(folder);
  const progressFrom = (step: number): Progress => {
    const bar = new Progress(label, steps,
      { unit: "steps", rate: { unit: "tokens", perUnit: batch * context * microBatches }, alike }, step);
    bar.update(step, device.kind === "webgpu" ? "compiling kernels" : "");
    return bar;
  };
  let last: Extract<TrainEvent, { kind: "step" }> | undefined;
  const batches = plan.batches ?? await batchesOf(plan, signal);
  const { unused = 0 } = batches;
  sayUnused(plan, unused);
  let progress = progressFrom(0);
  let result: TrainResult;
  try {
    result = await train({
      model,
      device,
      batches,
      initialStates: createIntervention(method, model, methodOptions),
      steps,
      seed,
      microBatches,
      checkpointEvery: plan.checkpointEvery,
      keepCheckpoints: plan.keepCheckpoints,
      logEvery: plan.logEvery,
      skipNotFinite: plan.skipNotFinite,
      schedule: plan.schedule,
      loss: plan.loss && createLoss(plan.loss.name, model, plan.loss.options),
      optimizer: plan.optimizer && createOptimizer(plan.optimizer.name, model, plan.optimizer.options),
      parameters: plan.parameters,
      store,
      resume: plan.resume,
      // Batches of the text know it by its hash; others by what it was called.
      settings: {
        ...(plan.batches && { text: text.source }), ...(base?.weights && { base: { weights: base.weights } }),
        ...(record && { tokenizer: record }), ...plan.settings,
      },
      files: tokenizer.files,
      about: {
        text: text.source, ...(text.field && { field: text.field }), ...(record && { tokenizer: tokenizer.tokenizer.name }),
        ...(base?.place && { base: base.place, ...(hub && { hub }) }), ...about(),
      },
      signal,
      onEvent(event) {
        if (event.kind === "waiting") progress.finish(`waiting for a sign of life of ${event.holder}, which worked in ${folder}`);
        if (event.kind === "resumed") progress = progressFrom(event.step);
        if (event.kind === "skipped") progress.update(event.step, `step ${event.step} skipped: ${event.why}`);
        if (event.kind !== "step") return;
        last = event;
        const skipped = event.skipped ? `, ${event.skipped} skipped` : "";
        progress.update(event.step, `loss ${lossInWords(crossEntropyOf(event), perToken)}${skipped}`);
      },
    });
  } catch (error) {
    throw await withAdvice(error, store, plan.again);
  } finally {
    progress.finish();
  }
  const checkpoint = store.checkpointPath(result.step);
  // A run that was finished before has no step to report, and one whose last steps were skipped too old a one; its checkpoint knows.
  const totals = (await readJson(join(checkpoint, "trainer.json"))) as { tokens: number; seconds: number; skipped?: { total: number } };
  return {
    ...result,
    loss: last === undefined ? null : crossEntropyOf(last),
    bytesPerToken: perToken,
    tokens: totals.tokens,
    tokensPerSecond: last?.tokensPerSecond ?? null,
    seconds: totals.seconds,
    skipped: totals.skipped?.total ?? 0,
    peakBytes: last?.peakBytes ?? null,
    unused,
    checkpoint,
  };
}

/** Nats per token: of a loss of several terms, what is no penalty. */
function crossEntropyOf({ loss, terms }: Extract<TrainEvent, { kind: "step" }>): number {
  return terms?.["crossEntropy"] ?? loss;
}

/** An error of a device with how to go on from what is saved, if anything is. */
async function withAdvice(failure: unknown, store: RunStore, again = "the same command and --resume"): Promise<unknown> {
  if (!(failure instanceof LenggenError) || !Object.hasOwn(ADVICE, failure.code)) return failure;
  const saved = await store.checkpoints().catch(() => []);
  if (saved.length === 0) return failure;
  return new LenggenError(failure.code, `${failure.message}; go on with ${again}${ADVICE[failure.code]}`, { cause: failure });
}

const ANYWHERE = ", on this device or on another (--device)";
const ADVICE: Partial<Record<ErrorCode, string>> = {
  E_DEVICE: ANYWHERE,
  E_DEVICE_LOST: ANYWHERE,
  E_SHADER: " on another device (--device)",
  E_MEMORY: " on a device with more memory (--device), or begin anew with a smaller batch",
};

/**
 * Batches in the order that the method needs, with samples of a task among them where one is given. The same seed gives the same ones for
 * every method of that order, and for all that starts from the same base.
 */
async function batchesOf(plan: TrainingPlan, signal: AbortSignal | undefined): Promise<BatchSource> {
  const { text, method, batch, context, task, base, seed, microBatches = 1, joinDocuments = true } = plan;
  const windows = textBatches(text.tokens, {
    order: findIntervention(method).order, batch, context, microBatches, seed, base: base?.weights,
    hash: await hashed(text.tokens, signal), documents: joinDocuments ? undefined : documentStarts(text),
  });
  return task ? withTask(windows, { ...task, key: runKey(seed, "samples", base?.weights), text: text.tokens, microBatches }) : windows;
}

/** Where the documents begin that hold anything. */
function documentStarts({ documents }: Text): number[] {
  const starts: number[] = [];
  let start = 0;
  for (const { tokens } of documents) {
    if (tokens.length > 0) starts.push(start);
    start += tokens.length;
  }
  return starts;
}

/** The hash of a text, under a bar where it takes long. */
async function hashed(tokens: TokenSource, signal: AbortSignal | undefined): Promise<string> {
  let progress: Progress | undefined;
  try {
    return await hashTokens(tokens, {
      signal,
      onProgress(done, total) {
        if (done < total) progress ??= new Progress("text", total, { unit: "bytes" });
        progress?.update(done);
      },
    });
  } finally {
    progress?.finish();
  }
}

/** Says what of a text is in no batch. */
function sayUnused({ text, context, joinDocuments = true, note }: TrainingPlan, unused: number): void {
  const { source, tokens, otherFiles } = text;
  if (otherFiles > 0) note?.(`folder "${source}": ${count(otherFiles)} other ${otherFiles === 1 ? "file is" : "files are"} not read; `
    + "texts are .txt, .md, .jsonl, .ndjson and .parquet");
  if (unused === 0) return;
  const why = joinDocuments
    ? `what is left at its end fills no window of ${count(context)}`
    : `documents shorter than a window of ${count(context)}, and what is left at the end of others; --join-documents uses them`;
  const unit = "tokenizer" in text ? unitOf(text) : "bytes";
  note?.(`text "${source}": ${count(unused)} of ${count(tokens.length)} ${unit} are in no batch: ${why}`);
}

/** What is good to know about a run: versions, the command, and the revision when this is a clone. */
function about(): JsonRecord {
  const git = spawnSync("git", ["rev-parse", "HEAD"], { cwd: packageFolder, encoding: "utf8" });
  return {
    lenggen: version,
    node: process.versions.node,
    command: process.argv.slice(2).join(" "),
    ...(git.status === 0 ? { revision: git.stdout.trim() } : {}),
  };
}
