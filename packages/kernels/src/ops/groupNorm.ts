/**
 * Group norm over the last axis (Wu & He 2018, equation 7, with one position to a group): each of G blocks of D/G neighbours is centred and
 * scaled on its own, then weight and bias of all D apply. In RWKV it stands behind the heads. Made of layer norms of short rows.
 */
import { check } from "../errors";
import { checkTensors } from "../op";
import { sameShape, showShape } from "../shape";
import type { Tensor } from "../tensor";
import { add, mul } from "./elementwise";
import { layerNorm } from "./layerNorm";
import { full } from "./memory";
import { reshape } from "./view";

/**
 * Group norm, (x - mean) / √(variance + eps) · weight + bias, with mean and variance of each of `groups` blocks of neighbours:
 * x [..., D], weight and bias [D] (`bias` null: none) -> [..., D]. `eps` 1e-5 unless given. Differentiable.
 * Throws `E_SHAPE`, `E_DTYPE`, `E_ARGUMENT` (groups, eps).
 */
export function groupNorm(x: Tensor, groups: number, weight: Tensor, bias: Tensor | null = null, options: { eps?: number } = {}): Tensor {
  checkTensors("groupNorm", { x, weight, bias }, ["bias"]);
  const width = x.shape.at(-1) ?? 0;
  check(Number.isInteger(groups) && groups >= 1 && width % groups === 0, "E_ARGUMENT", () =>
    `groupNorm: groups is ${groups}; it must be a whole number that divides the last axis of x ${showShape(x.shape)}`);
  for (const [name, t] of [["weight", weight], ["bias", bias]] as const) {
    check(!t || sameShape(t.shape, [width]), "E_SHAPE", () => `groupNorm: ${name} ${showShape(t!.shape)} must have the size of the last `
      + `axis of x ${showShape(x.shape)}`);
  }
  const size = width / groups;
  const blocks = reshape(x, [...x.shape.slice(0, -1), groups, size]);
  const normed = mul(reshape(layerNorm(blocks, full(x.device, [size], 1, x.dtype), null, options), x.shape), weight);
  return bias ? add(normed, bias) : normed;
}
