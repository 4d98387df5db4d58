/**
 * Where batches come from. A source answers for any step at once, without having been asked for those before it: that
 * is what makes exact resume simple, and it needs no saved position.
 */
import {
  type Batch, type BatchSource, check, cutTokens, foldIn, hostRandom, type Key, lastAtMost, type Tokens, type TokenSource,
} from "@lenggen/kernels";
import { hashNow, hashOfWeights } from "./fingerprint";
import type { JsonRecord } from "./json";

/** Options of {@link independentWindows}. */
export interface WindowOptions {
  readonly batch: number;
  readonly context: number;
  readonly key: Key;
  /** How much predicting each token of the text counts, e.g. more for planted answers; 1 for all unless given. */
  readonly weights?: ArrayLike<number>;
  /** What `hashTokens` says of the text, for one that takes long to read; made here unless given. */
  readonly hash?: string;
}

/**
 * Windows of a text at random places, each drawn on its own; any token may be in one. `tokens` may be bytes (`Uint8Array`), or be read
 * as they are asked for, so that a text can be larger than memory. Throws `E_TEXT` when it has fewer than context + 1 tokens.
 */
export function independentWindows(tokens: Tokens | TokenSource, options: WindowOptions): BatchSource {
  const { batch, context, key, weights } = options;
  checkSizes(batch, context);
  checkText(tokens.length, context);
  checkWeights(tokens, weights);
  return {
    order: "independent",
    batch,
    context,
    settings: { kind: "independent windows", batch, context, key: [...key], ...contentOf(tokens, options) },
    at(step, microBatch) {
      const random = hostRandom(foldIn(foldIn(key, step), microBatch));
      const starts = Array.from({ length: batch }, () => random.integer(tokens.length - context));
      return windowsAt(tokens, starts, context, weights);
    },
  };
}

/** Options of {@link contiguousStreams}. */
export interface StreamOptions extends WindowOptions {
  /** Micro-batches per step: there are batch × microBatches streams in all. 1 unless given. */
  readonly microBatches?: number;
  /** First token of each document, ascending, starting with 0. One document unless given. */
  readonly documents?: readonly number[];
}

/**
 * Streams that read the text side by side: each batch goes on where the one before stopped. The text is cut into
 * chunks of `context` tokens, document by document; what is left at a document's end is `unused`, and so are documents of at
 * most `context` tokens. The streams start at evenly spaced chunks, all moved on by a number drawn from the key, and after the
 * last chunk comes the first. A chunk that begins a document is `fresh`, and so is every stream's first.
 * Throws `E_TEXT` when no document has context + 1 tokens, or when there are fewer chunks than streams.
 */
export function contiguousStreams(tokens: Tokens | TokenSource, options: StreamOptions): BatchSource {
  const { batch, context, key, weights, microBatches = 1, documents = [0] } = options;
  checkSizes(batch, context);
  checkText(tokens.length, context);
  checkWeights(tokens, weights);
  const chunks = new Chunks(tokens.length, context, documents);
  const streams = batch * microBatches;
  check(chunks.length >= streams, "E_TEXT", () =>
    `the text gives ${chunks.length} chunks of ${context} tokens, too few for ${streams} streams; take a longer text or a smaller batch`);
  const shift = hostRandom(key).integer(chunks.length);
  return {
    order: "contiguous",
    batch,
    context,
    settings: {
      kind: "contiguous streams", batch, context, microBatches, documents: documents.length, key: [...key],
      ...contentOf(tokens, options),
    },
    unused: chunks.unused,
    at(step, microBatch) {
      check(microBatch < microBatches, "E_ARGUMENT", () =>
        `contiguous streams were made for ${microBatches} micro-batches; ${microBatch} is not one of them`);
      const mine = Array.from({ length: batch }, (_, i) => {
        const first = Math.floor(((microBatch * batch + i) * chunks.length) / streams);
        return chunks.at((first + shift + step) % chunks.length);
      });
      const fresh = mine.map((chunk) => step === 0 || chunk.first);
      return { ...windowsAt(tokens, mine.map((chunk) => chunk.start), context, weights), fresh };
    },
  };
}

