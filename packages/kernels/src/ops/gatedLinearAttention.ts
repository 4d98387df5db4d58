/**
 * Linear attention with a decay for each channel of the key: GLA (Yang et al. 2024, "Gated Linear Attention Transformers with
 * Hardware-Efficient Training", sections 3 and 4) and, with a bonus, RWKV-6 (Peng et al. 2024, "Eagle and Finch", section 4), with a
 * state that comes in and goes out. Per sequence and head:
 *
 *   S_t = diag(exp a_t) S_{t-1} + k_t v_tᵀ                                [K,V]
 *   y_t = scale · S_tᵀ q_t                             without a bonus    [V]
 *   y_t = scale · (S_{t-1} + diag(bonus) k_t v_tᵀ)ᵀ q_t   with one: the state is read before it takes the step in
 *
 * Gradient: let G_t [K,V] be the derivative of the loss by S_t, walking from the last step (G from the final state's gradient) to the
 * first, and w_t = v_t · dy_t:
 *
 *   G_t = diag(exp a_{t+1}) G_{t+1} + scale q_t dy_tᵀ                     with a bonus scale q_{t+1} dy_{t+1}ᵀ
 *   dq_t = scale S_t dy_t                                                 scale (S_{t-1} dy_t + w_t bonus∘k_t)
 *   dk_t = G_t v_t                                                        ... + scale w_t bonus∘q_t
 *   dv_t = G_tᵀ k_t                                                       ... + scale (q_t · bonus∘k_t) dy_t
 *   dbonus = Σ scale w_t q_t∘k_t
 *   da_t = exp(a_t)∘rowsum(G_t∘S_{t-1})
 *   dS_0 = diag(exp a_1) G_1                                              ... + scale q_1 dy_1ᵀ
 *
 * Implementations often take da from q∘dq - k∘dk, summed from the last step backwards: a difference of numbers that do not decay. Where
 * a channel forgets fast nothing of its da is left, and a state that comes in or goes out needs terms of its own. Here da is made of
 * sums alone, of products that hold each decay that lies between them (native/cpu/gatedLinearAttentionGradient.cpp).
 *
 * Fast backends work on chunks of steps. A decay a channel can't be taken out of the product q_t · k_u as that of a head can (ops/ssd.ts);
 * so a chunk is cut once more, into sub-chunks: between two of them the decay is split at the border of the later one, which makes a
 * matrix product of decayed q and decayed k, whose exponents are never above 0; inside of one, steps are taken one by one (Yang et
 * al., section 4.3, "secondary-level chunking", where the inside is computed from exponents).
 *
 * Glossary: T steps, H heads, K key size, V value size; a is the log decay.
 */
import { check } from "../errors";
import { kernelsOf } from "../kernels";
import { apply, like, type Op } from "../op";
import { showShape } from "../shape";
import type { Family, SavedFor } from "../signature";
import type { Tensor } from "../tensor";
import { checkChunk, checkReal, checkScale, shapeCheck } from "./checks";
import { clear, zeroGradients } from "./emptyState";
import { zeros } from "./memory";

/** `chunk` is the number of steps that a backend may treat as one block. */
const sizes = { batch: "size", time: "size", heads: "size", keySize: "size", valueSize: "size", chunk: "size", scale: "real" } as const;

/** `a` is at most 0; a `state` that is null is zero. */
const inputs = {
  q: "[batch,time,heads,keySize]", k: "[batch,time,heads,keySize]", v: "[batch,time,heads,valueSize]",
  a: "[batch,time,heads,keySize]", bonus: "[heads,keySize]?", state: "[batch,heads,keySize,valueSize]?",
} as const;

/** One state per chunk, in whatever order the backend likes. */
const starts = "[batch,heads,time/chunk,keySize,valueSize]";

export const gatedLinearAttentionKernels = {
  gatedLinearAttention: {
    numbers: sizes,
    reads: inputs,
    writes: { y: "[batch,time,heads,valueSize]", final: "[batch,heads,keySize,valueSize]" },
    saves: { starts },
  },
  /** Gradients of the inputs; dfinal null for zero; dbonus and dstate null when the input is or nobody wants them. */
  gatedLinearAttentionGradient: {
    numbers: sizes,
    reads: { ...inputs, dy: "[batch,time,heads,valueSize]", dfinal: "[batch,heads,keySize,valueSize]?" },
    saved: { starts },
    writes: {
      dq: "[batch,time,heads,keySize]", dk: "[batch,time,heads,keySize]", dv: "[batch,time,heads,valueSize]",
      da: "[batch,time,heads,keySize]", dbonus: "[heads,keySize]?", dstate: "[batch,heads,keySize,valueSize]?",
    },
  },
} as const satisfies Family;

const kernels = kernelsOf<typeof gatedLinearAttentionKernels>;

/** Sizes and numbers of one call. */
export type GatedLinearAttentionSizes = { readonly [N in keyof typeof sizes]: number };

type Inputs = {
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
  readonly a: Tensor;
  readonly bonus: Tensor | null;
  readonly state: Tensor | null;
};

interface Attributes {
  readonly chunk: number;
  readonly scale: number;
}

/** Steps per chunk unless given: products with a state of any size are then long enough, and what is quadratic in it small. */
const DEFAULT_CHUNK = 64;

function sizesOf({ q, v }: { readonly q: Tensor; readonly v: Tensor }, { chunk, scale }: Attributes): GatedLinearAttentionSizes {
  const [batch, time, heads, keySize] = q.shape as [number, number, number, number];
  return { batch, time, heads, keySize, valueSize: v.shape[3]!, chunk: Math.min(chunk, Math.max(1, time)), scale };
}

