/**
 * Layer norm over the last axis (Ba, Kiros & Hinton 2016, equations 3 and 4).
 *
 *   m = mean(x),   r = (mean((x - m)²) + eps)^-½,   x̂ = (x - m) · r,   y = x̂ · w + b
 *
 * Gradient: with g = dy·w,   dx = r · (g - mean(g) - x̂ · mean(g · x̂)),   dw = Σ_rows dy · x̂,   db = Σ_rows dy.
 */
import { check } from "../errors";
import { applyList, type ListOp } from "../opList";
import { sameShape, showShape } from "../shape";
import { Tensor } from "../tensor";
import { checkReal } from "./checks";
import { like } from "../op";
import { checkNorm, type NormAttributes, rowsOf } from "./norm";

export interface LayerNormKernels {
  /** x, y [rows, width]; weight, bias [width] (null: no bias); mean, rstd [rows] are the m and r above, for the gradient. */
  layerNorm(args: {
    x: Tensor; weight: Tensor; bias: Tensor | null; y: Tensor; mean: Tensor; rstd: Tensor; rows: number; width: number; eps: number;
  }): void;
  /** dbias is null where there is no bias. */
  layerNormGradient(args: {
    x: Tensor; weight: Tensor; mean: Tensor; rstd: Tensor; dy: Tensor; dx: Tensor; dweight: Tensor; dbias: Tensor | null; rows: number; width: number;
  }): void;
}

const layerNormOp: ListOp<NormAttributes> = {
  name: "layerNorm",
  outputs([x, weight, bias], { eps }) {
    checkReal("layerNorm", { x: x!, weight: weight!, bias: bias! });
    checkNorm("layerNorm", "x", x!, weight!, eps);
    check(!bias || sameShape(bias.shape, weight!.shape), "E_SHAPE", () =>
      `layerNorm: bias ${showShape(bias!.shape)} must have the shape of weight ${showShape(weight!.shape)}`);
    return [{ shape: x!.shape, dtype: x!.dtype }];
  },
  forward([x, weight, bias], [y], { eps }, { saved }) {
    const { rows, width } = rowsOf(x!);
    const [mean, rstd] = [Tensor.empty(x!.device, [rows], x!.dtype), Tensor.empty(x!.device, [rows], x!.dtype)];
    saved.push(mean, rstd);
    x!.device.kernels.layerNorm({ x: x!, weight: weight!, bias: bias ?? null, y: y!, mean, rstd, rows, width, eps });
  },
  gradient({ inputs: [x, weight, bias], saved: [mean, rstd] }, [dy]) {
    const [dx, dweight, dbias] = [like(x!), like(weight!), bias ? like(bias) : null];
    x!.device.kernels.layerNormGradient({ x: x!, weight: weight!, mean: mean!, rstd: rstd!, dy: dy!, dx, dweight, dbias, ...rowsOf(x!) });
    return [dx, dweight, dbias];
  },
};

/**
 * (x - mean(x)) / √(variance(x) + eps) · weight + bias over the last axis (Ba, Kiros & Hinton 2016): x [..., D], weight and bias [D]
 * (`bias` null: none) -> [..., D], f32 or f64. `eps` 1e-5 unless given. Throws `E_SHAPE`, `E_DTYPE` and `E_ARGUMENT`.
 */
export function layerNorm(x: Tensor, weight: Tensor, bias: Tensor | null = null, options: { eps?: number } = {}): Tensor {
  return applyList(layerNormOp, [x, weight, bias], { eps: options.eps ?? 1e-5 })[0]!;
}
