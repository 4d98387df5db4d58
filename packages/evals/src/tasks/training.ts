/** Samples of tasks as batches that a trainer takes. */
import {
  type Batch, type BatchSource, check, foldIn, hostRandom, type JsonObject, type Key, type Tokens, type TokenSource,
} from "@lenggen/kernels";
import { type TaskBatch, taskBatches } from "./batches";
import type { Task, TaskOptions } from "./task";

/** A trainer's batch: of rows of T + 1 tokens, the first T with what follows each. */
export function batchOfSamples({ tokens, weights, ends }: TaskBatch, rows: number): Batch {
  const width = tokens.length / rows; // T + 1
  const cut = (from: number): Int32Array => {
    const out = new Int32Array(rows * (width - 1));
    for (let row = 0; row < rows; row++) out.set(tokens.subarray(row * width + from, row * width + from + width - 1), row * (width - 1));
    return out;
  };
  return { tokens: cut(0), targets: cut(1), weights, ends };
}

/** Options of {@link withTask}. */
export interface TaskTraining {
  readonly task: Task;
  /** Share of batches that are samples of the task. */
  readonly share: number;
  /** Shortest sample, in tokens; each batch draws its length from here to the context. Half the context unless given. */
  readonly shortest?: number;
  /** The task's own settings; its defaults unless given. */
  readonly options?: TaskOptions;
  readonly key: Key;
  readonly text: Tokens | TokenSource;
  readonly microBatches: number;
}

/**
 * Batches of samples among those of a text, each drawn by itself, so that a resumed run sees the same ones. The answer weighs as
 * much as all the text before it in the longest sample. Throws `E_ARGUMENT` when the context is too short for the task, `E_CONFIG` for
 * contiguous texts.
 */
export function withTask(batches: BatchSource, { task, share, shortest, options, key, text, microBatches }: TaskTraining): BatchSource {
  const { batch, context, order } = batches;
  check(order === "independent", "E_CONFIG", () =>
    `samples of ${task.name} are independent of each other; take a method of independent sequences, not one of ${order} text`);
  const longest = context + 1;
  const least = Math.max(shortest ?? Math.ceil(context / 2), longest - task.promptLength(longest, options) + task.shortest(options));
  const prompt = task.promptLength(longest, options);
  const answerWeight = Math.max(1, Math.round(prompt / (longest - prompt)));
  const samples = taskBatches(task, {
    ...options, key: foldIn(key, 0), batch, length: context, shortest: Math.min(least, longest), text, answerWeight, sharedLength: true,
  });
  return {
    order,
    batch,
    context,
    settings: {
      kind: "samples of a task among a text", task: task.name, share, shortest: least, answerWeight, batch, context, microBatches,
      key: [...key], text: batches.settings, ...(options && { options: options as JsonObject }),
    },
    at(step, microBatch) {
      const number = step * microBatches + microBatch;
      const isSample = hostRandom(foldIn(foldIn(key, 1), number)).uniform() < share;
      return isSample ? batchOfSamples(samples.batch(number), batch) : batches.at(step, microBatch);
    },
  };
}
