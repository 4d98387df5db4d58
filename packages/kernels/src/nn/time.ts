/** Small parts of mixers that look back a few steps, with what they have to remember: the short convolution, and the token shift. */
import { causalConv } from "../ops/conv";
import { concat, reshape, slice } from "../ops/view";
import type { Tensor } from "../tensor";
import { zeros } from "../ops/memory";
import type { StatePart } from "./block";
import type { Init } from "./init";
import { type Names, parameter, type ParameterSpec, under } from "./parameters";

/** What {@link shortConvolution} is made of. */
export interface ShortConvolutionOptions {
  readonly channels: number;
  /** Width of the kernel: the current input and those before it. */
  readonly kernel: number;
  readonly init: Init;
  /** How the bias begins; null for none. */
  readonly bias: Init | null;
}

/** A short convolution's parameters, the part of the state that it needs, and its pass. */
export interface ShortConvolution {
  readonly parameters: { readonly weight: ParameterSpec; readonly bias: ParameterSpec | null };
  /** [K - 1, channels]: the last inputs, oldest first. */
  readonly state: StatePart;
  /**
   * x [B,T,channels] -> the convolved, followed by SiLU where asked, in parts of `split` channels; and the state behind it.
   */
  forward(
    p: { readonly weight: Tensor; readonly bias: Tensor | null }, x: Tensor, state: Tensor | undefined,
    options?: { silu?: boolean; split?: readonly number[] },
  ): { outputs: readonly Tensor[]; state: Tensor };
}

/**
 * A causal depthwise convolution, `name.weight` [channels, 1, K] as PyTorch keeps it and `name.bias`. Weights decay, as in the published
 * training.
 */
export function shortConvolution(name: Names, { channels, kernel, init, bias }: ShortConvolutionOptions): ShortConvolution {
  return {
    parameters: under(name, {
      weight: parameter("weight", [channels, 1, kernel], { init, decay: true }),
      bias: bias && parameter("bias", [channels], { init: bias }),
    }),
    state: { shape: [kernel - 1, channels], kind: "window" },
    forward: (p, x, state, options) => causalConv(x, reshape(p.weight, [channels, kernel]), p.bias, state ?? null, options),
  };
}

/** The part of a state that {@link tokenShift} needs: the last input. */
export function shiftState(width: number): StatePart {
  return { shape: [1, width], kind: "window" };
}

/**
 * The inputs one step earlier: x [B,T,D] and the last input before it [B,1,D] (zeros at the start) -> x_{t-1} [B,T,D], and the last of x.
 */
export function tokenShift(x: Tensor, last: Tensor | undefined): { shifted: Tensor; state: Tensor } {
  const [batch, time, width] = x.shape as [number, number, number];
  const before = last ?? zeros(x.device, [batch, 1, width], x.dtype);
  if (time === 1) return { shifted: before, state: x };
  return { shifted: concat([before, slice(x, 1, 0, time - 1)], 1), state: slice(x, 1, time - 1, time) };
}
