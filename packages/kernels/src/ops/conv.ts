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
import { apply, type Op, type OpInput } from "../op";
import { sameShape, type Shape, showShape } from "../shape";
import { Tensor } from "../tensor";

interface ConvSizes {
  readonly batch: number;
  readonly steps: number;
  readonly channels: number;
  readonly width: number;
}

interface ConvArguments extends ConvSizes {
  /** [B,T,C] */
  readonly x: Tensor;
  /** [C,K] */
  readonly weight: Tensor;
  /** [C] */
  readonly bias: Tensor | null;
  /** [B,K-1,C]; null is zero. */
  readonly state: Tensor | null;
  readonly silu: boolean;
}

export interface ConvKernels {
  /** outputs: [B,T,C_i] each, C_i adding up to C; final [B,K-1,C]. */
  causalConv(args: ConvArguments & { outputs: readonly Tensor[]; final: Tensor }): void;
  /** douts (as outputs) and dfinal null for zero; dbias and dstate null when the input is. */
  causalConvGradient(args: ConvArguments & {
    split: readonly number[]; douts: readonly (Tensor | null)[]; dfinal: Tensor | null;
    dx: Tensor; dweight: Tensor; dbias: Tensor | null; dstate: Tensor | null;
  }): void;
}

interface ConvAttributes {
  readonly silu: boolean;
  readonly split: readonly number[];
}

function sizesOf(x: Tensor, weight: Tensor): ConvSizes {
  const [batch, steps, channels] = x.shape as [number, number, number];
  return { batch, steps, channels, width: weight.shape[1]! };
}

const inRange = (width: number) => width >= 2 && width <= 256;

const convOp: Op<ConvAttributes> = {
  name: "causalConv",
  outputs([x, weight, bias, state], { split }) {
    check(x!.shape.length === 3 && x!.shape[1]! >= 1, "E_SHAPE", () =>
      `causalConv: x ${showShape(x!.shape)} must be [B,T,C] with at least one step`);
    const [batch, steps, channels] = x!.shape as [number, number, number];
    check(weight!.shape.length === 2 && weight!.shape[0] === channels && inRange(weight!.shape[1]!), "E_SHAPE", () =>
      `causalConv: weight ${showShape(weight!.shape)} must be [C,K] with K from 2 to 256 and C = ${channels}, as in x ${showShape(x!.shape)}`);
    const stateShape = [batch, weight!.shape[1]! - 1, channels];
    const expect = (name: string, t: OpInput | undefined, shape: Shape) => {
      check(!t || sameShape(t.shape, shape), "E_SHAPE", () =>
        `causalConv: ${name} ${showShape(t!.shape)} must be ${showShape(shape)} for x ${showShape(x!.shape)}`);
      check(!t || (t.dtype === x!.dtype && t.dtype !== "i32"), "E_DTYPE", () =>
        `causalConv: ${name} is ${t!.dtype}; all inputs must share one float type (x is ${x!.dtype})`);
    };
    expect("weight", weight, weight!.shape);
    expect("bias", bias, [channels]);
    expect("state", state, stateShape);
    check(split.every((n) => Number.isSafeInteger(n) && n >= 1) && split.reduce((sum, n) => sum + n, 0) === channels, "E_ARGUMENT", () =>
      `causalConv: split ${showShape(split)} must be whole numbers of at least 1 that add up to ${channels} channels`);
    const { dtype } = x!;
    return [...split.map((n) => ({ shape: [batch, steps, n], dtype })), { shape: stateShape, dtype }];
  },
  forward([x, weight, bias, state], results, { silu }) {
    x!.device.kernels.causalConv({
      x: x!, weight: weight!, bias: bias!, state: state!, silu, ...sizesOf(x!, weight!),
      outputs: results.slice(0, -1), final: results.at(-1)!,
    });
  },
  gradient({ inputs, attributes, wanted }, gradients) {
    const [x, weight, bias, state] = inputs;
    const like = (t: OpInput | undefined) => (t ? Tensor.empty(t.device, t.shape, t.dtype) : null);
    const [dx, dweight, dbias, dstate] = inputs.map(like);
    x!.device.kernels.causalConvGradient({
      x: x!, weight: weight!, bias: bias!, state: state!, ...attributes, ...sizesOf(x!, weight!),
      douts: gradients.slice(0, -1), dfinal: gradients.at(-1)!,
      dx: dx!, dweight: dweight!, dbias: dbias!, dstate: dstate!,
    });
    return [dx, dweight, dbias, dstate].map((gradient, i) => {
      if (wanted[i]) return gradient!;
      gradient?.dispose();
      return null;
    });
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
): { outputs: Tensor[]; state: Tensor } {
  const split = options.split ?? [x.shape.at(-1) ?? 0];
  const results = apply(convOp, [x, weight, bias, state], { silu: options.silu ?? false, split });
  return { outputs: results.slice(0, -1), state: results.at(-1)! };
}
