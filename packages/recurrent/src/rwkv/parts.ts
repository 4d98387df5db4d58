/** What RWKV-6 and RWKV-7 share: mixes of each token with the one before it, low-rank layers, the norm behind the heads. */
import { groupNorm, lerp, matmul, reshape, type Tensor } from "@lenggen/kernels";
import { type Bound, constantInit, type Init, type Names, parameter, type Specs, tokenShift, under } from "@lenggen/kernels/nn";
import { type Depth, headNormWeight } from "./init";

/** The same numbers as [B·T,D]: one product takes them all. */
export function rowsOf(x: Tensor): Tensor {
  const width = x.shape.at(-1)!;
  return reshape(x, [x.size / width, width]);
}

/** The share of the token before in a mix with it, for each channel. */
export function share(names: Names, width: number, init: Init) {
  return parameter(names, [1, 1, width], { init });
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
export function headNorm({ width, heads, headNormEps }: { width: number; heads: number; headNormEps: number }, depth: Depth) {
  const parameters = under({ own: "ln_x", fla: "g_norm" }, {
    weight: parameter("weight", [width], { init: constantInit(headNormWeight(depth)) }),
    bias: parameter("bias", [width], { init: constantInit(0) }),
  }) satisfies Specs;
  return {
    parameters,
    /** x [R,D] -> [R,D] */
    forward: ({ weight, bias }: Bound<typeof parameters>, x: Tensor) => groupNorm(x, heads, weight, bias, { eps: headNormEps }),
  };
}
