/** What RWKV-6 and RWKV-7 share: mixes of each token with the one before it, low-rank layers, the norm behind the heads. */
import { addScalar, causalConv, concat, groupNorm, matmul, neg, reshape, type Tensor } from "@lenggen/kernels";
import { type Bound, constantInit, layerNormBlock, parameter, type Specs, under } from "@lenggen/kernels/nn";
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

/**
 * u_t + share (u_{t-1} - u_t), by channel, which is a convolution over two steps: u [B,T,D], share [1,1,D], the last input before u [B,1,D]
 * (zeros at the start) -> [B·T,D], and the last of u.
 */
export function mix(u: Tensor, share: Tensor, last: Tensor | undefined): { mixed: Tensor; state: Tensor } {
  const before = reshape(share, [share.size, 1]);
  const { outputs: [mixed], state } = causalConv(u, concat([before, addScalar(neg(before), 1)], 1), null, last ?? null);
  return { mixed: rowsOf(mixed!), state };
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
