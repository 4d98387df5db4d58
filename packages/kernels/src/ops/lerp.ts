/**
 * Mixes of two tensors, several at once: what RWKV makes of each token and the one before it (Peng et al. 2024, "Eagle and Finch",
 * section 4, "lerp" and, with shares that follow from the tokens, "ddlerp"):
 *
 *   y_j = a + (b - a) s_j      s_j = share_j, by channel; or share_j + extra_j, by channel and row
 *
 * Gradient: with g_j = dy_j,   da = Σ_j g_j (1 - s_j),   db = Σ_j g_j s_j,   dextra_j = g_j (b - a),   dshare_j = Σ_rows dextra_j.
 */
import { check } from "../errors";
import { kernelsOf } from "../kernels";
import { apply, like, type Op } from "../op";
import { sameShape, showShape } from "../shape";
import type { Family } from "../signature";
import type { Tensor } from "../tensor";
import { checkReal } from "./checks";

const numbers = { rows: "size", width: "size", count: "size" } as const;

const inputs = { a: "[rows,width]", b: "[rows,width]", shares: "[width]...", extra: "[count,rows,width]?" } as const;

export const lerpKernels = {
  lerp: { numbers, reads: inputs, writes: { outputs: "[rows,width]..." } },
  /** douts null for zero; dextra null when extra is. */
  lerpGradient: {
    numbers,
    reads: { ...inputs, douts: "[rows,width]...?" },
    writes: { da: "[rows,width]", db: "[rows,width]", dshares: "[width]...", dextra: "[count,rows,width]?" },
  },
} as const satisfies Family;

const kernels = kernelsOf<typeof lerpKernels>;

type LerpInputs = { readonly a: Tensor; readonly b: Tensor; readonly shares: readonly Tensor[]; readonly extra: Tensor | null };

function sizesOf({ a, shares }: LerpInputs): { rows: number; width: number; count: number } {
  const width = a.shape.at(-1)!;
  return { rows: width === 0 ? 0 : a.size / width, width, count: shares.length };
}

export const lerpOp: Op<LerpInputs, { outputs: readonly Tensor[] }> = {
  name: "lerp",
  optional: ["extra"],
  outputs({ a, b, shares, extra }) {
    checkReal("lerp", { a, b, extra });
    check(a.shape.length >= 1 && sameShape(a.shape, b.shape), "E_SHAPE", () =>
      `lerp: b ${showShape(b.shape)} must have the shape of a ${showShape(a.shape)}, with at least one axis`);
    check(shares.length >= 1, "E_ARGUMENT", () => "lerp: needs at least one share");
    shares.forEach((share, i) => {
      checkReal("lerp", { a, [`shares.${i}`]: share });
      check(sameShape(share.shape, a.shape.slice(-1)), "E_SHAPE", () =>
        `lerp: shares.${i} ${showShape(share.shape)} must have the size of the last axis of a ${showShape(a.shape)}`);
    });
    check(!extra || sameShape(extra.shape, [shares.length, ...a.shape]), "E_SHAPE", () =>
      `lerp: extra ${showShape(extra!.shape)} must be ${showShape([shares.length, ...a.shape])}: one for each share, like a`);
    return { outputs: shares.map(() => ({ shape: a.shape, dtype: a.dtype })) };
  },
  forward(given, { outputs }) {
    kernels(given.a).lerp({ outputs, ...given, ...sizesOf(given) });
  },
  gradient({ inputs: given }, { outputs: douts }) {
    const { a, b, shares, extra } = given;
    const [da, db, dextra, dshares] = [like(a), like(b), like(extra), shares.map((share) => like(share))];
    kernels(a).lerpGradient({ douts, da, db, dshares, dextra, ...given, ...sizesOf(given) });
    return { a: da, b: db, shares: dshares, extra: dextra };
  },
};

/**
 * Linear interpolations a + (b - a) · share, one for each of `shares`: a and b [..., D], each share [D], or, with `extra` [J, ..., D], the
 * share plus its own of the J -> J tensors [..., D]. All inputs are differentiable. Throws `E_SHAPE`, `E_DTYPE`, and `E_ARGUMENT` without
 * a share.
 */
export function lerp(a: Tensor, b: Tensor, shares: readonly Tensor[], extra: Tensor | null = null): readonly Tensor[] {
  return apply(lerpOp, { a, b, shares, extra }, undefined).outputs;
}
