/**
 * Softmax attention (Vaswani et al. 2017), causal or not, with shared keys (Ainslie et al. 2023, "GQA"), a sliding window
 * (Beltagy et al. 2020) and linear biases (Press et al. 2022, "ALiBi"). Queries stand at the end of the keys: query t is at key
 * position p = U - T + t. Per sequence and head h, with key head h' = floor(h · Hk / Hq):
 *
 *   s_tj = scale q_t · k_j - slope_h |p - j|      for the j that are seen, which are p - window < j <= p, or all
 *   P_tj = exp(s_tj - L_t),  L_t = log Σ_j exp(s_tj)         o_t = Σ_j P_tj v_j
 *
 * Gradient: only L is kept, and P computed again. With δ_t = Σ_j P_tj dP_tj = do_t · o_t,
 *
 *   dP_tj = do_t · v_j        dS = P ∘ (dP - δ)
 *   dq_t = scale Σ_j dS_tj k_j      dk_j = scale Σ_{h,t} dS_tj q_t      dv_j = Σ_{h,t} P_tj do_t
 *
 * where the sums over h go over the query heads that share a key head. Fast backends walk over tiles of keys with a running
 * maximum (Dao 2023, "FlashAttention-2"), and leave out tiles that no query sees.
 *
 * Glossary: T queries, U keys, Hq and Hk heads of queries and keys, D head size.
 */
import { check } from "../errors";
import { kernelsOf } from "../kernels";
import { apply, like, type Op } from "../op";
import { showShape } from "../shape";
import type { ArgumentsOf, Family, SavedFor } from "../signature";
import type { Tensor } from "../tensor";
import { checkMultiple, checkReal, checkScale, shapeCheck } from "./checks";

/** `keys` are at least as many as `time`; of them a query sees `window`, its own included: from 1 to all, and all when not causal. */
const numbers = {
  batch: "size", time: "size", keys: "size", heads: "size", keyHeads: "size", headSize: "size", causal: "flag", window: "size",
  scale: "real",
} as const;

/** `lengths` are to be clamped to 0 ... keys; then time = keys, keys from there on are not seen, and rows from there on are 0. */
const inputs = {
  q: "[batch,time,heads,headSize]", k: "[batch,keys,keyHeads,headSize]", v: "[batch,keys,keyHeads,headSize]", slopes: "[heads]?",
  lengths: "i32[batch]?",
} as const;

/** L, with anything in rows beyond the length. */
const lse = "[batch,time,heads]";

export const attentionKernels = {
  attention: {
    numbers,
    reads: inputs,
    writes: { out: "[batch,time,heads,headSize]" },
    saves: { lse },
  },
  attentionGradient: {
    numbers,
    reads: { ...inputs, out: "[batch,time,heads,headSize]", dout: "[batch,time,heads,headSize]" },
    saved: { lse },
    writes: { dq: "[batch,time,heads,headSize]", dk: "[batch,keys,keyHeads,headSize]", dv: "[batch,keys,keyHeads,headSize]" },
  },
} as const satisfies Family;

const kernels = kernelsOf<typeof attentionKernels>;

/** Sizes and settings of one attention. */
export type AttentionSizes = Pick<ArgumentsOf<typeof attentionKernels.attention>, keyof typeof numbers>;

/** Tensors that the two kernels begin with. */
export type AttentionInputs = Pick<ArgumentsOf<typeof attentionKernels.attention>, keyof typeof inputs>;

interface AttentionAttributes {
  readonly causal: boolean;
  readonly window: number | undefined;
  readonly scale: number | undefined;
}

function sizesOf({ q, k }: AttentionInputs, { causal, window, scale }: AttentionAttributes): AttentionSizes {
  const [batch, time, heads, headSize] = q.shape as [number, number, number, number];
  const [, keys, keyHeads] = k.shape as [number, number, number, number];
  return { batch, time, keys, heads, keyHeads, headSize, causal, window: Math.min(window ?? keys, keys),
    scale: scale ?? headSize ** -0.5 };
}

