/**
 * Root mean square norms over the last axis (Zhang & Sennrich 2019), plain, fused with a residual sum, and
 * gated as in Mamba-2 (Dao & Gu 2024, section 7.1: norm after the gate).
 *
 *   r = (mean(x²) + eps)^-½,   y = x · r · w
 *
 * Gradient: with x̂ = x·r and g = dy·w,   dx = r · (g - x̂ · mean(g · x̂)),   dw = Σ_rows dy · x̂.
 *
 * addRmsNorm: h = x + residual goes out beside its norm. Both inputs get the same gradient, dh from the line above
 * plus what arrives for h itself.
 *
 * gatedRmsNorm: u = y · silu(z), and each group of D/groups neighbours of u is normed on its own:
 *   out = u · r · w
 * Gradient: du as dx above with u for x;  dy = du · silu(z);  dz = du · y · s(1 + z(1 - s)) with s = sigmoid(z).
 */
import { check } from "../errors";
import { apply, type Op } from "../op";
import { sameShape, showShape } from "../shape";
import { Tensor, zeros } from "../tensor";
import { checkReal } from "./checks";

export interface NormKernels {
  /**
   * h = x + residual (h = x without one), y = h · r · weight. x, residual, h, y [rows, width]; weight [width];
   * rstd [rows] is the r above, for the gradient. `sum` takes h; it is null exactly when residual is.
   */
  rmsNorm(args: {
    x: Tensor; residual: Tensor | null; weight: Tensor; y: Tensor; sum: Tensor | null; rstd: Tensor;
    rows: number; width: number; eps: number;
  }): void;
  /** x is h above. dsum (null: zero) is added to dx. dresidual, unless null, becomes a copy of dx. */
  rmsNormGradient(args: {
    x: Tensor; weight: Tensor; rstd: Tensor; dy: Tensor; dsum: Tensor | null;
    dx: Tensor; dresidual: Tensor | null; dweight: Tensor; rows: number; width: number;
  }): void;
  /** y, gate, out [rows, width]; weight [width]; rstd [rows, groups]. */
  gatedRmsNorm(args: {
    y: Tensor; gate: Tensor; weight: Tensor; out: Tensor; rstd: Tensor;
    rows: number; width: number; groups: number; eps: number;
  }): void;
  gatedRmsNormGradient(args: {
    y: Tensor; gate: Tensor; weight: Tensor; rstd: Tensor; dout: Tensor; dy: Tensor; dgate: Tensor; dweight: Tensor;
    rows: number; width: number; groups: number;
  }): void;
}

export interface NormAttributes {
  readonly eps: number;
}

interface GatedAttributes extends NormAttributes {
  readonly groups: number;
}

/** Splits a shape into rows and the last axis. */
export function rowsOf(x: Tensor): { rows: number; width: number } {
  const width = x.shape.at(-1)!;
  return { rows: width === 0 ? 0 : x.size / width, width };
}

export function like(t: Tensor): Tensor {
  return Tensor.empty(t.device, t.shape, t.dtype);
}

export function checkNorm(op: string, name: string, x: Tensor, weight: Tensor, eps: number): void {
  const width = x.shape.at(-1);
  check(width !== undefined && sameShape(weight.shape, [width]), "E_SHAPE", () =>
    `${op}: weight ${showShape(weight.shape)} must have the size of the last axis of ${name} ${showShape(x.shape)}`);
  check(Number.isFinite(eps) && eps >= 0, "E_ARGUMENT", () => `${op}: eps is ${eps}; it must be a number of at least 0`);
}

const rmsNormOp: Op<NormAttributes> = {
  name: "rmsNorm",
  outputs([x, weight], { eps }) {
    checkReal("rmsNorm", { x: x!, weight: weight! });
    checkNorm("rmsNorm", "x", x!, weight!, eps);
    return [{ shape: x!.shape, dtype: x!.dtype }];
  },
  forward([x, weight], [y], { eps }, { saved }) {
    const { rows, width } = rowsOf(x!);
    const rstd = Tensor.empty(x!.device, [rows], x!.dtype);
    saved.push(rstd);
    x!.device.kernels.rmsNorm({ x: x!, residual: null, weight: weight!, y: y!, sum: null, rstd, rows, width, eps });
  },
  gradient({ inputs: [x, weight], saved: [rstd] }, [dy]) {
    const [dx, dweight] = [like(x!), like(weight!)];
    x!.device.kernels.rmsNormGradient({
      x: x!, weight: weight!, rstd: rstd!, dy: dy!, dsum: null, dx, dresidual: null, dweight, ...rowsOf(x!),
    });
    return [dx, dweight];
  },
};

/** x / √(mean(x²) + eps) · weight over the last axis (Zhang & Sennrich 2019): x [..., D], weight [D] -> [..., D]. `eps` 1e-5 unless given. */
export function rmsNorm(x: Tensor, weight: Tensor, options: { eps?: number } = {}): Tensor {
  return apply(rmsNormOp, [x, weight], { eps: options.eps ?? 1e-5 })[0]!;
}

