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
import { kernelsOf } from "../kernels";
import { apply, like, type Op } from "../op";
import { sameShape, showShape } from "../shape";
import type { Family, SavedFor } from "../signature";
import type { Tensor } from "../tensor";
import { zeros } from "./memory";
import { checkReal } from "./checks";

/** rstd is the r above, for the gradient. */
export const normKernels = {
  /** h = x + residual (h = x without one), y = h · r · weight. `sum` takes h; it is null exactly when residual is. */
  rmsNorm: {
    numbers: { rows: "size", width: "size", eps: "real" },
    reads: { x: "[rows,width]", residual: "[rows,width]?", weight: "[width]" },
    writes: { y: "[rows,width]", sum: "[rows,width]?" },
    saves: { rstd: "[rows]" },
  },
  /** x is h above. dsum (null: zero) is added to dx. dresidual, unless null, becomes a copy of dx. */
  rmsNormGradient: {
    numbers: { rows: "size", width: "size" },
    reads: { x: "[rows,width]", weight: "[width]", dy: "[rows,width]", dsum: "[rows,width]?" },
    saved: { rstd: "[rows]" },
    writes: { dx: "[rows,width]", dresidual: "[rows,width]?", dweight: "[width]" },
  },
  gatedRmsNorm: {
    numbers: { rows: "size", width: "size", groups: "size", eps: "real" },
    reads: { y: "[rows,width]", gate: "[rows,width]", weight: "[width]" },
    writes: { out: "[rows,width]" },
    saves: { rstd: "[rows,groups]" },
  },
  gatedRmsNormGradient: {
    numbers: { rows: "size", width: "size", groups: "size" },
    reads: { y: "[rows,width]", gate: "[rows,width]", weight: "[width]", dout: "[rows,width]" },
    saved: { rstd: "[rows,groups]" },
    writes: { dy: "[rows,width]", dgate: "[rows,width]", dweight: "[width]" },
  },
} as const satisfies Family;

const kernels = kernelsOf<typeof normKernels>;

export interface NormAttributes {
  readonly eps: number;
}

interface GatedAttributes extends NormAttributes {
  readonly groups: number;
}

type Rstd = SavedFor<typeof normKernels.rmsNormGradient>;

/** Splits a shape into rows and the last axis. */
export function rowsOf(x: Tensor): { rows: number; width: number } {
  const width = x.shape.at(-1)!;
  return { rows: width === 0 ? 0 : x.size / width, width };
}

export function checkNorm(op: string, name: string, x: Tensor, weight: Tensor, eps: number): void {
  const width = x.shape.at(-1);
  check(width !== undefined && sameShape(weight.shape, [width]), "E_SHAPE", () =>
    `${op}: weight ${showShape(weight.shape)} must have the size of the last axis of ${name} ${showShape(x.shape)}`);
  check(Number.isFinite(eps) && eps >= 0, "E_ARGUMENT", () => `${op}: eps is ${eps}; it must be a number of at least 0`);
}

export const rmsNormOp: Op<{ x: Tensor; weight: Tensor }, { y: Tensor }, NormAttributes, Rstd> = {
  name: "rmsNorm",
  outputs({ x, weight }, { eps }) {
    checkReal("rmsNorm", { x, weight });
    checkNorm("rmsNorm", "x", x, weight, eps);
    return { y: { shape: x.shape, dtype: x.dtype } };
  },
  forward: ({ x, weight }, { y }, { eps }, { recording }) =>
    kernels(x).rmsNorm({ x, residual: null, weight, y, sum: null, eps, recording, ...rowsOf(x) }),
  gradient({ inputs: { x, weight }, saved }, { y: dy }) {
    const [dx, dweight] = [like(x), like(weight)];
    kernels(x).rmsNormGradient({ x, weight, dy, dsum: null, saved, dx, dresidual: null, dweight, ...rowsOf(x) });
    return { x: dx, weight: dweight };
  },
};

/**
 * RMS norm over the last axis (Zhang & Sennrich 2019), x / √(mean(x²) + eps) · weight: x [..., D], weight [D] -> [..., D]. `eps`
 * 1e-5 unless given.
 */
