/** Sequences of tokens: held whole, or made piece by piece so that their length costs no memory. */

/** Token ids; a `Uint8Array` of text is a sequence of a byte model as it stands. */
export type Tokens = ArrayLike<number>;

/** Tokens that are made when they are asked for. The same places always hold the same tokens, in whatever order they are read. */
export interface TokenSource {
  readonly length: number;
  /** Fills `into` with the tokens from `start` on. */
  read(start: number, into: Int32Array): void;
}

/** Copies tokens start, start + 1, ... of a sequence of either kind. */
export function readTokens(sequence: Tokens | TokenSource, start: number, into: Int32Array): void {
  if ("read" in sequence) sequence.read(start, into);
  else for (let i = 0; i < into.length; i++) into[i] = sequence[start + i]!;
}

/** All tokens of a source at once. */
export function wholeOf(source: TokenSource): Int32Array {
  const tokens = new Int32Array(source.length);
  source.read(0, tokens);
  return tokens;
}

/** Sequences one after the other, as one. */
export function joinTokens(parts: readonly (Tokens | TokenSource)[]): TokenSource {
  const starts: number[] = [];
  let length = 0;
  for (const part of parts) {
    starts.push(length);
    length += part.length;
  }
  return {
    length,
    read(start, into) {
      parts.forEach((part, i) => {
        const from = Math.max(start, starts[i]!);
        const to = Math.min(start + into.length, starts[i]! + part.length);
        if (from < to) readTokens(part, from - starts[i]!, into.subarray(from - start, to - start));
      });
    },
  };
}

/** Tokens from ... to - 1 of a source. */
export function partOf(source: TokenSource, from: number, to: number): TokenSource {
  return { length: to - from, read: (start, into) => source.read(from + start, into) };
}
