/**
 * Cross-entropy fused with the output projection: the logits [rows, V] are never held whole. Kernels work through
 * tiles of rows; the forward keeps one number per row, the logsumexp, and the gradient recomputes the logits.
 *
 *   z_v = h · w_v,   s = ln Σ_v exp(z_v),   loss = s - z_t
 *
 * Gradient: with g the gradient of the loss,   dz_v = g · (exp(z_v - s) - [v = t]),
 *   dh = Σ_v dz_v w_v,   dw_v = Σ_rows dz_v h.
 * Rows whose target is negative are left out: their loss and their part of every gradient are 0.
 */
import { check } from "../errors";
import { kernelsOf } from "../kernels";
import { apply, like, type Op } from "../op";
import { sameShape, showShape } from "../shape";
import type { Family, SavedFor } from "../signature";
import type { Tensor } from "../tensor";
import { checkHalf } from "./checks";
import { linear } from "./matmul";

const sizes = { rows: "size", width: "size", vocabulary: "size" } as const;

export const crossEntropyKernels = {
  /** Targets are clamped to vocabulary - 1; logsumexp is 0 where the target is negative. */
  crossEntropy: {
    numbers: sizes,
    reads: { hidden: "[rows,width]", weight: "weight[vocabulary,width]", targets: "i32[rows]" },
    writes: { losses: "[rows]" },
    saves: { logsumexp: "[rows]" },
  },
  /** dhidden and dweight null where not wanted. */
  crossEntropyGradient: {
    numbers: sizes,
    reads: { hidden: "[rows,width]", weight: "[vocabulary,width]", targets: "i32[rows]", dlosses: "[rows]" },
    saved: { logsumexp: "[rows]" },
    writes: { dhidden: "[rows,width]?", dweight: "[vocabulary,width]?" },
  },
} as const satisfies Family;

const kernels = kernelsOf<typeof crossEntropyKernels>;

export const crossEntropyOp: Op<{ hidden: Tensor; weight: Tensor; targets: Tensor }, { losses: Tensor }, undefined,
  SavedFor<typeof crossEntropyKernels.crossEntropyGradient>> = {
  name: "crossEntropy",
  halves: ["weight"],
  outputs({ hidden: h, weight: w, targets: t }) {
    check(w.shape.length === 2 && w.shape[0]! >= 1 && h.shape.length >= 1 && h.shape.at(-1) === w.shape[1], "E_SHAPE", () =>
      `crossEntropy: weight ${showShape(w.shape)} must be [V, D] with V >= 1 and D the last axis of hidden ${showShape(h.shape)}`);
    check(sameShape(t.shape, h.shape.slice(0, -1)), "E_SHAPE", () =>
      `crossEntropy: targets ${showShape(t.shape)} must have the shape of hidden ${showShape(h.shape)} without its last axis`);
    checkHalf("crossEntropy", w, { hidden: h });
    check(t.dtype === "i32" && h.dtype !== "i32" && (w.dtype === "f16" || h.dtype === w.dtype), "E_DTYPE", () =>
      `crossEntropy: targets must be i32, and hidden and weight both f32 or both f64, not ${t.dtype}, ${h.dtype} and ${w.dtype}`);
    return { losses: { shape: t.shape, dtype: h.dtype } };
  },
  forward: ({ hidden, weight, targets }, { losses }, _, { recording }) =>
    kernels(hidden).crossEntropy({ hidden, weight, targets, losses, recording, ...sizesOf(weight, targets) }),
  gradient({ inputs: { hidden, weight, targets }, saved, wanted }, { losses: dlosses }) {
    const [dhidden, dweight] = [wanted.hidden ? like(hidden) : null, wanted.weight ? like(weight) : null];
    kernels(hidden).crossEntropyGradient({ hidden, weight, targets, dlosses, saved, dhidden, dweight, ...sizesOf(weight, targets) });
    return { hidden: dhidden, weight: dweight };
  },
};

function sizesOf(weight: Tensor, targets: Tensor): { rows: number; vocabulary: number; width: number } {
  return { rows: targets.size, vocabulary: weight.shape[0]!, width: weight.shape[1]! };
}

/**
 * Negative log-likelihood -ln softmax(hidden · weightᵀ)[target] of each target, in nats:
 * hidden [..., D], weight [V, D], targets i32 [...] -> [...].
 * The weight may be f16. A negative target is ignored: its loss is 0. Targets beyond V - 1 count as V - 1 (check tokens when they are
 * uploaded).
 */
export function crossEntropy(hidden: Tensor, weight: Tensor, targets: Tensor): Tensor {
  return apply(crossEntropyOp, { hidden, weight, targets }, undefined).losses;
}

/** The whole logits, for generation: hidden [..., D], weight [V, D] -> [..., V]. */
export function logits(hidden: Tensor, weight: Tensor): Tensor {
  return linear(hidden, weight);
}
