/**
 * Accuracy on a task by length and depth. Prompts of one length run side by side, streamed in chunks with the state
 * carried over; answers are decoded greedily, token by token, and also scored teacher-forced (the loss of the
 * right answer). Prompts of tasks that stream are never held whole. Intervals are Wilson's at 95%.
 */
import { check, foldIn, hostRandom, type Key, type Parameters, type SequenceModel, type Tree } from "@lenggen/kernels";
import { checkWhole } from "../checks";
import { type Interval, mean, wilsonInterval } from "../statistics";
import { groups, type RunOptions, stream } from "../stream";
import type { Sample, StreamedSample, Task, TaskOptions } from "../tasks/task";
import { type Answered, answersFrom } from "./answers";

/** The stream of random numbers that depths come from; samples draw from their key itself. */
const DEPTH = 1;

/** Options of {@link taskAccuracy}. */
export interface TaskAccuracyOptions extends RunOptions, TaskOptions {
  readonly key: Key;
  /** Prompt lengths, in tokens. */
  readonly lengths: readonly number[];
  /** Depths to try at each length; each sample draws its own unless given. Tasks without depth ignore it. */
  readonly depths?: readonly number[];
  /**
   * Each sample draws its own depth from so far below to so far above the one given; 0 unless given. Without it a depth stands at the
   * same place of a segment at every length that is a multiple of one.
   */
  readonly spread?: number;
  /** Samples per length and depth; 32 unless given. */
  readonly samples?: number;
  /**
   * Models with segments: how many end before the prompt's last token, so that answers see what the question retrieves; 1 unless given.
   * 0 leaves the question where it falls, for prompts whose last token opens a segment anyway ("aligned").
   */
  readonly ends?: number;
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
  /** Mean share of the answer's tokens that are the likeliest, teacher-forced: given the right ones before. */
  readonly teacherForced: number;
}

/** What {@link taskAccuracy} finds: a cell for each length and depth. */
export interface TaskAccuracy {
  readonly task: string;
  readonly cells: readonly TaskCell[];
}

/**
 * Measures how often a model answers a task exactly, by `samples` samples (16 side by side unless `batch` is given) at each length
 * and depth.
 */
export async function taskAccuracy<State extends Tree>(
  model: SequenceModel<State>, parameters: Parameters, task: Task, options: TaskAccuracyOptions,
): Promise<TaskAccuracy> {
  const { key, lengths, spread = 0, samples = 32, batch = 16, ends = 1 } = options;
  checkWhole("task accuracy: samples", samples);
  checkWhole("task accuracy: ends", ends, 0);
  check(spread >= 0 && spread <= 1, "E_ARGUMENT", () => `task accuracy: spread must be from 0 to 1, not ${spread}`);
  const depths: readonly (number | null)[] = (task.hasDepth ? options.depths : undefined) ?? [options.depth ?? null];
  const total = samples * depths.length * lengths.reduce((sum, length) => sum + length, 0);
  let done = 0;
  const cells: TaskCell[] = [];
  for (const length of lengths) {
    for (const depth of depths) {
      const make = (i: number): Sample | StreamedSample => {
        const own = foldIn(foldIn(key, length), i);
        const given = { ...options, depth: depth === null ? undefined : around(depth, spread, own) };
        return task.stream?.(own, length, given) ?? task.sample(own, length, given);
      };
      const results: { exact: number; characters: number; bits: number; forced: number }[] = [];
      for (const group of groups(Array.from({ length: samples }, (_, i) => i), batch)) {
        const made = group.map(make);
        const answered = await answerAll(model, parameters, made, length, options,
          (tokens) => options.onProgress?.((done += tokens), total));
        results.push(...answered.map(({ generated, bits, forced }, i) => ({ ...task.score(made[i]!, generated), bits, forced })));
      }
      const correct = results.reduce((sum, { exact }) => sum + exact, 0);
      cells.push({
        length, depth, samples, correct,
        accuracy: correct / samples,
        ci95: wilsonInterval(correct, samples),
        characters: mean(results.map((r) => r.characters)),
        answerBits: mean(results.map((r) => r.bits)),
        teacherForced: mean(results.map((r) => r.forced)),
      });
    }
  }
  return { task: task.name, cells };
}

/** A depth near the one given. */
function around(depth: number, spread: number, key: Key): number {
  if (spread === 0) return depth;
  return Math.min(1, Math.max(0, depth + spread * (2 * hostRandom(foldIn(key, DEPTH)).uniform() - 1)));
}

/** Streams the prompts, then decodes and scores from the state they end in. */
async function answerAll<State extends Tree>(
  model: SequenceModel<State>, parameters: Parameters, samples: readonly (Sample | StreamedSample)[], length: number,
  options: TaskAccuracyOptions, onTokens: (tokens: number) => void,
): Promise<Answered[]> {
  const prompts = samples.map(({ prompt }) => prompt);
  // The last prompt token runs alone, so that the chunk's hidden states are those that the answer follows from. It also opens a new
  // segment: what the segment before retrieves, knowing the question, is seen from here on.
  const last = length - 1;
  const segmentEnds = Array<number>(options.ends ?? 1).fill(last);
  const read = (from: number, to: number) => onTokens(samples.length * (to - from));
  const run = { ...options, onProgress: undefined, end: length, stops: [last], segmentEnds, losses: false, wanted: last, onPrefill: read };
  for await (const { start, end, hidden, state } of stream(model, parameters, prompts, run)) {
    read(start, end);
    if (end === length) return await answersFrom(model, parameters, samples.map(({ answer }) => answer), hidden, state, options);
  }
  return [];
}
