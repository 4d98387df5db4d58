/**
 * Training text in which remembering pays: keys of the task `recall` planted into real text, each asked for again some way
 * further on, pair after pair:
 *
 *   ... text ...[[qzk]]... text ...[[qzk]]... text ...
 */
import { check, hostRandom, type Key } from "@lenggen/kernels";
import { blank } from "./blank";
import { CLOSE, KEY_LENGTH, OPEN, word } from "./keys";
import { bytes } from "./task";

/** Where and what to plant. */
export interface PlantOptions {
  readonly key: Key;
  /** Shortest and longest stretch of text between a key and its question, in bytes; drawn log-uniformly. */
  readonly distance: readonly [number, number];
  /** Longest stretch of text between a question and the next key, in bytes; drawn uniformly from 0. */
  readonly pause: number;
  /** Weight of predicting a byte of the answer; text weighs 1. */
  readonly answerWeight: number;
}

/** A text with keys planted throughout. */
export interface Planted {
  readonly tokens: Uint8Array;
  /** How much predicting each token counts. The first mention of a key, which nobody could know, counts nothing. */
  readonly weights: Float32Array;
  /** Where each document given begins in the new text. */
  readonly documents: readonly number[];
}

/**
 * Plants keys throughout a text, in which marks of its own are blanked. The same key gives the same text. Throws `E_ARGUMENT` for
 * distances out of order.
 */
export function plantKeys(given: Uint8Array, documents: readonly number[], options: PlantOptions): Planted {
  const { key, distance: [nearest, farthest], pause, answerWeight } = options;
  check(nearest >= 1 && nearest <= farthest && pause >= 0, "E_ARGUMENT", () =>
    `plantKeys: distances must ascend from at least 1 and the pause be at least 0, not ${nearest} ... ${farthest} and ${pause}`);
  const text = given.slice();
  blank(text, [OPEN, CLOSE]);
  const random = hostRandom(key);
  const [open, close] = [bytes(OPEN), bytes(CLOSE)];
  const tokens: number[] = [];
  const weights: number[] = [];
  const starts: number[] = [];
  const put = (part: ArrayLike<number>, weight: number) => {
    for (let i = 0; i < part.length; i++) {
      tokens.push(part[i]!);
      weights.push(weight);
    }
  };
  documents.forEach((begin, i) => {
    const end = documents[i + 1] ?? text.length;
    starts.push(tokens.length);
    for (let at = begin; at < end; ) {
      const before = random.integer(pause + 1);
      const between = Math.round(nearest * (farthest / nearest) ** random.uniform());
      put(text.subarray(at, Math.min(end, at + before)), 1);
      at += before;
      if (at + between > end) {
        put(text.subarray(Math.min(at, end), end), 1);
        break;
      }
      const answer = bytes(word(random, KEY_LENGTH));
      put(open, 1);
      put(answer, 0);
      put(close, 1);
      put(text.subarray(at, at + between), 1);
      put(open, 1);
      put(answer, answerWeight);
      put(close, 1);
      at += between;
    }
  });
  return { tokens: Uint8Array.from(tokens), weights: Float32Array.from(weights), documents: starts };
}
