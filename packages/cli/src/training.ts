/** Training from the command line: one path for `train`, `post-train` and the reproductions. */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { type Device, type ErrorCode, foldIn, type Key, key, LenggenError, type Parameters, type SequenceModel } from "@lenggen/kernels";
import {
  type BatchSource, contiguousStreams, createIntervention, findIntervention, independentWindows, type JsonRecord, type OptimizerOptions,
  type RunStore, type ScheduleOptions, train, type TrainCounts, type TrainEvent, type TrainResult,
} from "@lenggen/interventions";
import { runDirectory } from "@lenggen/interventions/node";
import { readJson } from "./models";
import { Progress } from "./progress";
import { type TaskTraining, withTask } from "./tasks";
import { joined, type Text } from "./text";
import { packageFolder, version } from "./package";

export interface TrainingPlan extends Partial<TrainCounts> {
  /** Stands before the progress. */
  readonly label: string;
  readonly model: SequenceModel;
  readonly text: Text;
  /** Batches of another kind than windows of the text. */
  readonly batches?: BatchSource;
  /** Samples of a task among the text. */
  readonly task?: Pick<TaskTraining, "task" | "share" | "shortest" | "options">;
  /** tbtt: streams run on over the ends of documents instead of starting anew, so that their states can grow older than a document. */
  readonly joinDocuments?: boolean;
  /** Source of initial states, with its options. */
  readonly method: string;
  readonly methodOptions?: JsonRecord;
  readonly batch: number;
  readonly context: number;
  readonly steps: number;
  readonly seed: number;
  readonly schedule?: Partial<ScheduleOptions>;
  readonly optimizer?: Partial<OptimizerOptions>;
  /** Run directory. */
  readonly folder: string;
  readonly resume: boolean;
  /** Where a new run starts; fresh parameters unless given. */
  readonly parameters?: () => Promise<Parameters>;
  /** What else decides the result, e.g. the checkpoint that it starts from. */
  readonly settings?: JsonRecord;
  /** Whether steps take about the same time, so that the time left can be told; true unless given. */
  readonly alike?: boolean;
  /** How to go on after a failure, in words; with `--resume` unless given. */
  readonly again?: string;
}

export interface TrainingOutcome extends TrainResult {
  /** Nats per byte at the last line of metrics; null when no step was run. */
  readonly loss: number | null;
  readonly tokens: number;
  readonly tokensPerSecond: number | null;
  readonly seconds: number;
  readonly peakBytes: number | null;
  /** The last checkpoint. */
  readonly checkpoint: string;
}

/** Trains with progress on stderr. The parameters in the outcome are the caller's to dispose. */
export async function runTraining(device: Device, plan: TrainingPlan, signal?: AbortSignal): Promise<TrainingOutcome> {
  const { label, model, method, methodOptions = {}, batch, context, steps, seed, folder, text, microBatches = 1, alike } = plan;
  const store = runDirectory(folder);
  const progressFrom = (step: number): Progress => {
    const bar = new Progress(label, steps, { unit: "steps", rate: { unit: "tokens", perUnit: batch * context * microBatches }, alike }, step);
    bar.update(step, device.kind === "webgpu" ? "compiling kernels" : "");
    return bar;
  };
  let progress = progressFrom(0);
  let last: Extract<TrainEvent, { kind: "step" }> | undefined;
  let result: TrainResult;
  try {
    result = await train({
      model,
      device,
      batches: plan.batches ?? batchesOf(plan, seed),
      initialStates: createIntervention(method, model, methodOptions),
      steps,
      seed,
      microBatches,
      checkpointEvery: plan.checkpointEvery,
      keepCheckpoints: plan.keepCheckpoints,
      logEvery: plan.logEvery,
      schedule: plan.schedule,
      optimizer: plan.optimizer,
      parameters: plan.parameters,
      store,
      resume: plan.resume,
      settings: { text: text.source, ...plan.settings },
      about: about(),
      signal,
      onEvent(event) {
        if (event.kind === "resumed") progress = progressFrom(event.step);
        if (event.kind !== "step") return;
        last = event;
        progress.update(event.step, `loss ${event.loss.toFixed(3)}`);
      },
    });
  } catch (error) {
    throw await withAdvice(error, store, plan.again);
  } finally {
    progress.finish();
  }
  const checkpoint = store.checkpointPath(result.step);
  // A run that was finished before has no step to report; its checkpoint knows.
  const totals = last ?? ((await readJson(join(checkpoint, "trainer.json"))) as { tokens: number; seconds: number });
  return {
    ...result,
    loss: last?.loss ?? null,
    tokens: totals.tokens,
    tokensPerSecond: last?.tokensPerSecond ?? null,
    seconds: totals.seconds,
    peakBytes: last?.peakBytes ?? null,
    checkpoint,
  };
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

/** Batches in the order that the method needs, with samples of a task among them where one is given. The same seed gives the same ones for every method of that order. */
function batchesOf(plan: TrainingPlan, seed: number): BatchSource {
  const bytes = joined(plan.text);
  const windows = textBatches(plan, bytes, foldIn(key(seed), 2));
  return plan.task ? withTask(windows, { ...plan.task, key: foldIn(key(seed), 8), text: bytes, microBatches: plan.microBatches ?? 1 }) : windows;
}

function textBatches({ text, method, batch, context, microBatches = 1, joinDocuments = false }: TrainingPlan, bytes: Uint8Array, from: Key): BatchSource {
  const options = { batch, context, key: from };
  if (findIntervention(method).order === "independent") return independentWindows(bytes, options);
  if (joinDocuments) return contiguousStreams(bytes, { ...options, microBatches });
  const documents: number[] = [];
  let start = 0;
  for (const document of text.documents) {
    if (document.bytes.byteLength > 0) documents.push(start);
    start += document.bytes.byteLength;
  }
  return contiguousStreams(bytes, { ...options, microBatches, documents });
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
