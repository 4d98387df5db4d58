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
import { applyList, type ListOp } from "../opList";
import { sameShape, showShape } from "../shape";
import { Tensor } from "../tensor";
import { checkHalf } from "./checks";
import { linear } from "./matmul";

interface CrossEntropySizes {
  readonly rows: number;
  readonly width: number;
  readonly vocabulary: number;
}

export interface CrossEntropyKernels {
  /**
   * hidden [rows, width]; weight [vocabulary, width]; targets i32 [rows], clamped to vocabulary - 1;
   * losses and logsumexp [rows] (logsumexp is 0 where the target is negative). The weight may be f16.
   */
  crossEntropy(
    args: CrossEntropySizes & { hidden: Tensor; weight: Tensor; targets: Tensor; losses: Tensor; logsumexp: Tensor },
  ): void;
  /** dlosses [rows]; dhidden and dweight as hidden and weight, null where not wanted. */
  crossEntropyGradient(
    args: CrossEntropySizes & {
      hidden: Tensor; weight: Tensor; targets: Tensor; logsumexp: Tensor; dlosses: Tensor;
      dhidden: Tensor | null; dweight: Tensor | null;
    },
  ): void;
}

const crossEntropyOp: ListOp<null> = {
  name: "crossEntropy",
  halves: [1],
  outputs([hidden, weight, targets]) {
    const [h, w, t] = [hidden!, weight!, targets!];
    check(w.shape.length === 2 && w.shape[0]! >= 1 && h.shape.length >= 1 && h.shape.at(-1) === w.shape[1], "E_SHAPE", () =>
      `crossEntropy: weight ${showShape(w.shape)} must be [V, D] with V >= 1 and D the last axis of hidden ${showShape(h.shape)}`);
    check(sameShape(t.shape, h.shape.slice(0, -1)), "E_SHAPE", () =>
      `crossEntropy: targets ${showShape(t.shape)} must have the shape of hidden ${showShape(h.shape)} without its last axis`);
    checkHalf("crossEntropy", w, { hidden: h });
    check(t.dtype === "i32" && h.dtype !== "i32" && (w.dtype === "f16" || h.dtype === w.dtype), "E_DTYPE", () =>
      `crossEntropy: targets must be i32, and hidden and weight both f32 or both f64, not ${t.dtype}, ${h.dtype} and ${w.dtype}`);
    return [{ shape: t.shape, dtype: h.dtype }];
  },
  forward([hidden, weight, targets], [losses], _, { saved }) {
    const logsumexp = Tensor.empty(hidden!.device, [targets!.size], hidden!.dtype);
    saved.push(logsumexp);
    hidden!.device.kernels.crossEntropy({
      hidden: hidden!, weight: weight!, targets: targets!, losses: losses!, logsumexp, ...sizesOf(weight!, targets!),
    });
  },
  gradient({ inputs: [hidden, weight, targets], saved: [logsumexp], wanted }, [dlosses]) {
    const like = (t: Tensor) => Tensor.empty(t.device, t.shape, t.dtype);
    const dhidden = wanted[0] ? like(hidden!) : null;
    const dweight = wanted[1] ? like(weight!) : null;
    hidden!.device.kernels.crossEntropyGradient({
      hidden: hidden!, weight: weight!, targets: targets!, logsumexp: logsumexp!, dlosses: dlosses!, dhidden, dweight,
      ...sizesOf(weight!, targets!),
    });
    return [dhidden, dweight, null];
  },
};

function sizesOf(weight: Tensor, targets: Tensor): CrossEntropySizes {
  return { rows: targets.size, vocabulary: weight.shape[0]!, width: weight.shape[1]! };
}

/**
 * Negative log-likelihood -ln softmax(hidden · weightᵀ)[target] of each target, in nats:
 * hidden [..., D], weight [V, D], targets i32 [...] -> [...].
 * The weight may be f16. A negative target is ignored: its loss is 0. Targets beyond V - 1 count as V - 1 (check tokens when they are uploaded).
 */
export function crossEntropy(hidden: Tensor, weight: Tensor, targets: Tensor): Tensor {
  return applyList(crossEntropyOp, [hidden, weight, targets], null)[0]!;
}

/** The whole logits, for generation: hidden [..., D], weight [V, D] -> [..., V]. */
export function logits(hidden: Tensor, weight: Tensor): Tensor {
  return linear(hidden, weight);
}