function checkInputs(given: Inputs, { chunk, scale }: Attributes): void {
  const { q, k, v, a, bonus, state } = given;
  const what = "gatedLinearAttention";
  check(q.shape.length === 4 && q.shape[1]! >= 1, "E_SHAPE", () =>
    `${what}: q ${showShape(q.shape)} must be [B,T,H,K] with at least one step`);
  check(v.shape.length === 4, "E_SHAPE", () => `${what}: v ${showShape(v.shape)} must be [B,T,H,V]`);
  const [batch, time, heads, keySize] = q.shape as [number, number, number, number];
  const valueSize = v.shape[3]!;
  const expect = shapeCheck(what, { q, v });
  expect("k", k, q.shape);
  expect("v", v, [batch, time, heads, valueSize]);
  expect("a", a, q.shape);
  expect("bonus", bonus, [heads, keySize]);
  expect("state", state, [batch, heads, keySize, valueSize]);
  checkReal(what, given);
  checkChunk(what, chunk);
  checkScale(what, scale);
}

export const gatedLinearAttentionOp: Op<Inputs, { y: Tensor; state: Tensor }, Attributes,
  SavedFor<typeof gatedLinearAttentionKernels.gatedLinearAttentionGradient>> = {
  name: "gatedLinearAttention",
  optional: ["bonus", "state"],
  outputs(given, attributes) {
    checkInputs(given, attributes);
    const { batch, heads, keySize, valueSize } = sizesOf(given, attributes);
    const { shape, dtype } = given.v;
    return { y: { shape, dtype }, state: { shape: [batch, heads, keySize, valueSize], dtype } };
  },
  forward(given, { y, state: final }, attributes, { recording }) {
    if (final.size === 0) return clear(y);
    return kernels(y).gatedLinearAttention({ y, final, recording, ...given, ...sizesOf(given, attributes) });
  },
  gradient({ inputs: given, outputs, saved, attributes, wanted }, { y: dy, state: dfinal }) {
    if (outputs.state.size === 0) return zeroGradients(given, wanted);
    const { q, k, v, a, bonus, state } = given;
    const gradients = {
      q: like(q), k: like(k), v: like(v), a: like(a), bonus: wanted.bonus ? like(bonus) : null, state: wanted.state ? like(state) : null,
    };
    // Rare: the loss sees the final state alone.
    const none = dy ? null : zeros(v.device, v.shape, v.dtype);
    kernels(q).gatedLinearAttentionGradient({
      saved, dy: dy ?? none!, dfinal, dq: gradients.q, dk: gradients.k, dv: gradients.v, da: gradients.a, dbonus: gradients.bonus,
      dstate: gradients.state, ...given, ...sizesOf(given, attributes),
    });
    none?.dispose();
    return gradients;
  },
};

/**
 * Linear attention whose state forgets by channel of the key, as in GLA and RWKV-6: q and k [B,T,H,K], v [B,T,H,V], a [B,T,H,K] (log
 * decay, at most 0), bonus [H,K] or null, state [B,H,K,V] or null for zeros -> y [B,T,H,V] and the state after the last step [B,H,K,V].
 *
 * Without a bonus (GLA): S_t = diag(exp a_t) S_{t-1} + k_t v_tᵀ, y_t = scale · S_tᵀ q_t. With one (RWKV-6) the state is read before the
 * step goes into it, and the step counts by its bonus: y_t = scale · (S_{t-1} + diag(bonus) k_t v_tᵀ)ᵀ q_t.
 *
 * Both outputs and all inputs are differentiable. Decays may be as strong as they like, minus infinity included. `chunk` changes the speed
 * and the rounding, nothing else. Throws `E_SHAPE`, `E_DTYPE` (all inputs share one float type) and `E_ARGUMENT` (chunk, scale).
 */
export function gatedLinearAttention(
  given: { q: Tensor; k: Tensor; v: Tensor; a: Tensor; bonus?: Tensor | null; state?: Tensor | null },
  options: { scale?: number; chunk?: number } = {},
): { y: Tensor; state: Tensor } {
  const { q, k, v, a, bonus = null, state = null } = given;
  const { scale = 1, chunk = DEFAULT_CHUNK } = options;
  return apply(gatedLinearAttentionOp, { q, k, v, a, bonus, state }, { chunk, scale });
}

/**
 * Floating-point operations (a multiply-add is two) of the chunked algorithm, counting only the lower triangle of what is causal and only
 * matrix products: what a benchmark divides by the measured time. `fromZero`: no state comes in, so that its products (two of the
 * gradient's) fall away; `finalUnused`: the loss does not see the final state, and so do two products with its gradient.
 */
export function gatedLinearAttentionOperations(
  sizes: Omit<GatedLinearAttentionSizes, "chunk" | "scale"> & { chunk?: number; fromZero?: boolean; finalUnused?: boolean },
): { forward: number; gradient: number } {
  const { batch, time, heads, keySize, valueSize, chunk = DEFAULT_CHUNK, fromZero = false, finalUnused = false } = sizes;
  let forward = 0;
  let gradient = 0;
  for (let start = 0; start < time; start += chunk) {
    const length = Math.min(chunk, time - start);
    const pairs = length * (length + 1); // Twice the number of (t, s) with s <= t.
    const cross = 2 * length * keySize * valueSize; // One product of a chunk with a state.
    const zeroStart = fromZero && start === 0;
    const zeroEnd = finalUnused && start + length === time;
    forward += pairs * (keySize + valueSize) + (zeroStart ? 1 : 2) * cross;
    gradient += pairs * (3 * keySize + 2 * valueSize) + (4 - (zeroStart ? 2 : 0) - (zeroEnd ? 2 : 0)) * cross;
  }
  return { forward: batch * heads * forward, gradient: batch * heads * gradient };
}
