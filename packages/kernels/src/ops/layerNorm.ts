/**
 * Layer norm over the last axis (Ba, Kiros & Hinton 2016, equations 3 and 4).
 *
 *   m = mean(x),   r = (mean((x - m)²) + eps)^-½,   x̂ = (x - m) · r,   y = x̂ · w + b
 *
 * Gradient: with g = dy·w,   dx = r · (g - mean(g) - x̂ · mean(g · x̂)),   dw = Σ_rows dy · x̂,   db = Σ_rows dy.
 */
import { check } from "../errors";
import { kernelsOf } from "../kernels";
import { apply, like, type Op } from "../op";
import { sameShape, showShape } from "../shape";
import type { Family, SavedFor } from "../signature";
import type { Tensor } from "../tensor";
import { checkReal } from "./checks";
import { checkNorm, type NormAttributes, rowsOf } from "./norm";

/** mean and rstd are the m and r above. */
export const layerNormKernels = {
  layerNorm: {
    numbers: { rows: "size", width: "size", eps: "real" },
    reads: { x: "[rows,width]", weight: "[width]", bias: "[width]?" },
    writes: { y: "[rows,width]" },
    saves: { mean: "[rows]", rstd: "[rows]" },
  },
  /** dbias is null where there is no bias. */
  layerNormGradient: {
    numbers: { rows: "size", width: "size" },
    reads: { x: "[rows,width]", weight: "[width]", dy: "[rows,width]" },
    saved: { mean: "[rows]", rstd: "[rows]" },
    writes: { dx: "[rows,width]", dweight: "[width]", dbias: "[width]?" },
  },
} as const satisfies Family;

const kernels = kernelsOf<typeof layerNormKernels>;

type LayerNormInputs = {
  readonly x: Tensor;
  readonly weight: Tensor;
  readonly bias: Tensor | null;
};

export const layerNormOp: Op<LayerNormInputs, { y: Tensor }, NormAttributes, SavedFor<typeof layerNormKernels.layerNormGradient>> = {
  name: "layerNorm",
  optional: ["bias"],
  outputs({ x, weight, bias }, { eps }) {
    checkReal("layerNorm", { x, weight, bias });
    checkNorm("layerNorm", "x", x, weight, eps);
    check(!bias || sameShape(bias.shape, weight.shape), "E_SHAPE", () =>
      `layerNorm: bias ${showShape(bias!.shape)} must have the shape of weight ${showShape(weight.shape)}`);
    return { y: { shape: x.shape, dtype: x.dtype } };
  },
  forward: ({ x, weight, bias }, { y }, { eps }, { recording }) =>
    kernels(x).layerNorm({ x, weight, bias, y, eps, recording, ...rowsOf(x) }),
  gradient({ inputs: { x, weight, bias }, saved }, { y: dy }) {
    const [dx, dweight, dbias] = [like(x), like(weight), like(bias)];
    kernels(x).layerNormGradient({ x, weight, dy, saved, dx, dweight, dbias, ...rowsOf(x) });
    return { x: dx, weight: dweight, bias: dbias };
  },
};

/**
 * Layer norm over the last axis (Ba, Kiros & Hinton 2016), (x - mean(x)) / √(variance(x) + eps) · weight + bias: x [..., D], weight and
 * bias [D] (`bias` null: none) -> [..., D], f32 or f64. `eps` 1e-5 unless given. Throws `E_SHAPE`, `E_DTYPE` and `E_ARGUMENT`.
 */
export function layerNorm(x: Tensor, weight: Tensor, bias: Tensor | null = null, options: { eps?: number } = {}): Tensor {
  return apply(layerNormOp, { x, weight, bias }, { eps: options.eps ?? 1e-5 }).y;
}