/**
 * The key that post-training draws from: another one than that of any run before it, whatever their seeds. `weights` is the hash of what
 * it starts from (`hashTokens` of model.safetensors), so that all that starts from the same weights draws alike.
 */
export function keyAfter(from: Key, weights: string): Key {
  check(/^[0-9a-f]{16}$/.test(weights), "E_ARGUMENT", () => `keyAfter: "${weights}" is no hash of 16 hexadecimal digits`);
  return foldIn(foldIn(from, Number.parseInt(weights.slice(0, 8), 16)), Number.parseInt(weights.slice(8), 16));
}

/** The chunks of all documents. They are counted and not listed: a text may have millions. */
class Chunks {
  readonly length: number;
  /** Tokens that are in no chunk and follow none. */
  readonly unused: number;
  /** Number of each document's first chunk. */
  readonly #firsts: Float64Array;

  constructor(tokens: number, private readonly context: number, private readonly documents: readonly number[]) {
    this.#firsts = new Float64Array(documents.length);
    let [length, unused] = [0, 0];
    documents.forEach((begin, i) => {
      const end = documents[i + 1] ?? tokens;
      check(begin < end && (i > 0 || begin === 0), "E_ARGUMENT", () =>
        `documents must start at 0 and ascend within the text's ${tokens} tokens; number ${i} starts at ${begin}`);
      const count = Math.floor((end - begin - 1) / context); // a chunk's last token needs one that follows it
      this.#firsts[i] = length;
      length += count;
      unused += end - begin - (count === 0 ? 0 : count * context + 1);
    });
    check(length > 0, "E_TEXT", () => `no document has the ${context + 1} tokens that a context of ${context} needs`);
    [this.length, this.unused] = [length, unused];
  }

  /** Where a chunk starts, and whether it begins a document. */
  at(number: number): { start: number; first: boolean } {
    // Of documents without a chunk and the one behind them, which have the same first number, this finds the last.
    const document = lastAtMost(this.#firsts, number);
    const inside = number - this.#firsts[document]!;
    return { start: this.documents[document]! + inside * this.context, first: inside === 0 };
  }
}

/** Tokens and their followers at each start: window i is tokens[start ... start + context]. */
function windowsAt(
  tokens: Tokens | TokenSource, starts: readonly number[], context: number, weights?: ArrayLike<number>,
): Batch {
  const inputs = new Int32Array(starts.length * context);
  const targets = new Int32Array(starts.length * context);
  const counted = weights && new Float32Array(starts.length * context);
  starts.forEach((start, i) => {
    const window = cutTokens(tokens, start, start + context + 1);
    inputs.set(window.subarray(0, context), i * context);
    targets.set(window.subarray(1), i * context);
    if (counted) for (let t = 0; t < context; t++) counted[i * context + t] = weights[start + t + 1]!;
  });
  return { tokens: inputs, targets, weights: counted };
}

function checkWeights(tokens: Tokens | TokenSource, weights: ArrayLike<number> | undefined): void {
  check(weights === undefined || weights.length === tokens.length, "E_ARGUMENT", () =>
    `there are ${weights?.length} weights for ${tokens.length} tokens; each token needs one`);
}

function checkSizes(batch: number, context: number): void {
  for (const [name, value] of Object.entries({ batch, context })) {
    check(Number.isSafeInteger(value) && value >= 1, "E_CONFIG", () => `${name} is ${value}; it must be a whole number of at least 1`);
  }
}

function checkText(length: number, context: number): void {
  check(length > context, "E_TEXT", () =>
    length === 0
      ? "the text is empty"
      : `the text has ${length} tokens, shorter than the context: a context of ${context} needs at least ${context + 1}`);
}

/** What tells a text with its weights from others; nothing about weights where there are none, so that older runs still fit. */
function contentOf(tokens: Tokens | TokenSource, { weights, hash = hashNow(tokens) }: WindowOptions): JsonRecord {
  return { tokens: tokens.length, hash, ...(weights && { weights: hashOfWeights(weights) }) };
}
