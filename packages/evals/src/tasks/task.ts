/**
 * The contract of a task: it makes samples of a given length from a key and scores answers. It knows neither
 * models nor files; text comes in from outside. Lengths count tokens, here bytes.
 */
import {
  check, hostRandom, type HostRandom, type Key, type SettingsTable, type Tokens, type TokenSource, wholeOf,
} from "@lenggen/kernels";

/** What a sample is made from. */
export interface TaskOptions {
  /** Where the thing to remember stands: 0 at the start, 1 at the end. Drawn per sample unless given. */
  readonly depth?: number;
  /**
   * Real text, as tokens, for the tasks that hide something in it. Where it holds marks or words of the task itself, there are spaces
   * instead.
   */
  readonly text?: Tokens | TokenSource;
  /** Passkey: whether the prompt opens with its instructions (143 bytes); false unless given. */
  readonly instructions?: boolean;
  /** Key retrieval, two hops, many keys: letters of a key; 3 unless given. */
  readonly keyLength?: number;
  /** The same tasks: letters of the name that a key is asked for by; 2 unless given, in key retrieval 0, for no name. */
  readonly nameLength?: number;
  /**
   * The same tasks: how many different letters the names of one text are made of, drawn for each; the fewer, the more alike are the names.
   * All 26 unless given.
   */
  readonly nameLetters?: number;
  /** Many keys: how many there are, 4 unless given. Two hops: how many chains, 2 unless given. One of them is asked for. */
  readonly keys?: number;
  /** The same tasks: what surrounds the keys: real text, unless `noise`, random lower-case letters and spaces, is asked for. */
  readonly filler?: "text" | "noise";
}

/** What a sample asks for. */
export interface Expected {
  readonly answer: Int32Array;
  /** Where the thing to remember stands; null for tasks that have no depth. */
  readonly depth: number | null;
}

/** A prompt with its right answer. */
export interface Sample extends Expected {
  readonly prompt: Int32Array;
}

/** A sample whose prompt is made piece by piece, so that memory does not depend on its length. */
export interface StreamedSample extends Expected {
  readonly prompt: TokenSource;
}

/** One long stream that answers several questions. */
export interface Haystack {
  readonly tokens: TokenSource;
  /** Each asks what stands at a depth of its own; its prompt is to follow the stream. */
  readonly questions: readonly Sample[];
}

/** How an answer did. */
export interface Score {
  /** 1 if the answer is right, else 0. */
  readonly exact: 0 | 1;
  /** Share of characters that are right at their place. */
  readonly characters: number;
}

/** Makes samples of a given length from a key and scores answers; knows nothing of models or files. */
export interface Task {
  readonly name: string;
  /** One sentence for help texts and reports. */
  readonly summary: string;
  /** Its options for command lines and forms: some of {@link TaskOptions}, with defaults, meanings and ranges. */
  readonly settings: SettingsTable;
  readonly needsText: boolean;
  readonly hasDepth: boolean;
  /** Length of the shortest prompt. */
  shortest(options?: TaskOptions): number;
  /** Length of the longest prompt that fits, with its answer, into `total` tokens. */
  promptLength(total: number, options?: TaskOptions): number;
  /** A sample whose prompt is exactly `length` tokens long. The same key gives the same sample. */
  sample(key: Key, length: number, options?: TaskOptions): Sample;
  /** The same sample, its prompt made piece by piece. Tasks without it are for lengths that can be held whole. */
  stream?(key: Key, length: number, options?: TaskOptions): StreamedSample;
  /** A stream of exactly `length` tokens, questions not counted, with something to ask for at each of the depths. */
  haystack?(key: Key, length: number, depths: readonly number[], options?: TaskOptions): Haystack;
  /** Scores what a model wrote after the prompt. */
  score(sample: Expected, generated: ArrayLike<number>): Score;
}

/** A task whose samples are made piece by piece. */
export type StreamingTask = Task & Required<Pick<Task, "stream">>;

/** Completes a streaming task: its samples are the streamed ones, whole. */
export function streaming(task: Omit<StreamingTask, "sample">): StreamingTask {
  return {
    ...task,
    sample(key, length, options) {
      const sample = task.stream(key, length, options);
      return { ...sample, prompt: wholeOf(sample.prompt) };
    },
  };
}

export function bytes(text: string): Int32Array {
  return Int32Array.from(new TextEncoder().encode(text));
}

export function textOf(tokens: ArrayLike<number>): string {
  return String.fromCharCode(...Array.from(tokens));
}

export function join(...parts: readonly ArrayLike<number>[]): Int32Array {
  return Int32Array.from(parts.flatMap((part) => Array.from(part)));
}

/** Exact and per-place agreement; what is missing or too much counts as wrong. */
export function compare(expected: ArrayLike<number>, given: ArrayLike<number>): Score {
  const longest = Math.max(expected.length, given.length);
  let right = 0;
  for (let i = 0; i < longest; i++) if (expected[i] === given[i]) right++;
  return { exact: right === longest ? 1 : 0, characters: longest === 0 ? 1 : right / longest };
}

/** Checks a sample's length and depth, and opens its random stream. The depth is drawn first, given or not. */
export function begin(
  task: Pick<Task, "name" | "shortest">, key: Key, length: number, options: TaskOptions,
): { random: HostRandom; depth: number } {
  const shortest = task.shortest(options);
  check(Number.isInteger(length) && length >= shortest, "E_ARGUMENT", () =>
    `task ${task.name}: a prompt must be at least ${shortest} tokens long, not ${length}`);
  const random = hostRandom(key);
  const drawn = random.uniform();
  const depth = options.depth ?? drawn;
  checkDepth(task, depth);
  return { random, depth };
}

export function checkDepth(task: Pick<Task, "name">, depth: number): void {
  check(depth >= 0 && depth <= 1, "E_ARGUMENT", () => `task ${task.name}: depth must be in 0 ... 1, not ${depth}`);
}
