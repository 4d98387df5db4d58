/**
 * SwiGLU (Shazeer 2020), the feed-forward part of most decoders:   out = W_out (silu(W_gate u) ∘ W_up u)
 *
 * Files hold W_gate and W_up as one matrix [2·intermediate, D], in either order, or as two.
 */
import { mul, silu } from "../ops/elementwise";
import { linear, linearSplit } from "../ops/matmul";
import type { Tensor } from "../tensor";
import type { Block, BlockResult } from "./block";
import type { Init } from "./init";
import { matrix, type Names, type ParameterSpec } from "./parameters";

/** Sizes of a feed-forward part, and how its matrices begin. */
export interface SwiGluOptions {
  readonly width: number;
  readonly intermediateSize: number;
  readonly init: { readonly in: Init; readonly out: Init };
}

/** What a block without a state gives. */
const stateless = (out: Tensor): BlockResult<{}> => ({ out, state: {} });

/** With gate and up in one matrix, the gate in its first rows unless `gateFirst` is false (as in mamba_ssm's GatedMLP). */
export function swiGlu(
  names: { in: Names; out: Names }, { width, intermediateSize, init }: SwiGluOptions, { gateFirst = true }: { gateFirst?: boolean } = {},
): Block<{ in: ParameterSpec; out: ParameterSpec }, {}> {
  return {
    parameters: {
      in: matrix(names.in, [2 * intermediateSize, width], init.in),
      out: matrix(names.out, [width, intermediateSize], init.out),
    },
    state: {},
    forward(p, u) {
      const halves = linearSplit(u, p.in, [intermediateSize, intermediateSize]) as [Tensor, Tensor];
      const [gate, up] = gateFirst ? halves : [halves[1], halves[0]];
      return stateless(linear(mul(silu(gate), up), p.out));
    },
  };
}

/** With gate and up as matrices of their own. */
export function swiGluOfThree(
  names: { gate: Names; up: Names; out: Names }, { width, intermediateSize, init }: SwiGluOptions,
): Block<{ gate: ParameterSpec; up: ParameterSpec; out: ParameterSpec }, {}> {
  return {
    parameters: {
      gate: matrix(names.gate, [intermediateSize, width], init.in),
      up: matrix(names.up, [intermediateSize, width], init.in),
      out: matrix(names.out, [width, intermediateSize], init.out),
    },
    state: {},
    forward: (p, u) => stateless(linear(mul(silu(linear(u, p.gate)), linear(u, p.up)), p.out)),
  };
}
