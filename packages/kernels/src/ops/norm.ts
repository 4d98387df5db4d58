/**
 * Root mean square norms over the last axis (Zhang & Sennrich 2019), plain, fused with a residual sum, and
 * gated as in Mamba-2 (Dao & Gu 2024, section 7.1: norm after the gate).
 *
 *   r = (mean(x²) + eps)^-½,   y = x · r · w
 *
 * Gradient: with x̂ = x·r and g = dy·w,   dx = r · (g - x̂ · mean(g · x̂)),   dw = Σ_rows dy · x̂.
 */
import { check } from "../errors";
import { apply, type Op } from "../op";
import { sameShape, showShape } from "../shape";
import { Tensor } from "../tensor";

export interface NormKernels {
  /** x, y [rows, width]; weight [width]; rstd [rows] (the r above), for the gradient. */
  rmsNorm(args: { x: Tensor; weight: Tensor; y: Tensor; rstd: Tensor; rows: number; width: number; eps: number }): void;
  rmsNormGradient(args: {
    x: Tensor; weight: Tensor; rstd: Tensor; dy: Tensor; dx: Tensor; dweight: Tensor; rows: number; width: number;
  }): void;
}

interface RmsNormAttributes {
  readonly eps: number;
}

const rmsNormOp: Op<RmsNormAttributes> = {
  name: "rmsNorm",
  outputs([x, weight]) {
    const width = x!.shape.at(-1);
    check(width !== undefined && sameShape(weight!.shape, [width]), "E_SHAPE", () =>
      `rmsNorm: weight ${showShape(weight!.shape)} must have the size of the last axis of x ${showShape(x!.shape)}`);
    return [{ shape: x!.shape, dtype: x!.dtype }];
  },
  forward([x, weight], [y], { eps }, { saved }) {
    const { rows, width } = rowsOf(x!);
    const rstd = Tensor.empty(x!.device, [rows], x!.dtype);
    saved.push(rstd);
    x!.device.kernels.rmsNorm({ x: x!, weight: weight!, y: y!, rstd, rows, width, eps });
  },
  gradient({ inputs: [x, weight], saved: [rstd] }, [dy]) {
    const dx = Tensor.empty(x!.device, x!.shape, x!.dtype);
    const dweight = Tensor.empty(x!.device, weight!.shape, weight!.dtype);
    x!.device.kernels.rmsNormGradient({ x: x!, weight: weight!, rstd: rstd!, dy: dy!, dx, dweight, ...rowsOf(x!) });
    return [dx, dweight];
  },
};

/** Splits a shape into rows and the last axis. */
function rowsOf(x: Tensor): { rows: number; width: number } {
  const width = x.shape.at(-1)!;
  return { rows: width === 0 ? 0 : x.size / width, width };
}

/** RMSNorm over the last axis: x [..., D], weight [D] -> [..., D]. `eps` 1e-5 unless given. */
export function rmsNorm(x: Tensor, weight: Tensor, options: { eps?: number } = {}): Tensor {
  return apply(rmsNormOp, [x, weight], { eps: options.eps ?? 1e-5 })[0]!;
}
