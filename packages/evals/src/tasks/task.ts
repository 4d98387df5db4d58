/**
 * The contract of a task: it makes samples of a given length from a key and scores answers. It knows neither
 * models nor files; text comes in from outside. Lengths count tokens, here bytes.
 */
import { check, hostRandom, type HostRandom, type Key } from "@lenggen/kernels";
import type { Tokens } from "../stream";

/** What a sample is made from. */
export interface TaskOptions {
  /** Where the thing to remember stands: 0 at the start, 1 at the end. Drawn per sample unless given. */
  readonly depth?: number;
  /** Real text, as tokens, for the tasks that hide something in it. */
  readonly text?: Tokens;
  /** Passkey: whether the prompt opens with its instructions (143 bytes); false unless given. */
  readonly instructions?: boolean;
}

/** A prompt with its right answer. */
export interface Sample {
  readonly prompt: Int32Array;
  readonly answer: Int32Array;
  /** Where the thing to remember stands; null for tasks that have no depth. */
  readonly depth: number | null;
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
  readonly needsText: boolean;
  readonly hasDepth: boolean;
  /** Length of the shortest prompt. */
  shortest(options?: TaskOptions): number;
  /** Length of the longest prompt that fits, with its answer, into `total` tokens. */
  promptLength(total: number): number;
  /** A sample whose prompt is exactly `length` tokens long. The same key gives the same sample. */
  sample(key: Key, length: number, options?: TaskOptions): Sample;
  /** Scores what a model wrote after the prompt. */
  score(sample: Sample, generated: ArrayLike<number>): Score;
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

/** What fills `count` tokens of a haystack: a random stretch of text. */
export function stretch(random: HostRandom, task: string, text: Tokens | undefined, count: number): Int32Array {
  check(text, "E_TEXT", () => `task ${task} hides its key in real text: give it as options.text`);
  check(text.length >= count, "E_TEXT", () => `task ${task} needs a text of at least ${count} tokens; this one has ${text.length}`);
  const start = random.integer(text.length - count + 1);
  return Int32Array.from({ length: count }, (_, i) => text[start + i]!);
}

/** Checks a sample's length and depth, and opens its random stream. The depth is drawn first, given or not. */
export function begin(task: Task, key: Key, length: number, options: TaskOptions): { random: HostRandom; depth: number } {
  const shortest = task.shortest(options);
  check(Number.isInteger(length) && length >= shortest, "E_ARGUMENT", () =>
    `task ${task.name}: a prompt must be at least ${shortest} tokens long, not ${length}`);
  const random = hostRandom(key);
  const drawn = random.uniform();
  const depth = options.depth ?? drawn;
  check(depth >= 0 && depth <= 1, "E_ARGUMENT", () => `task ${task.name}: depth must be in 0 ... 1, not ${depth}`);
  return { random, depth };
}
