/** The convolution of ops/conv.ts as a sum over shifted inputs. */
import { convOp } from "../ops/conv";
import { add, mul, silu } from "../ops/elementwise";
import { concat, reshape, slice } from "../ops/view";
import type { Tensor } from "../tensor";
import { zeros } from "../ops/memory";
import { composed } from "./form";

export const convForms = [
  composed(convOp, ["causalConv", "causalConvGradient"], ({ x, weight, bias, state }, { silu: activated, split }) => {
    const [batch, time, channels] = x.shape as [number, number, number];
    const width = weight.shape[1]!;
    const u = concat([state ?? zeros(x.device, [batch, width - 1, channels], x.dtype), x], 1);
    let z: Tensor | null = bias;
    for (let j = 0; j < width; j++) {
      const term = mul(slice(u, 1, j, j + time), reshape(slice(weight, 1, j, j + 1), [channels]));
      z = z ? add(z, term) : term;
    }
    const y = activated ? silu(z!) : z!;
    let from = 0;
    const outputs = split.map((size) => slice(y, 2, from, (from += size)));
    return { outputs, state: slice(u, 1, time) };
  }),
];
