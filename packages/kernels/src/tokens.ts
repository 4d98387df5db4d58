/** Sequences of tokens: held whole, or read or made piece by piece so that their length costs no memory. */

import { isWord } from "./dtype";
import { check } from "./errors";

/** Token ids; a `Uint8Array` of text is a sequence of a byte model as it stands. */
export type Tokens = ArrayLike<number>;

/** Tokens that are read or made when they are asked for. The same places always hold the same tokens, in whatever order they are read. */
export interface TokenSource {
  readonly length: number;
  /** Fills `into` with the tokens from `start` on. */
  read(start: number, into: Int32Array): void;
}

/**
 * Copies tokens start, start + 1, ... of a sequence of either kind. Throws `E_ARGUMENT` for what is no token, such as a string's
 * letters.
 */
export function readTokens(sequence: Tokens | TokenSource, start: number, into: Int32Array): void {
  if (sequence instanceof Uint8Array || sequence instanceof Int32Array) into.set(sequence.subarray(start, start + into.length));
  else if (isSource(sequence)) sequence.read(start, into);
  else {
    for (let i = 0; i < into.length; i++) {
      const token = sequence[start + i];
      check(isWord(token), "E_ARGUMENT", () =>
        `tokens: ${String(token)} at place ${start + i} is not a whole number; a text's tokens are its bytes: `
          + "new TextEncoder().encode(text)");
      into[i] = token;
    }
  }
}

function isSource(sequence: Tokens | TokenSource): sequence is TokenSource {
  return typeof sequence === "object" && "read" in sequence;
}

/** Tokens from ... to - 1 of a sequence, in memory. */
export function cutTokens(sequence: Tokens | TokenSource, from: number, to: number): Int32Array {
  const tokens = new Int32Array(to - from);
  readTokens(sequence, from, tokens);
  return tokens;
}

/** All tokens of a source at once. */
export function wholeOf(source: TokenSource): Int32Array {
  return cutTokens(source, 0, source.length);
}

/** Sequences one after the other, as one. Finding a place takes a few looks, also among a million parts. */
export function joinTokens(parts: readonly (Tokens | TokenSource)[]): TokenSource {
  const starts = new Float64Array(parts.length); // exact to 2^53
  let length = 0;
  parts.forEach((part, i) => {
    starts[i] = length;
    length += part.length;
  });
  return {
    length,
    read(start, into) {
      for (let i = lastAtMost(starts, start), done = 0; done < into.length && i < parts.length; i++) {
        const offset = start + done - starts[i]!;
        const here = Math.min(parts[i]!.length - offset, into.length - done);
        if (here > 0) readTokens(parts[i]!, offset, into.subarray(done, done + here));
        done += here;
      }
    },
  };
}

/** Tokens from ... to - 1 of a sequence, as a source. */
export function partOf(sequence: Tokens | TokenSource, from: number, to: number): TokenSource {
  return { length: to - from, read: (start, into) => readTokens(sequence, from + start, into) };
}

/** Index of the last of ascending numbers that is not above `value`; 0 when all are. */
export function lastAtMost(ascending: ArrayLike<number>, value: number): number {
  let [low, high] = [0, ascending.length];
  while (high - low > 1) {
    const middle = (low + high) >>> 1;
    if (ascending[middle]! <= value) low = middle;
    else high = middle;
  }
  return low;
}
