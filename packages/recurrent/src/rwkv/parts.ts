/** What RWKV-6 and RWKV-7 share: mixes of each token with the one before it, low-rank layers, the norm behind the heads. */
import { groupNorm, lerp, matmul, reshape, type Tensor } from "@lenggen/kernels";
import { type Bound, constantInit, type Init, layerNormBlock, parameter, type Specs, tokenShift, under } from "@lenggen/kernels/nn";
import { type Depth, headNormWeight } from "./init";

/** Epsilon of the layer norms. */
export const NORM_EPS = 1e-5;
/** Epsilon of the norm behind the heads, at any head size: that of the layer norms times 8², the "head size divisor". */
const HEAD_NORM_EPS = 64e-5;

/** The layer norm of a block, `ln1` and so on. */
export function layerNormOf(name: string, width: number) {
  return layerNormBlock(name, width, NORM_EPS);
}

/** The same numbers as [B·T,D]: one product takes them all. */
export function rowsOf(x: Tensor): Tensor {
  const width = x.shape.at(-1)!;
  return reshape(x, [x.size / width, width]);
}

/** The share of the token before in a mix with it, for each channel. */
export function share(name: string, width: number, init: Init) {
  return parameter(name, [1, 1, width], { init });
}

/** A parameter [1,1,D] as [D]. */
export function vectorOf(x: Tensor): Tensor {
  return reshape(x, [x.size]);
}

/** A block's input and what stood one step before it, in rows. */
export interface Shifted {
  /** u_t [B·T,D] */
  readonly now: Tensor;
  /** u_{t-1} [B·T,D] */
  readonly before: Tensor;
  /** The last input [B,1,D]. */
  readonly state: Tensor;
}

/** An input u [B,T,D], and the last one before it [B,1,D] (zeros at the start). */
export function shift(u: Tensor, last: Tensor | undefined): Shifted {
  const { shifted, state } = tokenShift(u, last);
  return { now: rowsOf(u), before: rowsOf(shifted), state };
}

/** u_t + share (u_{t-1} - u_t), by channel, for each of the shares [1,1,D] -> [B·T,D] each. */
export function mixes({ now, before }: Shifted, shares: readonly Tensor[], extra?: Tensor): readonly Tensor[] {
  return lerp(now, before, shares.map(vectorOf), extra);
}

/** x · down · up, with a function between the two: x [R,D], down [D,r], up [r,D'] -> [R,D']. */
export function lowRank(x: Tensor, down: Tensor, up: Tensor, between: (x: Tensor) => Tensor = (y) => y): Tensor {
  return matmul(between(matmul(x, down)), up);
}

/** A group norm of each head, `ln_x`. */
export function headNorm(width: number, heads: number, depth: Depth) {
  const parameters = under("ln_x", {
    weight: parameter("weight", [width], { init: constantInit(headNormWeight(depth)) }),
    bias: parameter("bias", [width], { init: constantInit(0) }),
  }) satisfies Specs;
  return {
    parameters,
    /** x [R,D] -> [R,D] */
    forward: ({ weight, bias }: Bound<typeof parameters>, x: Tensor) => groupNorm(x, heads, weight, bias, { eps: HEAD_NORM_EPS }),
  };
}
