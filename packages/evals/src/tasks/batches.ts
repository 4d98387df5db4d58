/** Training samples of a task, as batches of token sequences with a weight for each prediction. */
import { check, foldIn, hostRandom, type Key, wholeOf } from "@lenggen/kernels";
import { join, type Task, type TaskOptions } from "./task";

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
  /**
   * With `sharedLength`, for tasks whose streams answer several questions: how many are asked at the end of each row, one after the other.
   * More of a row then teaches; 1 unless given.
   */
  readonly questions?: number;
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

/** Tokens of one row, and where its answers stand. */
interface Row {
  readonly tokens: Int32Array;
  readonly answers: readonly { readonly at: number; readonly length: number }[];
}

/** Training batches of a task, by step number: the same step gives the same batch, so that a resumed run sees the same samples. */
export function taskBatches(task: Task, options: TaskBatchOptions): { batch(step: number): TaskBatch } {
  const { key, batch: rows, length, sharedLength = false, ends, questions, promptWeight = 1, answerWeight = 1 } = options;
  const longest = length + 1;
  const shortest = options.shortest ?? longest;
  for (const [name, value, least] of [["ends", ends, 0], ["questions", questions, 1]] as const) {
    check(value === undefined || (sharedLength && Number.isInteger(value) && value >= least), "E_ARGUMENT", () =>
      `task ${task.name}: ${name} must be a whole number of at least ${least}, given together with sharedLength, not ${value}`);
  }
  check(questions === undefined || task.haystack, "E_ARGUMENT", () => `task ${task.name}: one row can't hold several of its questions`);
  check(shortest <= longest && task.promptLength(shortest, options) >= task.shortest(options), "E_ARGUMENT", () =>
    `task ${task.name}: rows of ${shortest} ... ${longest} tokens can't hold a prompt of ${task.shortest(options)} and its answer`);
  return {
    batch(step) {
      const tokens = new Int32Array(rows * longest);
      const weights = new Float32Array(rows * length);
      const drawn = (from: Key): number => shortest + hostRandom(from).integer(longest - shortest + 1);
      const shared = sharedLength ? drawn(foldIn(key, step)) : undefined;
      let answers: Row["answers"] = [];
      for (let row = 0; row < rows; row++) {
        const rowKey = foldIn(foldIn(key, step), row);
        const size = shared ?? drawn(rowKey);
        const made = questions === undefined ? oneQuestion(task, foldIn(rowKey, 0), size, options)
          : severalQuestions(task, foldIn(rowKey, 0), size, questions, options);
        ({ answers } = made);
        tokens.set(made.tokens, row * longest);
        weights.fill(promptWeight, row * length, row * length + made.tokens.length - 1);
        for (const answer of answers) {
          const from = row * length + answer.at - 1;
          weights.fill(answerWeight, from, from + answer.length);
        }
      }
      if (shared === undefined) return { tokens, weights };
      // The last token of a prompt opens a segment: what it retrieves must have seen the question.
      const asked = answers.map(({ at }) => at - 1);
      return { tokens, weights, ends: asked.flatMap((at) => Array<number>(ends ?? 1).fill(at)) };
    },
  };
}

function oneQuestion(task: Task, key: Key, size: number, options: TaskOptions): Row {
  const { prompt, answer } = task.sample(key, task.promptLength(size, options), options);
  return { tokens: join(prompt, answer), answers: [{ at: prompt.length, length: answer.length }] };
}

/** A stream that answers `count` questions, and the questions after it, each with its answer. */
function severalQuestions(task: Task, key: Key, size: number, count: number, options: TaskOptions): Row {
  const random = hostRandom(foldIn(key, 0));
  const depths = Array.from({ length: count }, () => random.uniform());
  const sizes = task.haystack!(key, size, depths, options).questions.reduce((sum, { prompt, answer }) =>
    sum + prompt.length + answer.length, 0);
  const stream = task.haystack!(key, size - sizes, depths, options);
  const text = wholeOf(stream.tokens);
  const answers: { at: number; length: number }[] = [];
  let at = text.length;
  for (const { prompt, answer } of stream.questions) {
    answers.push({ at: at + prompt.length, length: answer.length });
    at += prompt.length + answer.length;
  }
  return { tokens: join(text, ...stream.questions.flatMap(({ prompt, answer }) => [prompt, answer])), answers };
}