const addRmsNormOp: Op<NormAttributes> = {
  name: "addRmsNorm",
  outputs([x, residual, weight], { eps }) {
    checkReal("addRmsNorm", { x: x!, residual: residual!, weight: weight! });
    check(sameShape(x!.shape, residual!.shape), "E_SHAPE", () =>
      `addRmsNorm: residual ${showShape(residual!.shape)} must have the shape of x ${showShape(x!.shape)}`);
    checkNorm("addRmsNorm", "x", x!, weight!, eps);
    return [{ shape: x!.shape, dtype: x!.dtype }, { shape: x!.shape, dtype: x!.dtype }];
  },
  forward([x, residual, weight], [y, sum], { eps }, { saved }) {
    const { rows, width } = rowsOf(x!);
    const rstd = Tensor.empty(x!.device, [rows], x!.dtype);
    saved.push(rstd);
    x!.device.kernels.rmsNorm({ x: x!, residual: residual!, weight: weight!, y: y!, sum: sum!, rstd, rows, width, eps });
  },
  gradient({ inputs: [x, , weight], outputs: [, sum], saved: [rstd], wanted }, [dnormed, dsum]) {
    const dy = dnormed ?? zeros(x!.device, x!.shape, x!.dtype);
    const [dx, dweight] = [like(x!), like(weight!)];
    const dresidual = wanted[1] ? like(x!) : null;
    x!.device.kernels.rmsNormGradient({
      x: sum!, weight: weight!, rstd: rstd!, dy, dsum: dsum ?? null, dx, dresidual, dweight, ...rowsOf(x!),
    });
    if (!dnormed) dy.dispose();
    return [dx, dresidual, dweight];
  },
};

/**
 * Adds a residual stream and norms the sum in one pass: x, residual [..., D], weight [D] ->
 * normed = RMSNorm(x + residual) and residual = x + residual, both [..., D]. With `residual` null (the first
 * layer) the residual that comes out is x itself. `eps` 1e-5 unless given.
 */
export function addRmsNorm(
  x: Tensor, residual: Tensor | null, weight: Tensor, options: { eps?: number } = {},
): { normed: Tensor; residual: Tensor } {
  if (!residual) return { normed: rmsNorm(x, weight, options), residual: x };
  const [normed, sum] = apply(addRmsNormOp, [x, residual, weight], { eps: options.eps ?? 1e-5 });
  return { normed: normed!, residual: sum! };
}

const gatedRmsNormOp: Op<GatedAttributes> = {
  name: "gatedRmsNorm",
  outputs([y, gate, weight], { eps, groups }) {
    checkReal("gatedRmsNorm", { y: y!, gate: gate!, weight: weight! });
    check(sameShape(y!.shape, gate!.shape), "E_SHAPE", () =>
      `gatedRmsNorm: gate ${showShape(gate!.shape)} must have the shape of y ${showShape(y!.shape)}`);
    checkNorm("gatedRmsNorm", "y", y!, weight!, eps);
    check(Number.isInteger(groups) && groups >= 1 && y!.shape.at(-1)! % groups === 0, "E_ARGUMENT", () =>
      `gatedRmsNorm: groups is ${groups}; it must be a whole number that divides the last axis of y ${showShape(y!.shape)}`);
    return [{ shape: y!.shape, dtype: y!.dtype }];
  },
  forward([y, gate, weight], [out], { eps, groups }, { saved }) {
    const { rows, width } = rowsOf(y!);
    const rstd = Tensor.empty(y!.device, [rows, groups], y!.dtype);
    saved.push(rstd);
    y!.device.kernels.gatedRmsNorm({ y: y!, gate: gate!, weight: weight!, out: out!, rstd, rows, width, groups, eps });
  },
  gradient({ inputs: [y, gate, weight], saved: [rstd], attributes: { groups } }, [dout]) {
    const [dy, dgate, dweight] = [like(y!), like(gate!), like(weight!)];
    y!.device.kernels.gatedRmsNormGradient({
      y: y!, gate: gate!, weight: weight!, rstd: rstd!, dout: dout!, dy, dgate, dweight, groups, ...rowsOf(y!),
    });
    return [dy, dgate, dweight];
  },
};

/**
 * RMSNorm(y · silu(gate)) · weight (Dao & Gu 2024, section 7.1): y, gate [..., D], weight [D] -> [..., D]. Each of `groups` (1 unless given) blocks
 * of D/groups neighbours is normed on its own. `eps` 1e-5 unless given.
 */
export function gatedRmsNorm(y: Tensor, gate: Tensor, weight: Tensor, options: { eps?: number; groups?: number } = {}): Tensor {
  return apply(gatedRmsNormOp, [y, gate, weight], { eps: options.eps ?? 1e-5, groups: options.groups ?? 1 })[0]!;
}
