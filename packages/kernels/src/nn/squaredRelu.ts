import { relu, square } from "../ops/elementwise";
import { linear } from "../ops/matmul";
import type { Block } from "./block";
import { matrix, type Names, type ParameterSpec } from "./parameters";
import type { SwiGluOptions } from "./swiGlu";

/**
 * The feed-forward part of two matrices with squared ReLU between them (So et al. 2021, "Primer"), out = W_out relu(W_in u)²:
 * [B,T,width] to the same, differentiable. `names` are those of the two matrices in checkpoints.
 */
export function squaredRelu(
  names: { in: Names; out: Names }, { width, intermediateSize, init }: SwiGluOptions,
): Block<{ in: ParameterSpec; out: ParameterSpec }, {}> {
  return {
    parameters: {
      in: matrix(names.in, [intermediateSize, width], init.in),
      out: matrix(names.out, [width, intermediateSize], init.out),
    },
    state: {},
    forward: (p, u) => ({ out: linear(square(relu(linear(u, p.in))), p.out), state: {} }),
  };
}
