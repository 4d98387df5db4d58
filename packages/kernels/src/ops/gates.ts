/**
 * The gates of Mamba-2 (Dao & Gu 2024, section 7): step sizes and log decays from one projected number per head.
 *
 *   dt = clamp(softplus(raw + bias), minDt, maxDt)      a = -exp(aLog) dt
 *
 * Gradient: with g = ddt - exp(aLog) da, and σ the derivative of softplus,
 *   draw = g σ(raw + bias) where dt was not clamped, else 0;   dbias = Σ draw;   daLog = Σ da a.
 */
import { check } from "../errors";
import { applyList, type ListOp } from "../opList";
import { sameShape, showShape } from "../shape";
import { Tensor } from "../tensor";

export interface GateKernels {
  /** raw, dt, a [rows, heads]; bias, aLog [heads]. maxDt may be Infinity. */
  ssmGates(args: {
    raw: Tensor; bias: Tensor; aLog: Tensor; dt: Tensor; a: Tensor; rows: number; heads: number; minDt: number; maxDt: number;
  }): void;
  /** ddt and da null for zero. */
  ssmGatesGradient(args: {
    raw: Tensor; bias: Tensor; aLog: Tensor; ddt: Tensor | null; da: Tensor | null;
    draw: Tensor; dbias: Tensor; daLog: Tensor; rows: number; heads: number; minDt: number; maxDt: number;
  }): void;
}

interface GateAttributes {
  readonly minDt: number;
  readonly maxDt: number;
}

const rowsOf = (raw: Tensor) => {
  const heads = raw.shape.at(-1)!;
  return { rows: heads === 0 ? 0 : raw.size / heads, heads };
};

const gatesOp: ListOp<GateAttributes> = {
  name: "ssmGates",
  outputs([raw, bias, aLog], { minDt, maxDt }) {
    const heads = raw!.shape.at(-1);
    for (const [name, t] of [["bias", bias!], ["aLog", aLog!]] as const) {
      check(heads !== undefined && sameShape(t.shape, [heads]), "E_SHAPE", () =>
        `ssmGates: ${name} ${showShape(t.shape)} must have the size of the last axis of raw ${showShape(raw!.shape)}`);
      check(t.dtype === raw!.dtype && t.dtype !== "i32", "E_DTYPE", () =>
        `ssmGates: ${name} is ${t.dtype}; all inputs must share one float type (raw is ${raw!.dtype})`);
    }
    check(minDt >= 0 && minDt <= maxDt, "E_ARGUMENT", () =>
      `ssmGates: the limits [${minDt}, ${maxDt}] must satisfy 0 <= minDt <= maxDt`);
    return [{ shape: raw!.shape, dtype: raw!.dtype }, { shape: raw!.shape, dtype: raw!.dtype }];
  },
  forward([raw, bias, aLog], [dt, a], limits) {
    raw!.device.kernels.ssmGates({ raw: raw!, bias: bias!, aLog: aLog!, dt: dt!, a: a!, ...rowsOf(raw!), ...limits });
  },
  gradient({ inputs: [raw, bias, aLog], attributes, wanted }, [ddt, da]) {
    const [draw, dbias, daLog] = [raw!, bias!, aLog!].map((t) => Tensor.empty(t.device, t.shape, t.dtype));
    raw!.device.kernels.ssmGatesGradient({
      raw: raw!, bias: bias!, aLog: aLog!, ddt: ddt!, da: da!, draw: draw!, dbias: dbias!, daLog: daLog!,
      ...rowsOf(raw!), ...attributes,
    });
    return [draw!, dbias!, daLog!].map((gradient, i) => {
      if (wanted[i]) return gradient;
      gradient.dispose();
      return null;
    });
  },
};

/**
 * Step sizes dt = clamp(softplus(raw + bias)) and log decays a = -exp(aLog) dt (Dao & Gu 2024, section 7):
 * raw [..., H], bias and aLog [H] -> dt and a, both [..., H]. The limits on dt are
 * 0 and infinity unless given. Throws `E_SHAPE`, `E_DTYPE`, `E_ARGUMENT`.
 */
export function ssmGates(
  raw: Tensor,
  bias: Tensor,
  aLog: Tensor,
  options: { minDt?: number; maxDt?: number } = {},
): { dt: Tensor; a: Tensor } {
  const limits = { minDt: options.minDt ?? 0, maxDt: options.maxDt ?? Infinity };
  const [dt, a] = applyList(gatesOp, [raw, bias, aLog], limits);
  return { dt: dt!, a: a! };
}
