/**
 * The contract between models, trainers and evaluations. A model is a description plus pure functions; its
 * parameters and states are trees of tensors. A recurrent state and a chunk memory are both just states:
 * whoever trains or measures does not know which model it has.
 */
import type { Device } from "./device";
import type { DType } from "./dtype";
import { check } from "./errors";
import type { Key } from "./random";
import { sizeOf } from "./shape";
import { withoutGradient } from "./tape";
import { keep, scope, type Tensor } from "./tensor";
import { leaves, type Tree } from "./tree";

/** What one leaf of a state means, so that interventions and measures can treat it rightly. */
export interface StateLeaf {
  /** Path in the state's tree, e.g. `layers.0.ssm`. The leading axis of every leaf is the batch. */
  readonly path: string;
  /**
   * `recurrent`: a sum over the past. `window`: a copy of the last few inputs (a convolution's state). `memory`: a record of the past that
   * grows with the stream; only the model knows how to change it. `angle`: a place on a circle, in radians, which has neither a mean nor a
   * deviation, and so gets no noise.
   */
  readonly kind: "recurrent" | "window" | "memory" | "angle";
  readonly layer: number;
  /** Axis that counts heads (at least 1); absent when the leaf has none. */
  readonly headAxis?: number;
  /** True for what is empty at first and filled as a stream is read: the keys and values of attention. Absent where the shape stays. */
  readonly grows?: true;
}

/** Options of a forward pass, beside its tokens. */
export interface ForwardOptions {
  /**
   * Where the running segment ends: offsets in 0 ... T, ascending, the same for all rows. A segment that ends at n holds the tokens before
   * offset n; the token at n opens the next one. A repeated offset makes an empty segment. Models without segments ignore them.
   */
  readonly ends?: readonly number[];
  /** Randomness of training, e.g. noise on what is retrieved; without one the pass is deterministic. Models without noise ignore it. */
  readonly key?: Key;
}

/** What a forward pass gives. */
export interface ForwardResult<State> {
  /** Last hidden states, after the final norm: [B, T, D]. */
  readonly hidden: Tensor;
  readonly state: State;
}

/** How a model reads what lies far back: see {@link SequenceModel.prefill}. */
export interface Prefill<State> {
  /**
   * How many tokens have to be read in full behind it, until hidden states are those of a stream that was read in full from its
   * beginning.
   */
  readonly recent: number;
  /**
   * Tokens [B,T] into the state: what later passes retrieve of them is there as ever, what only the next `recent` tokens would see of
   * them is not. Without gradients; the state is the caller's to dispose. Errors are those of `forward` and `advance`.
   */
  read(parameters: Parameters, tokens: Tensor, state?: State, options?: ForwardOptions): Promise<State>;
}

/** What saving and loading has to know of a model whose states differ in shape: see {@link SequenceModel.stateFiles}. */
export interface StateFiles<State> {
  /** The shape that each leaf must have, by path; `of` tells those in the file, [] for a leaf that is not there. */
  shapes(batch: number, of: (path: string) => readonly number[]): Readonly<Record<string, readonly number[]>>;
  /** The state without what no pass reads, such as spare room; it may share tensors. */
  trimmed?(state: State): State;
  /** Throws `E_FORMAT` when whole numbers of a loaded state are out of their range; `name`: of the file. */
  check?(state: State, name: string): Promise<void>;
}

/** Parameters by the names of the published checkpoint, e.g. `backbone.layers.0.mixer.D`. */
export type Parameters = { readonly [name: string]: Tensor };

/** How the files of a checkpoint differ from a model's `config` and from the names of its parameters. */
export interface CheckpointForm {
  /** The text of `config.json`. */
  readonly config: string;
  /** What the file of weights holds: by each name there, the parameter. One of two names (a tied output matrix) is stored twice. */
  readonly written: Readonly<Record<string, string>>;
  /** Names that other files may have for a parameter. */
  readonly read: Readonly<Record<string, string>>;
  /** Tensors of the file that hold parameters in another form, by their names there; beside those of `written`. */
  readonly rearranged?: Readonly<Record<string, Rearranged>>;
}

/** A tensor of a file that holds one parameter or several, in another shape or order than the model has them. */
export interface Rearranged {
  /** True for what files of older versions have, which is read and never written. */
  readonly older?: true;
  /** In the file. */
  readonly shape: readonly number[];
  /** The parameters in it. */
  readonly parameters: readonly string[];
  /** The file's tensor, of these. */
  join(parameters: readonly Tensor[]): Tensor;
  /** One of the parameters, by its place among them, of the file's tensor. */
  part(stored: Tensor, index: number): Tensor;
}