function checkAttention({ q, k, v, slopes, lengths }: AttentionInputs, { causal, window, scale }: AttentionAttributes): void {
  checkReal("attention", { q, k, v, slopes });
  check(q.shape.length === 4 && q.shape[1]! >= 1 && q.shape[2]! >= 1 && q.shape[3]! >= 1, "E_SHAPE", () =>
    `attention: q ${showShape(q.shape)} must be [B,T,Hq,D] with at least one step, head and number`);
  const [batch, time, heads, headSize] = q.shape as [number, number, number, number];
  check(k.shape.length === 4 && k.shape[0] === batch && k.shape[3] === headSize, "E_SHAPE", () =>
    `attention: k ${showShape(k.shape)} must be [B,U,Hk,D] with the B and D of q ${showShape(q.shape)}`);
  const [, keys, keyHeads] = k.shape as [number, number, number, number];
  check(keys >= time, "E_SHAPE",
    () => `attention: ${keys} keys (k ${showShape(k.shape)}) are fewer than the ${time} queries (q ${showShape(q.shape)})`);
  checkMultiple("attention", heads, "heads", keyHeads, "heads of keys", { q, k });
  const expect = shapeCheck("attention", { q, k });
  expect("v", v, k.shape);
  expect("slopes", slopes, [heads]);
  expect("lengths", lengths, [batch]);
  check(!lengths || lengths.dtype === "i32", "E_DTYPE", () => `attention: lengths are ${lengths!.dtype}; they must be i32`);
  check(time === keys || (causal && !lengths), "E_SHAPE", () =>
    `attention: ${lengths ? "with lengths" : "when not causal"} there must be as many keys as queries, not ${keys} and ${time}`);
  check(window === undefined || (Number.isSafeInteger(window) && window >= 1), "E_ARGUMENT", () =>
    `attention: window ${window} must be a whole number of at least 1`);
  check(window === undefined || causal, "E_ARGUMENT", () => "attention: a window needs causal attention; leave it out");
  if (scale !== undefined) checkScale("attention", scale);
}

const attentionOp: Op<AttentionInputs, { out: Tensor }, AttentionAttributes, SavedFor<typeof attentionKernels.attentionGradient>> = {
  name: "attention",
  optional: ["slopes", "lengths"],
  outputs(given, attributes) {
    checkAttention(given, attributes);
    const { shape, dtype } = given.q;
    return { out: { shape, dtype } };
  },
  forward: (given, { out }, attributes, { recording }) =>
    out.size === 0 ? {} : kernels(out).attention({ out, recording, ...given, ...sizesOf(given, attributes) }),
  gradient({ inputs: given, outputs: { out }, saved, attributes }, { out: dout }) {
    const [dq, dk, dv] = [like(given.q), like(given.k), like(given.v)];
    if (out.size > 0) kernels(out).attentionGradient({ out, dout, saved, dq, dk, dv, ...given, ...sizesOf(given, attributes) });
    return { q: dq, k: dk, v: dv };
  },
};

/**
 * Softmax attention: q [B,T,Hq,D], k and v [B,U,Hk,D] with U >= T and Hq a multiple of Hk -> [B,T,Hq,D]. Queries stand at the end
 * of the keys. `slopes` [Hq] are ALiBi's (not differentiated); `lengths` i32 [B] (then T = U) say how many steps of each
 * sequence count: keys beyond are not seen, and rows beyond are exactly 0, as are their gradients.
 * `causal` (true unless given): a query sees its own position and the `window` - 1 before it, or all before it; otherwise all of
 * the T = U keys, and there is no window. `scale` is 1/√D unless given.
 * Throws `E_SHAPE`, `E_DTYPE`, `E_ARGUMENT` (window, scale).
 */
export function attention(
  inputs: { q: Tensor; k: Tensor; v: Tensor; slopes?: Tensor | null; lengths?: Tensor | null },
  options: { causal?: boolean; window?: number; scale?: number } = {},
): Tensor {
  const { q, k, v, slopes, lengths } = inputs;
  const { causal = true, window, scale } = options;
  return apply(attentionOp, { q, k, v, slopes: slopes ?? null, lengths: lengths ?? null }, { causal, window, scale }).out;
}

/** ALiBi's slopes for so many heads (Press et al. 2022, section 3): 2^(-8 (i + 1) / heads). */
export function alibiSlopes(heads: number): number[] {
  check(Number.isSafeInteger(heads) && heads >= 1, "E_ARGUMENT", () => `alibiSlopes: ${heads} must be a whole number of heads, at least 1`);
  return Array.from({ length: heads }, (_, i) => 2 ** ((-8 * (i + 1)) / heads));
}

/**
 * Floating-point operations (a multiply-add is two) of the matrix products, counting only pairs of a query and a key that it
 * sees: 4 D a pair and head forward, 10 D for the gradient, which computes the scores again.
 */
export function attentionOperations(
  sizes: { batch: number; time: number; keys?: number; heads: number; headSize: number; causal?: boolean; window?: number },
): { forward: number; gradient: number } {
  const { batch, time, keys = time, heads, headSize, causal = true, window = keys } = sizes;
  // Positions below window - 1 see all before them, one key more each; the others see `window`.
  const short = Math.max(0, Math.min(time, window - 1 - (keys - time)));
  const first = keys - time + 1;
  const pairs = causal ? short * first + (short * (short - 1)) / 2 + (time - short) * Math.min(window, keys) : time * keys;
  const products = batch * heads * headSize * pairs;
  return { forward: 4 * products, gradient: 10 * products };
}
