/**
 * The gates of Mamba-2 (Dao & Gu 2024, section 7): step sizes and log decays from one projected number per head.
 *
 *   dt = clamp(softplus(raw + bias), minDt, maxDt)      a = -exp(aLog) dt
 *
 * Gradient: with g = ddt - exp(aLog) da, and σ the derivative of softplus,
 *   draw = g σ(raw + bias) where dt was not clamped, else 0;   dbias = Σ draw;   daLog = Σ da a.
 */
import { check } from "../errors";
import { kernelsOf } from "../kernels";
import { apply, like, type Op } from "../op";
import { sameShape, showShape } from "../shape";
import type { Family } from "../signature";
import type { Tensor } from "../tensor";
import { checkReal } from "./checks";

/** maxDt may be Infinity. */
const numbers = { rows: "size", heads: "size", minDt: "real", maxDt: "real" } as const;

const inputs = { raw: "[rows,heads]", bias: "[heads]", aLog: "[heads]" } as const;

export const gatesKernels = {
  ssmGates: { numbers, reads: inputs, writes: { dt: "[rows,heads]", a: "[rows,heads]" } },
  /** ddt and da null for zero. */
  ssmGatesGradient: {
    numbers,
    reads: { ...inputs, ddt: "[rows,heads]?", da: "[rows,heads]?" },
    writes: { draw: "[rows,heads]", dbias: "[heads]", daLog: "[heads]" },
  },
} as const satisfies Family;

const kernels = kernelsOf<typeof gatesKernels>;

interface GateAttributes {
  readonly minDt: number;
  readonly maxDt: number;
}

const rowsOf = (raw: Tensor) => {
  const heads = raw.shape.at(-1)!;
  return { rows: heads === 0 ? 0 : raw.size / heads, heads };
};

export const gatesOp: Op<{ raw: Tensor; bias: Tensor; aLog: Tensor }, { dt: Tensor; a: Tensor }, GateAttributes> = {
  name: "ssmGates",
  outputs({ raw, bias, aLog }, { minDt, maxDt }) {
    const heads = raw.shape.at(-1);
    for (const [name, t] of Object.entries({ bias, aLog })) {
      check(heads !== undefined && sameShape(t.shape, [heads]), "E_SHAPE", () =>
        `ssmGates: ${name} ${showShape(t.shape)} must have the size of the last axis of raw ${showShape(raw.shape)}`);
    }
    checkReal("ssmGates", { raw, bias, aLog });
    check(minDt >= 0 && minDt <= maxDt, "E_ARGUMENT", () =>
      `ssmGates: the limits [${minDt}, ${maxDt}] must satisfy 0 <= minDt <= maxDt`);
    const { shape, dtype } = raw;
    return { dt: { shape, dtype }, a: { shape, dtype } };
  },
  forward({ raw, bias, aLog }, { dt, a }, { minDt, maxDt }) {
    kernels(raw).ssmGates({ raw, bias, aLog, dt, a, minDt, maxDt, ...rowsOf(raw) });
  },
  gradient({ inputs: { raw, bias, aLog }, attributes: { minDt, maxDt } }, { dt: ddt, a: da }) {
    const [draw, dbias, daLog] = [like(raw), like(bias), like(aLog)];
    kernels(raw).ssmGatesGradient({ raw, bias, aLog, ddt, da, draw, dbias, daLog, minDt, maxDt, ...rowsOf(raw) });
    return { raw: draw, bias: dbias, aLog: daLog };
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
  return apply(gatesOp, { raw, bias, aLog }, limits);
}