/** A model over token sequences: pure functions over trees of tensors, with a state that comes in and goes out. */
export interface SequenceModel<State extends Tree = Tree> {
  /** Family, e.g. `mamba2`. */
  readonly family: string;
  /** What makes the same model again. It is what `config.json` holds, unless {@link SequenceModel.checkpoint} says otherwise. */
  readonly config: Readonly<Record<string, unknown>>;
  /** What it is, in words: "RWKV-7 as its authors have it: 12 layers of width 768, 12 heads of 64". */
  readonly about?: string;
  /** Files of a form that other programs read; absent where they are `config` as JSON, and the parameters by their names. */
  readonly checkpoint?: CheckpointForm;
  /**
   * Number of tokens that exist: ids are below it, those that are read, predicted and written. The embedding may have more rows, as padding
   * or with a meaning of its own; they are parameters as all others, but `head` leaves them out.
   */
  readonly vocabulary: number;
  readonly stateLeaves: readonly StateLeaf[];
  /** Shape of every parameter, in the order of the published file. */
  parameterShapes(): Readonly<Record<string, readonly number[]>>;
  /** Whether weight decay applies to a parameter (not to norms, biases, A_log, D, dt_bias). */
  decays(name: string): boolean;
  /** Whether a parameter may be kept as f16, which only `linear`, `embedding` and `crossEntropy` read. Absent where all may. */
  halves?(name: string): boolean;
  /**
   * Parameters with a row for each token: the embedding, and the output matrix where it is one of its own. Optimisers that treat matrices
   * as maps between vectors (Muon) leave these to others, and refuse a model that does not name them.
   */
  readonly tokenTables?: readonly string[];
  /** Fresh parameters. The same key gives the same numbers on every device. */
  init(key: Key, device: Device, dtype?: DType): Parameters;
  /** The zero state. */
  initialState(batch: number, device: Device, dtype?: DType): State;
  /**
   * tokens [B, T] i32, T >= 1. Without a state it starts from zeros. full == chunked == step by step. The new state may share
   * tensors with the old one, which stays as it was: more than one continuation may start from it.
   */
  forward(parameters: Parameters, tokens: Tensor, state?: State, options?: ForwardOptions): ForwardResult<State>;
  /**
   * The same result, for models that wait for files or read numbers back on the way. Never recorded for gradients; the result is
   * the caller's to dispose. Call it by {@link advance}, which takes `forward` where there is none.
   */
  advance?(parameters: Parameters, tokens: Tensor, state?: State, options?: ForwardOptions): Promise<ForwardResult<State>>;
  /**
   * Models that know the far past by a memory alone can read a long prompt without what makes its hidden states, which nobody looks at.
   * Absent where each token changes all that follows.
   */
  readonly prefill?: Prefill<State>;
  /** How states look in files, for models whose states grow. Absent where they always have the shapes of `initialState`. */
  readonly stateFiles?: StateFiles<State>;
  /**
   * The output matrix [vocabulary, D]: logits = hidden · headᵀ, of the tokens that exist and no others (`firstRows` of a longer matrix).
   * For the fused cross-entropy. Call it in a {@link scope}: what it gives may be a parameter, or share memory with one.
   */
  head(parameters: Parameters): Tensor;
}

/** How many numbers a model's parameters are. */
export function parameterCount(model: Pick<SequenceModel, "parameterShapes">): number {
  return Object.values(model.parameterShapes()).reduce((sum, shape) => sum + sizeOf(shape), 0);
}

/** The device that a model's parameters are on. Throws `E_ARGUMENT` when there are none. */
export function deviceOf(parameters: Parameters): Device {
  const [first] = leaves(parameters);
  check(first, "E_ARGUMENT", () => "the parameters hold no tensor, so there is no device to run on");
  return first.tensor.device;
}

/**
 * One pass without gradients: the model's own `advance` where it has one, else `forward`. The result is the caller's. When the old state
 * is no longer needed, free it with `disposeExcept(old, next)`: the two may share tensors.
 */
export async function advance<State extends Tree>(
  model: SequenceModel<State>, parameters: Parameters, tokens: Tensor, state?: State, options?: ForwardOptions,
): Promise<ForwardResult<State>> {
  if (model.advance) return model.advance(parameters, tokens, state, options);
  return withoutGradient(() => keep(scope(() => model.forward(parameters, tokens, state, options))));
}
