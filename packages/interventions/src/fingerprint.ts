/** Hashes of what a run reads, so that a resumed run notices another text, whatever it is called and wherever it lies. */
import { check, readTokens, type Tokens, type TokenSource, yieldToEventLoop } from "@lenggen/kernels";

/** Tokens that are read at a time. */
const PIECE = 1 << 16;
/** Pieces, about 0.2 s, between two turns for everything else. */
const TURN = 1 << 10;

/** Options of {@link hashTokens}. */
export interface HashOptions {
  /** Stops between two pieces with `E_INTERRUPTED`. */
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number) => void;
}

/** 64 bits, as 16 hexadecimal digits: two of FNV-1a over whole tokens, with different starts. */
class TokenHash {
  #low = 0x811c9dc5;
  #high = 0x9e3779b9;

  add(tokens: Int32Array): void {
    let [low, high] = [this.#low, this.#high];
    for (let i = 0; i < tokens.length; i++) {
      low = Math.imul(low ^ tokens[i]!, 0x01000193);
      high = Math.imul(high ^ tokens[i]!, 0x01000193) ^ (high >>> 15);
    }
    [this.#low, this.#high] = [low, high];
  }

  digest(): string {
    const hex = (word: number) => (word >>> 0).toString(16).padStart(8, "0");
    return hex(this.#high) + hex(this.#low);
  }
}

/** Reads a sequence in pieces. */
function* pieces(sequence: Tokens | TokenSource): Generator<Int32Array> {
  const buffer = new Int32Array(Math.min(PIECE, sequence.length));
  for (let start = 0; start < sequence.length; start += PIECE) {
    const piece = buffer.subarray(0, Math.min(PIECE, sequence.length - start));
    readTokens(sequence, start, piece);
    yield piece;
  }
}

/** The hash of a sequence at once: for what is in memory. */
export function hashNow(sequence: Tokens | TokenSource): string {
  const hash = new TokenHash();
  for (const piece of pieces(sequence)) hash.add(piece);
  return hash.digest();
}

/** The same hash, made piece by piece, for texts that take seconds to read. The bytes of a file are tokens, too. */
export async function hashTokens(sequence: Tokens | TokenSource, { signal, onProgress }: HashOptions = {}): Promise<string> {
  const hash = new TokenHash();
  let read = 0;
  for (const piece of pieces(sequence)) {
    hash.add(piece);
    if (++read % TURN !== 0) continue;
    onProgress?.(read * PIECE, sequence.length);
    await yieldToEventLoop();
    check(!signal?.aborted, "E_INTERRUPTED", () => "the reading of the text was interrupted");
  }
  onProgress?.(sequence.length, sequence.length);
  return hash.digest();
}

/** The hash of weights, by the bits of their f32 values. */
export function hashOfWeights(weights: ArrayLike<number>): string {
  return hashNow({
    length: weights.length,
    read: (start, into) => into.set(new Int32Array(Float32Array.from(into, (_, i) => weights[start + i]!).buffer)),
  });
}
