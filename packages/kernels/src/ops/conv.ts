/**
 * Causal depthwise convolution over time, with a state that comes in and goes out: the short convolution in front
 * of the scans of Mamba-1, Mamba-2 and GLA. With u the state followed by x (K - 1 + T rows),
 *
 *   z_t = bias + Σ_j weight[:, j] u_{t+j}      y_t = z_t, or z_t · sigmoid(z_t)
 *
 * and the new state is the last K - 1 rows of u: inputs before the convolution, oldest first. weight[:, K-1] meets the newest.
 *
 * Gradient: with dz_t = dy_t (times the derivative of SiLU at z_t, which is computed again rather than kept),
 *   du_i = Σ_j weight[:, j] dz_{i-j} + (dstate where u_i went into the new state)
 *   dweight[:, j] = Σ_{b,t} dz_t u_{t+j}       dbias = Σ_{b,t} dz_t.
 */
import { check } from "../errors";
import { kernelsOf } from "../kernels";
import { apply, like, type Op } from "../op";
import { showShape } from "../shape";
import type { Family } from "../signature";
import type { Tensor } from "../tensor";
import { checkReal, shapeCheck } from "./checks";

/** `split`: the sizes of the blocks of channels, which add up to `channels`. */
const numbers = { batch: "size", time: "size", channels: "size", width: "size", silu: "flag", split: "sizes" } as const;

/** A `state` that is null is zero. */
const inputs = { x: "[batch,time,channels]", weight: "[channels,width]", bias: "[channels]?",
  state: "[batch,width-1,channels]?" } as const;

export const convKernels = {
  causalConv: {
    numbers,
    reads: inputs,
    writes: { final: "[batch,width-1,channels]", outputs: "[batch,time,split]..." },
  },
  /** douts and dfinal null for zero; dbias and dstate null when the input is. */
  causalConvGradient: {
    numbers,
    reads: { ...inputs, dfinal: "[batch,width-1,channels]?", douts: "[batch,time,split]...?" },
    writes: { dx: "[batch,time,channels]", dweight: "[channels,width]", dbias: "[channels]?", dstate: "[batch,width-1,channels]?" },
  },
} as const satisfies Family;

const kernels = kernelsOf<typeof convKernels>;

interface ConvAttributes {
  readonly silu: boolean;
  readonly split: readonly number[];
}

function sizesOf(x: Tensor, weight: Tensor): { batch: number; time: number; channels: number; width: number } {
  const [batch, time, channels] = x.shape as [number, number, number];
  return { batch, time, channels, width: weight.shape[1]! };
}

const inRange = (width: number) => width >= 2 && width <= 256;

type ConvInputs = {
  readonly x: Tensor;
  readonly weight: Tensor;
  readonly bias: Tensor | null;
  readonly state: Tensor | null;
};

export const convOp: Op<ConvInputs, { outputs: readonly Tensor[]; state: Tensor }, ConvAttributes> = {
  name: "causalConv",
  optional: ["bias", "state"],
  outputs(given, { split }) {
    const { x, weight, bias, state } = given;
    check(x.shape.length === 3 && x.shape[1]! >= 1, "E_SHAPE", () =>
      `causalConv: x ${showShape(x.shape)} must be [B,T,C] with at least one step`);
    const [batch, time, channels] = x.shape as [number, number, number];
    check(weight.shape.length === 2 && weight.shape[0] === channels && inRange(weight.shape[1]!), "E_SHAPE", () =>
      `causalConv: weight ${showShape(weight.shape)} must be [C,K] with K from 2 to 256 and C = ${channels}, `
        + `as in x ${showShape(x.shape)}`);
    const stateShape = [batch, weight.shape[1]! - 1, channels];
    const expect = shapeCheck("causalConv", { x, weight });
    expect("bias", bias, [channels]);
    expect("state", state, stateShape);
    checkReal("causalConv", given);
    check(split.every((n) => Number.isSafeInteger(n) && n >= 1) && split.reduce((sum, n) => sum + n, 0) === channels, "E_ARGUMENT", () =>
      `causalConv: split ${showShape(split)} must be whole numbers of at least 1 that add up to ${channels} channels`);
    const { dtype } = x;
    return { outputs: split.map((n) => ({ shape: [batch, time, n], dtype })), state: { shape: stateShape, dtype } };
  },
  forward(given, { outputs, state: final }, attributes) {
    kernels(given.x).causalConv({ outputs, final, ...given, ...attributes, ...sizesOf(given.x, given.weight) });
  },
  gradient({ inputs: given, attributes }, { outputs: douts, state: dfinal }) {
    const { x, weight, bias, state } = given;
    const gradients = { x: like(x), weight: like(weight), bias: like(bias), state: like(state) };
    kernels(x).causalConvGradient({
      douts, dfinal, dx: gradients.x, dweight: gradients.weight, dbias: gradients.bias, dstate: gradients.state,
      ...given, ...attributes, ...sizesOf(x, weight),
    });
    return gradients;
  },
};

/**
 * Causal depthwise convolution: x [B,T,C], weight [C,K], bias [C] or null, state [B,K-1,C] (the inputs before x,
 * oldest first) or null for zeros -> outputs, one contiguous [B,T,split_i] per block of channels, and the state
 * for the next call. `silu` applies SiLU to the outputs; `split` is [C] unless given. Any T >= 1, also below K - 1.
 * Throws `E_SHAPE`, `E_DTYPE`, `E_ARGUMENT` (split).
 */
export function causalConv(
  x: Tensor,
  weight: Tensor,
  bias: Tensor | null,
  state: Tensor | null,
  options: { silu?: boolean; split?: readonly number[] } = {},
): { outputs: readonly Tensor[]; state: Tensor } {
  const split = options.split ?? [x.shape.at(-1) ?? 0];
  return apply(convOp, { x, weight, bias, state }, { silu: options.silu ?? false, split });
}
