/** The contract between what makes training batches (texts, tasks) and a trainer. */
import type { JsonObject } from "./strictJson";

/** Order in which sequences arrive: `independent` of each other, or each batch `contiguous` to the one before. */
export type TokenOrder = "independent" | "contiguous";

/** One batch: B sequences of T tokens, each with its next tokens as targets. */
export interface Batch {
  /** T, where it is not the source's; B is then what the tokens make of it. For training on longer and longer sequences. */
  readonly context?: number;
  /** [B, T] */
  readonly tokens: Int32Array;
  /** [B, T]: what follows each token; a negative target is left out of the loss. */
  readonly targets: Int32Array;
  /** [B, T]: how much each target counts, e.g. more for answers; 1 unless given. The loss is the weighted mean. */
  readonly weights?: Float32Array;
  /** [B]: sequences that have no past, so that a carried state must not reach them. */
  readonly fresh?: readonly boolean[];
  /** Where segments end in every row, for models with segments: offsets in 0 ... T, ascending (see `ForwardOptions`). */
  readonly ends?: readonly number[];
}

/** Batches as a function of the step alone, so that a resumed run sees the same ones. */
export interface BatchSource {
  readonly order: TokenOrder;
  /** Sequences per batch: B, in batches that do not say their own T. */
  readonly batch: number;
  /** Tokens per sequence: T, or the largest where batches say their own. */
  readonly context: number;
  /** What tells this source from others; a run is resumed only with the same. */
  readonly settings: JsonObject;
  /** Tokens of the text that no batch holds, however long a run is; none unless given. */
  readonly unused?: number;
  /** The batch of a step (from 0) and a micro-batch; the same numbers give the same batch. */
  at(step: number, microBatch: number): Batch;
}
