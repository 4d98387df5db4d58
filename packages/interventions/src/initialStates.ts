/**
 * The contract of an intervention: a source of initial states. Before each batch it says which state the
 * batch starts from, and afterwards it sees the state that the batch ended in. Zero states, noise, state passing and
 * truncated backpropagation through time differ in this alone, plus the order in which tokens arrive.
 *
 * Gradients stop at the chunk border in all of them: what `next` returns is made outside the tape of the
 * step that uses it, so it is a constant there.
 */
import type { Device, DType, Key, SequenceModel, Settings, Tensor, TokenOrder, Tree } from "@lenggen/kernels";
import type { Json, JsonRecord } from "./json";

/** What a source of initial states knows of the batch that comes next. */
export interface StateRequest {
  /** Randomness of this very step and micro-batch; the source needs no other. */
  readonly key: Key;
  readonly step: number;
  /** Which part of a step with gradient accumulation; from 0. */
  readonly microBatch: number;
  /** Number of sequences. */
  readonly batch: number;
  /** Sequences that start here and have no past (contiguous order only). */
  readonly fresh?: readonly boolean[];
  readonly device: Device;
  readonly dtype: DType;
  /**
   * For `observe`, where steps that are not finite are skipped: [1] i32, above 0 when the batch's loss, gradients or final state are not
   * finite. The final state is zeros then: the next batch starts anew. It lives until `observe` returns.
   */
  readonly notFinite?: Tensor;
}

/** What a source must find again after an interruption: tensors by name, and plain values. */
export interface SavedStates {
  readonly tensors: Readonly<Record<string, Tensor>>;
  readonly values: Json;
}

/** A source of initial states: gives the state that the next batch starts from, and sees the one in which the last one ended. */
export interface InitialStates {
  readonly name: string;
  readonly order: TokenOrder;
  /** All options with their values, as recorded with a run. */
  readonly settings: JsonRecord;
  /**
   * The state that a batch starts from; undefined stands for zeros. Its tensors belong to the source or to the
   * caller's scope, and live at least until the next `observe` of the same micro-batch.
   */
  next(request: StateRequest): Tree | undefined;
  /** Takes note of the state that the batch ended in. A source that holds on to it `keep`s it. */
  observe(finalState: Tree, request: StateRequest): void;
  /** The tensors stay the source's. */
  save(): SavedStates;
  /** Goes on where `save` was called. The tensors become the source's. Throws `E_FORMAT` when something is missing. */
  restore(saved: SavedStates): void;
  dispose(): void;
}

/** One line of the table of interventions. */
export interface Intervention<Options extends object> {
  /** One sentence for help texts. */
  readonly summary: string;
  readonly order: TokenOrder;
  readonly options: Settings<Options>;
  /** Throws `E_CONFIG` for an unknown option or a value out of range. */
  create(model: SequenceModel, options?: Partial<Options>): InitialStates;
}
