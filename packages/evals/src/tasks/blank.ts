/**
 * Texts may hold what a task itself writes: `[[` in the notes of a wiki, or the words of its question. What is hidden would then stand
 * beside what only looks like it, and the question have two answers. So all that a text holds of this is blanked by spaces. The marks
 * stay those that models have learnt, and a text without them is as it was.
 */
import type { TokenSource } from "@lenggen/kernels";
import { bytes } from "./task";

const SPACE = 32;

/** Blanks each of the phrases (ASCII), in place, in whatever case it is written and wherever its lines break. */
export function blank(tokens: Int32Array | Uint8Array, phrases: readonly string[]): void {
  const found: { at: number; length: number }[] = [];
  for (const wanted of phrases.map((phrase) => bytes(phrase).map(alike))) {
    const [first] = wanted;
    for (let at = 0; at + wanted.length <= tokens.length; at++) {
      if (alike(tokens[at]!) === first && wanted.every((token, i) => alike(tokens[at + i]!) === token))
        found.push({ at, length: wanted.length });
    }
  }
  for (const { at, length } of found) tokens.fill(SPACE, at, at + length); // after the search: "[[[" holds two of them
}

/** A capital as its small letter, any white space as a space. */
function alike(token: number): number {
  if (token >= 65 && token <= 90) return token + 32;
  return token >= 9 && token <= 13 ? SPACE : token;
}

/** The same tokens with the phrases blanked, made piece by piece as they are. */
export function blanked(source: TokenSource, phrases: readonly string[]): TokenSource {
  const reach = Math.max(...phrases.map(({ length }) => length)) - 1; // how far a phrase that is read in part goes beyond the part
  return {
    length: source.length,
    read(start, into) {
      const from = Math.max(0, start - reach);
      const around = new Int32Array(Math.min(source.length, start + into.length + reach) - from);
      source.read(from, around);
      blank(around, phrases);
      into.set(around.subarray(start - from, start - from + into.length));
    },
  };
}