export function rmsNorm(x: Tensor, weight: Tensor, options: { eps?: number } = {}): Tensor {
  return apply(rmsNormOp, { x, weight }, { eps: options.eps ?? 1e-5 }).y;
}

export const addRmsNormOp: Op<{ x: Tensor; residual: Tensor; weight: Tensor }, { normed: Tensor; residual: Tensor },
  NormAttributes, Rstd> = {
  name: "addRmsNorm",
  outputs({ x, residual, weight }, { eps }) {
    checkReal("addRmsNorm", { x, residual, weight });
    check(sameShape(x.shape, residual.shape), "E_SHAPE", () =>
      `addRmsNorm: residual ${showShape(residual.shape)} must have the shape of x ${showShape(x.shape)}`);
    checkNorm("addRmsNorm", "x", x, weight, eps);
    const { shape, dtype } = x;
    return { normed: { shape, dtype }, residual: { shape, dtype } };
  },
  forward: ({ x, residual, weight }, { normed, residual: sum }, { eps }, { recording }) =>
    kernels(x).rmsNorm({ x, residual, weight, y: normed, sum, eps, recording, ...rowsOf(x) }),
  gradient({ inputs: { x, weight }, outputs: { residual: sum }, saved, wanted }, { normed, residual: dsum }) {
    const dy = normed ?? zeros(x.device, x.shape, x.dtype);
    const [dx, dweight, dresidual] = [like(x), like(weight), wanted.residual ? like(x) : null];
    kernels(x).rmsNormGradient({ x: sum, weight, dy, dsum, saved, dx, dresidual, dweight, ...rowsOf(x) });
    if (!normed) dy.dispose();
    return { x: dx, residual: dresidual, weight: dweight };
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
  return apply(addRmsNormOp, { x, residual, weight }, { eps: options.eps ?? 1e-5 });
}

export const gatedRmsNormOp: Op<{ y: Tensor; gate: Tensor; weight: Tensor }, { out: Tensor }, GatedAttributes, Rstd> = {
  name: "gatedRmsNorm",
  outputs({ y, gate, weight }, { eps, groups }) {
    checkReal("gatedRmsNorm", { y, gate, weight });
    check(sameShape(y.shape, gate.shape), "E_SHAPE", () =>
      `gatedRmsNorm: gate ${showShape(gate.shape)} must have the shape of y ${showShape(y.shape)}`);
    checkNorm("gatedRmsNorm", "y", y, weight, eps);
    check(Number.isInteger(groups) && groups >= 1 && y.shape.at(-1)! % groups === 0, "E_ARGUMENT", () =>
      `gatedRmsNorm: groups is ${groups}; it must be a whole number that divides the last axis of y ${showShape(y.shape)}`);
    return { out: { shape: y.shape, dtype: y.dtype } };
  },
  forward: ({ y, gate, weight }, { out }, { eps, groups }, { recording }) =>
    kernels(y).gatedRmsNorm({ y, gate, weight, out, groups, eps, recording, ...rowsOf(y) }),
  gradient({ inputs: { y, gate, weight }, saved, attributes: { groups } }, { out: dout }) {
    const [dy, dgate, dweight] = [like(y), like(gate), like(weight)];
    kernels(y).gatedRmsNormGradient({ y, gate, weight, dout, saved, dy, dgate, dweight, groups, ...rowsOf(y) });
    return { y: dy, gate: dgate, weight: dweight };
  },
};

/**
 * Gated RMS norm, RMSNorm(y · silu(gate)) · weight (Dao & Gu 2024, section 7.1): y, gate [..., D], weight [D] -> [..., D]. Each of
 * `groups` (1 unless given) blocks of D/groups neighbours is normed on its own. `eps` 1e-5 unless given.
 */
export function gatedRmsNorm(y: Tensor, gate: Tensor, weight: Tensor, options: { eps?: number; groups?: number } = {}): Tensor {
  return apply(gatedRmsNormOp, { y, gate, weight }, { eps: options.eps ?? 1e-5, groups: options.groups ?? 1 }).out;
}
