/**
 * What a layer is made of. A block is a function of its parameters, its input u [B,T,D] and a state, with both described as data: a mixer
 * along time (a scan, attention), or a feed-forward part, which mostly has no state. A norm stands before it:
 *
 *   h += block(norm(h))
 *
 * A residual stream travels in two parts, `branch + residual`, so that the sum and the norm that follows it are one kernel.
 */
import type { Device } from "../device";
import type { DType } from "../dtype";
import type { StateLeaf } from "../model";
import { add } from "../ops/elementwise";
import { layerNorm } from "../ops/layerNorm";
import { addRmsNorm } from "../ops/norm";
import type { Shape } from "../shape";
import type { Tensor } from "../tensor";
import { zeros } from "../ops/memory";
import { constantInit } from "./init";
import { type AnySpecs, type Bound, type Names, parameter, type ParameterSpec, type Specs, under } from "./parameters";

/** One tensor of a block's state, zero at the start of a stream. */
export interface StatePart {
  /** Without the batch, which is the first axis of every state; 0 for an axis that grows. */
  readonly shape: Shape;
  readonly kind: StateLeaf["kind"];
  /** Axis that counts heads, the batch counted too: at least 1. */
  readonly headAxis?: number;
}

/** The tensors of a block's state by name. */
export type StateParts = { readonly [name: string]: StatePart };

/** The state itself: a tensor [B, ...shape] for each part. */
export type StateOf<S> = { readonly [K in keyof S]: Tensor };

/** What a block gives. */
export interface BlockResult<S> {
  /** [B,T,D], to be added to the residual stream. */
  readonly out: Tensor;
  readonly state: StateOf<S>;
  /** What the blocks of later layers get beside the stream, in the place of what this one got. */
  readonly beside?: Tensor;
}

/** A part of a layer. Several may share one layer's state: each declares its own parts, and reads and gives those. */
export interface Block<P = AnySpecs, S extends StateParts = StateParts> {
  readonly parameters: P;
  readonly state: S;
  /**
   * u [B,T,D] is normed. Without a state it starts from zeros. Full == chunked == step by step, and state in and out are differentiable.
   * `beside`: what an earlier layer handed on (RWKV-7's values of its first layer).
   */
  forward(parameters: Bound<P>, u: Tensor, state?: StateOf<S>, beside?: Tensor): BlockResult<S>;
}

/** A block whose parameters' names have a prefix. */
export function prefixed<P extends Specs, S extends StateParts>(prefix: Names, block: Block<P, S>): Block<P, S> {
  return { ...block, parameters: under(prefix, block.parameters) };
}

/** The zero state of some parts. */
export function zeroState<S extends StateParts>(parts: S, batch: number, device: Device, dtype: DType): StateOf<S> {
  const entries = Object.entries(parts).map(([name, { shape }]) => [name, zeros(device, [batch, ...shape], dtype)]);
  return Object.fromEntries(entries) as StateOf<S>;
}

/** What the parts of one layer's state mean, for {@link SequenceModel.stateLeaves}; `path` of the layer's state in the model's. */
export function leavesOf(parts: StateParts, path: string, layer: number): StateLeaf[] {
  return Object.entries(parts).map(([name, { shape, kind, headAxis }]) => ({
    path: `${path}.${name}`, kind, layer, ...(headAxis !== undefined && { headAxis }), ...(shape.includes(0) && { grows: true as const }),
  }));
}

/** A residual stream whose last branch has not been added yet; both [B,T,D]. */
export interface Stream {
  readonly branch: Tensor;
  readonly residual: Tensor | null;
}

/** The stream with its last branch added. */
export function summed({ branch, residual }: Stream): Tensor {
  return residual === null ? branch : add(branch, residual);
}

/** A norm before a block: the normed sum of a stream, and the sum. */
export interface Norm<P = AnySpecs> {
  readonly parameters: P;
  forward(parameters: Bound<P>, stream: Stream): { normed: Tensor; residual: Tensor };
}

/** RMSNorm (Zhang & Sennrich 2019) with a weight, `name.weight`. */
export function rmsNormBlock(name: Names, width: number, eps: number): Norm<{ weight: ParameterSpec }> {
  return {
    parameters: under(name, { weight: parameter("weight", [width], { init: constantInit(1) }) }),
    forward: ({ weight }, { branch, residual }) => addRmsNorm(branch, residual, weight, { eps }),
  };
}

/** LayerNorm (Ba et al. 2016) with weight and bias, `name.weight` and `name.bias`. */
export function layerNormBlock(name: Names, width: number, eps: number): Norm<{ weight: ParameterSpec; bias: ParameterSpec }> {
  return {
    parameters: under(name, {
      weight: parameter("weight", [width], { init: constantInit(1) }),
      bias: parameter("bias", [width], { init: constantInit(0) }),
    }),
    forward: ({ weight, bias }, stream) => {
      const residual = summed(stream);
      return { normed: layerNorm(residual, weight, bias, { eps }), residual };
    },
  };
}
