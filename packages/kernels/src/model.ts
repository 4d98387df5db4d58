/**
 * The contract between models, trainers and evaluations. A model is a description plus pure functions; its
 * parameters and states are trees of tensors. A recurrent state and a chunk memory are both just states:
 * whoever trains or measures does not know which model it has.
 */
import type { Device } from "./device";
import type { DType } from "./dtype";
import type { Key } from "./random";
import type { Tensor } from "./tensor";
import type { Tree } from "./tree";

/** What one leaf of a state means, so that interventions and measures can treat it rightly. */
export interface StateLeaf {
  /** Path in the state's tree, e.g. `layers.0.ssm`. The leading axis of every leaf is the batch. */
  readonly path: string;
  /** `recurrent`: a sum over the past. `window`: a copy of the last few inputs (a convolution's state). */
  readonly kind: "recurrent" | "window";
  readonly layer: number;
  /** Axis that counts heads (at least 1); absent when the leaf has none. */
  readonly headAxis?: number;
}

/** What a forward pass gives. */
export interface ForwardResult<State> {
  /** Last hidden states, after the final norm: [B, T, D]. */
  readonly hidden: Tensor;
  readonly state: State;
}

/** Parameters by the names of the published checkpoint, e.g. `backbone.layers.0.mixer.D`. */
export type Parameters = { readonly [name: string]: Tensor };

/** A model over token sequences: pure functions over trees of tensors, with a state that comes in and goes out. */
export interface SequenceModel<State extends Tree = Tree> {
  /** Family, e.g. `mamba2`. */
  readonly family: string;
  /** As in the published `config.json`. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Number of tokens that exist. The embedding and output matrices may have more rows, as padding. */
  readonly vocabulary: number;
  readonly stateLeaves: readonly StateLeaf[];
  /** Shape of every parameter, in the order of the published file. */
  parameterShapes(): Readonly<Record<string, readonly number[]>>;
  /** Whether weight decay applies to a parameter (not to norms, biases, A_log, D, dt_bias). */
  decays(name: string): boolean;
  /** Fresh parameters. The same key gives the same numbers on every device. */
  init(key: Key, device: Device, dtype?: DType): Parameters;
  /** The zero state. */
  initialState(batch: number, device: Device, dtype?: DType): State;
  /** tokens [B, T] i32, T >= 1. Without a state it starts from zeros. full == chunked == step by step. */
  forward(parameters: Parameters, tokens: Tensor, state?: State): ForwardResult<State>;
  /** The output matrix [V, D]: logits = hidden · headᵀ. For the fused cross-entropy. */
  head(parameters: Parameters): Tensor;
}
