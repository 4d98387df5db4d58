/** Training samples of a task, as batches of token sequences with a weight for each prediction. */
import { check, foldIn, hostRandom, type Key } from "@lenggen/kernels";
import type { Task, TaskOptions } from "./task";

/** Options of task batches. */
export interface TaskBatchOptions extends TaskOptions {
  readonly key: Key;
  /** Sequences in a batch. */
  readonly batch: number;
  /** T: a row holds T + 1 tokens, prompt and answer. */
  readonly length: number;
  /** Shortest row; each row's length is drawn from here to T + 1. All rows are full unless given. */
  readonly shortest?: number;
  /** One length for all rows of a batch, drawn per step, so that they can share segment ends; each row draws its own unless given. */
  readonly sharedLength?: boolean;
  /**
   * With `sharedLength`: how many segments end before the prompt's last token, as they do in `taskAccuracy`; 1 unless given. Models without
   * segments ignore them.
   */
  readonly ends?: number;
  /** Weight of predictions inside the prompt; 1 unless given (loss = text + answer). */
  readonly promptWeight?: number;
  /** Weight of predictions of the answer; 1 unless given. */
  readonly answerWeight?: number;
}

/** Samples of a task side by side, as a training batch. */
export interface TaskBatch {
  /** [B, T + 1] */
  readonly tokens: Int32Array;
  /** [B, T]: weight of predicting token t + 1. What follows a short row has weight 0. */
  readonly weights: Float32Array;
  /** With `sharedLength`: where segments end, in tokens; the same for all rows. */
  readonly ends?: readonly number[];
}

/** Batches by step number: the same step gives the same batch, so that a resumed run sees the same samples. */
export function taskBatches(task: Task, options: TaskBatchOptions): { batch(step: number): TaskBatch } {
  const { key, batch: rows, length, sharedLength = false, ends, promptWeight = 1, answerWeight = 1 } = options;
  const longest = length + 1;
  const shortest = options.shortest ?? longest;
  check(ends === undefined || (sharedLength && Number.isInteger(ends) && ends >= 0), "E_ARGUMENT", () =>
    `task ${task.name}: ends must be a whole number of at least 0, given together with sharedLength, not ${ends}`);
  check(shortest <= longest && task.promptLength(shortest, options) >= task.shortest(options), "E_ARGUMENT", () =>
    `task ${task.name}: rows of ${shortest} ... ${longest} tokens can't hold a prompt of ${task.shortest(options)} and its answer`);
  return {
    batch(step) {
      const tokens = new Int32Array(rows * longest);
      const weights = new Float32Array(rows * length);
      const drawn = (from: Key): number => shortest + hostRandom(from).integer(longest - shortest + 1);
      const shared = sharedLength ? drawn(foldIn(key, step)) : undefined;
      for (let row = 0; row < rows; row++) {
        const rowKey = foldIn(foldIn(key, step), row);
        const { prompt, answer } = task.sample(foldIn(rowKey, 0), task.promptLength(shared ?? drawn(rowKey), options), options);
        tokens.set(prompt, row * longest);
        tokens.set(answer, row * longest + prompt.length);
        weights.fill(promptWeight, row * length, row * length + prompt.length - 1);
        weights.fill(answerWeight, row * length + prompt.length - 1, row * length + prompt.length - 1 + answer.length);
      }
      if (shared === undefined) return { tokens, weights };
      return { tokens, weights, ends: Array<number>(ends ?? 1).fill(task.promptLength(shared, options) - 1) };
    },
  };
}
