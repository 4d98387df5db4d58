/** Finds texts that end a generation in the bytes that it writes, wherever tokens begin and end. */
import { check } from "./errors";

/** A text as bytes, and how far along it a match is (Knuth, Morris and Pratt 1977). */
interface Pattern {
  readonly text: string;
  readonly bytes: Uint8Array;
  /** `shorter[n]`: the longest beginning of the text that its first n bytes end with, other than themselves. */
  readonly shorter: Int32Array;
  matched: number;
}

/**
 * Takes the bytes of tokens one after the other and gives back those that certainly stand before the first stop text; what may be the
 * beginning of one is held back. Of texts that end at the same byte the longest counts. Texts are searched for as UTF-8.
 */
export class StopTexts {
  readonly #patterns: readonly Pattern[];
  #held: number[] = [];
  #found: string | undefined;

  /** Throws `E_ARGUMENT` for an empty text. No texts at all are never found. */
  constructor(texts: readonly string[]) {
    check(texts.every((text) => text.length > 0), "E_ARGUMENT",
      () => "stop texts: one of them is empty; it would end everything before it begins");
    // The longest first.
    this.#patterns = [...new Set(texts)].map(patternOf).sort((a, b) => b.bytes.length - a.bytes.length);
  }

  /** The text that was found, once one was; nothing that comes after it matters. */
  get found(): string | undefined {
    return this.#found;
  }

  /** Gives what may be shown now that these bytes have come too. */
  push(bytes: Iterable<number>): Uint8Array<ArrayBuffer> {
    const sure: number[] = [];
    for (const byte of bytes) {
      if (this.#found !== undefined) break;
      this.#held.push(byte);
      for (const pattern of this.#patterns) advance(pattern, byte);
      const whole = this.#patterns.find(({ matched, bytes: { length } }) => matched === length);
      const keep = whole?.bytes.length ?? this.#patterns.reduce((most, { matched }) => Math.max(most, matched), 0);
      sure.push(...this.#held.splice(0, this.#held.length - keep));
      if (!whole) continue;
      this.#found = whole.text;
      this.#held = [];
    }
    return Uint8Array.from(sure);
  }

  /** What was held back, when nothing more comes: it was no stop text. */
  rest(): Uint8Array<ArrayBuffer> {
    return Uint8Array.from(this.#held.splice(0));
  }
}

function patternOf(text: string): Pattern {
  const bytes = new TextEncoder().encode(text);
  const pattern: Pattern = { text, bytes, shorter: new Int32Array(bytes.length + 1), matched: 0 };
  for (let n = 1; n < bytes.length; n++) {
    advance(pattern, bytes[n]!);
    pattern.shorter[n + 1] = pattern.matched;
  }
  pattern.matched = 0;
  return pattern;
}

function advance(pattern: Pattern, byte: number): void {
  const { bytes, shorter } = pattern;
  let { matched } = pattern;
  while (matched > 0 && bytes[matched] !== byte) matched = shorter[matched]!;
  pattern.matched = bytes[matched] === byte ? matched + 1 : 0;
}
