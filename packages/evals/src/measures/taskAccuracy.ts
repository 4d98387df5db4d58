/**
 * Accuracy on a task by length and depth. Prompts of one length run side by side, streamed in chunks with the state
 * carried over; answers are decoded greedily, token by token, and also scored teacher-forced (the loss of the
 * right answer). Intervals are Wilson's at 95%.
 */
import {
  argmax, check, crossEntropy, type Device, dispose, foldIn, keep, type Key, linear, type Parameters, scope, type SequenceModel, type Tensor,
  tensor, type Tree, withoutGradient,
} from "@lenggen/kernels";
import { type Interval, mean, wilsonInterval } from "../statistics";
import { deviceOf, groups, releaseOld, type RunOptions, stream } from "../stream";
import type { Sample, Task, TaskOptions } from "../tasks/task";

/** Options of {@link taskAccuracy}. */
export interface TaskAccuracyOptions extends RunOptions, TaskOptions {
  readonly key: Key;
  /** Prompt lengths, in tokens. */
  readonly lengths: readonly number[];
  /** Depths to try at each length; each sample draws its own unless given. Tasks without depth ignore it. */
  readonly depths?: readonly number[];
  /** Samples per length and depth; 32 unless given. */
  readonly samples?: number;
}

/** Exact answers among the samples of one length and depth, with a 95% Wilson interval. */
export interface TaskCell {
  readonly length: number;
  /** Null where each sample drew its own, or the task has none. */
  readonly depth: number | null;
  readonly samples: number;
  /** Samples answered exactly. */
  readonly correct: number;
  readonly accuracy: number;
  readonly ci95: Interval;
  /** Mean share of right characters. */
  readonly characters: number;
  /** Mean loss of the right answer, teacher-forced, in bits per token. */
  readonly answerBits: number;
}

/** What {@link taskAccuracy} finds: a cell for each length and depth. */
export interface TaskAccuracy {
  readonly task: string;
  readonly cells: readonly TaskCell[];
}

/** Runs `samples` samples (16 side by side unless `batch` is given) at each length and depth. */
export async function taskAccuracy<State extends Tree>(
  model: SequenceModel<State>, parameters: Parameters, task: Task, options: TaskAccuracyOptions,
): Promise<TaskAccuracy> {
  const { key, lengths, samples = 32, batch = 16 } = options;
  check(Number.isInteger(samples) && samples >= 1, "E_ARGUMENT", () => `task accuracy: samples must be a whole number of at least 1, not ${samples}`);
  const depths: readonly (number | null)[] = (task.hasDepth ? options.depths : undefined) ?? [options.depth ?? null];
  const total = samples * depths.length * lengths.reduce((sum, length) => sum + length, 0);
  let done = 0;
  const cells: TaskCell[] = [];
  for (const length of lengths) {
    for (const depth of depths) {
      const made = Array.from({ length: samples }, (_, i) =>
        task.sample(foldIn(foldIn(key, length), i), length, { ...options, depth: depth ?? undefined }));
      const results: { exact: number; characters: number; bits: number }[] = [];
      for (const group of groups(made, batch)) {
        const answered = await answerAll(model, parameters, group, length, options);
        results.push(...answered.map(({ generated, bits }, i) => ({ ...task.score(group[i]!, generated), bits })));
        options.onProgress?.((done += group.length * length), total);
      }
      const correct = results.reduce((sum, { exact }) => sum + exact, 0);
      cells.push({
        length, depth, samples, correct,
        accuracy: correct / samples,
        ci95: wilsonInterval(correct, samples),
        characters: mean(results.map((r) => r.characters)),
        answerBits: mean(results.map((r) => r.bits)),
      });
    }
  }
  return { task: task.name, cells };
}

interface Answered {
  readonly generated: Int32Array;
  /** Bits per token of the right answer. */
  readonly bits: number;
}

/** Streams the prompts, then decodes and scores from the state they end in. */
async function answerAll<State extends Tree>(
  model: SequenceModel<State>, parameters: Parameters, samples: readonly Sample[], length: number, options: RunOptions,
): Promise<Answered[]> {
  const device = deviceOf(parameters);
  const prompts = samples.map(({ prompt }) => prompt);
  // The last prompt token runs alone, so that the chunk's hidden states are those that the answer follows from.
  const run = { ...options, onProgress: undefined, end: length, stops: [length - 1], losses: false };
  for await (const { end, hidden, state } of stream(model, parameters, prompts, run)) {
    if (end < length) continue;
    const losses = await teacherForced(model, parameters, device, samples, hidden, state);
    const generated = await decode(model, parameters, samples.length, samples[0]!.answer.length, hidden, state);
    return generated.map((tokens, i) => ({ generated: tokens, bits: losses[i]! }));
  }
  return [];
}

/** hidden [B,1,D] after the prompt; the mean loss of each answer in bits per token. */
async function teacherForced<State extends Tree>(
  model: SequenceModel<State>, parameters: Parameters, device: Device, samples: readonly Sample[], hidden: Tensor, state: State,
): Promise<number[]> {
  const width = samples[0]!.answer.length;
  const part = (from: number, to: number) =>
    tensor(device, samples.flatMap(({ answer }) => Array.from(answer.subarray(from, to))), [samples.length, to - from], "i32");
  const losses = withoutGradient(() => keep(scope(() => {
    const head = model.head(parameters);
    const first = crossEntropy(hidden, head, part(0, 1));
    if (width === 1) return [first];
    return [first, crossEntropy(model.forward(parameters, part(0, width - 1), state).hidden, head, part(1, width))];
  })));
  const sums = samples.map(() => 0);
  for (const t of losses) {
    const values = await t.read();
    for (let i = 0; i < values.length; i++) sums[Math.floor(i / (t.size / samples.length))]! += values[i]!;
  }
  dispose(losses);
  return sums.map((sum) => sum / (width * Math.LN2));
}

/** Greedy: `count` tokens for each of `rows`. Tokens stay on the device until all are there. */
async function decode<State extends Tree>(
  model: SequenceModel<State>, parameters: Parameters, rows: number, count: number, hidden: Tensor, state: State,
): Promise<Int32Array[]> {
  const likeliest = (h: Tensor) => argmax(linear(h, model.head(parameters))); // [B,1,D] -> [B,1]
  const made: Tensor[] = [withoutGradient(() => keep(scope(() => likeliest(hidden))))];
  let current = state;
  for (let i = 1; i < count; i++) {
    const next = withoutGradient(() => keep(scope(() => {
      const result = model.forward(parameters, made[i - 1]!, current);
      return { token: likeliest(result.hidden), state: result.state };
    })));
    if (current !== state) releaseOld(current, [next.state, state]);
    current = next.state;
    made.push(next.token);
  }
  if (current !== state) releaseOld(current, state);
  const columns = await Promise.all(made.map((t) => t.read()));
  dispose(made);
  return Array.from({ length: rows }, (_, row) => Int32Array.from(columns, (column) => column[row]!));
}
