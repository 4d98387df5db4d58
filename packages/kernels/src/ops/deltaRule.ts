/**
 * The generalised delta rule of RWKV-7 (Peng et al. 2025, "RWKV-7 Goose"), with a state that comes in and goes out. A step lets
 * each channel of the key decay, takes out of the state what stands under one key, and writes under two others. Per sequence and head:
 *
 *   u_t = S_{t-1}ᵀ remove_t                                            [V]
 *   S_t = diag(exp(a_t)) S_{t-1} + write_t u_tᵀ + k_t v_tᵀ               [K,V]
 *   y_t = scale · S_tᵀ q_t                                             [V]
 *
 * Gradient: let G_t [K,V] be the derivative of the loss by S_t, walking from the last step (G from the final state's gradient) to the
 * first. With x_t = G_tᵀ write_t, the derivative by u_t,
 *
 *   G_t = diag(exp(a_{t+1})) G_{t+1} + remove_{t+1} x_{t+1}ᵀ + scale · q_t dy_tᵀ
 *   dq_t = scale · S_t dy_t      dk_t = G_t v_t      dv_t = G_tᵀ k_t      dwrite_t = G_t u_t      dremove_t = S_{t-1} x_t
 *   da_t = exp(a_t) ∘ Σ_v (G_t ∘ S_{t-1})      dS_0 = diag(exp(a_1)) G_1 + remove_1 x_1ᵀ
 *
 * Fast backends work on chunks of steps. With A(t) = a_1 + ... + a_t inside the chunk and S the state at its start, all u solve one
 * triangular system (the "UT transform" of Yang et al. 2024, "Parallelizing Linear Transformers with the Delta Rule"), and only states
 * travel between chunks:
 *
 *   u_t = Sᵀ(e^A(t-1) ∘ remove_t) + Σ_{j<t} (remove_t · e^(A(t-1)-A(j)) ∘ write_j) u_j + (remove_t · e^(A(t-1)-A(j)) ∘ k_j) v_j
 *   y_t / scale = Sᵀ(e^A(t) ∘ q_t) + Σ_{j<=t} (q_t · e^(A(t)-A(j)) ∘ write_j) u_j + (q_t · e^(A(t)-A(j)) ∘ k_j) v_j
 *
 * Glossary: T steps, H heads, K key size, V value size; a is a log decay.
 */
import { check } from "../errors";
import { kernelsOf } from "../kernels";
import { apply, like, type Op } from "../op";
import { sameShape, showShape } from "../shape";
import type { ArgumentsOf, Family, SavedFor } from "../signature";
import type { Tensor } from "../tensor";
import { checkChunk, checkReal, checkScale, shapeCheck } from "./checks";
import { clear, zeroGradients } from "./emptyState";
import { zeros } from "./memory";

/** `chunk` is the number of steps that a backend may treat as one block. */
const numbers = { batch: "size", time: "size", heads: "size", keySize: "size", valueSize: "size", chunk: "size", scale: "real" } as const;

const keys = "[batch,time,heads,keySize]";
const values = "[batch,time,heads,valueSize]";
const state = "[batch,heads,keySize,valueSize]";
const stateOrNull = "[batch,heads,keySize,valueSize]?";

/** `a` is at most 0; a `state` that is null is zero. */
const inputs = { q: keys, k: keys, v: values, a: keys, remove: keys, write: keys, state: stateOrNull } as const;

/** One state per chunk, in whatever order the backend likes, and u of all steps. */
const saved = { starts: "[batch,heads,time/chunk,keySize,valueSize]", removed: values } as const;

export const deltaRuleKernels = {
  deltaRule: { numbers, reads: inputs, writes: { y: values, final: state }, saves: saved },
  /** Gradients of the inputs; dfinal null for zero; dstate null when the state is or nobody wants it. */
  deltaRuleGradient: {
    numbers,
    reads: { ...inputs, dy: values, dfinal: stateOrNull },
    saved,
    writes: { dq: keys, dk: keys, dv: values, da: keys, dremove: keys, dwrite: keys, dstate: stateOrNull },
  },
} as const satisfies Family;

const kernels = kernelsOf<typeof deltaRuleKernels>;

/** Sizes and settings of one scan. */
export type DeltaRuleSizes = Pick<ArgumentsOf<typeof deltaRuleKernels.deltaRule>, keyof typeof numbers>;

type Inputs = {
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
  readonly a: Tensor;
  readonly remove: Tensor;
  readonly write: Tensor;
  readonly state: Tensor | null;
};

interface Attributes {
  readonly chunk: number;
  readonly scale: number;
}

/** Steps per chunk unless given: half of that is as fast on the CPU for K = V = 64, but keeps twice the states for a gradient. */
const DEFAULT_CHUNK = 32;

function sizesOf({ q, v }: Pick<Inputs, "q" | "v">, { chunk, scale }: Attributes): DeltaRuleSizes {
  const [batch, time, heads, keySize] = q.shape as [number, number, number, number];
  return { batch, time, heads, keySize, valueSize: v.shape[3]!, chunk: Math.min(chunk, Math.max(1, time)), scale };
}

function checkInputs(given: Inputs, { chunk, scale }: Attributes): void {
  const { q, v } = given;
  check(q.shape.length === 4 && q.shape[1]! >= 1, "E_SHAPE", () =>
    `deltaRule: q ${showShape(q.shape)} must be [B,T,H,K] with at least one step`);
  const [B, T, H, K] = q.shape as [number, number, number, number];
  check(v.shape.length === 4 && sameShape(v.shape.slice(0, 3), [B, T, H]), "E_SHAPE", () =>
    `deltaRule: v ${showShape(v.shape)} must be [B,T,H,V] with B, T and H of q ${showShape(q.shape)}`);
  const expect = shapeCheck("deltaRule", { q, v });
  for (const name of ["k", "a", "remove", "write"] as const) expect(name, given[name], q.shape);
  expect("state", given.state, [B, H, K, v.shape[3]!]);
  checkReal("deltaRule", given);
  checkChunk("deltaRule", chunk);
  checkScale("deltaRule", scale);
}

export const deltaRuleOp: Op<Inputs, { y: Tensor; state: Tensor }, Attributes, SavedFor<typeof deltaRuleKernels.deltaRuleGradient>> = {
  name: "deltaRule",
  optional: ["state"],
  outputs(given, attributes) {
    checkInputs(given, attributes);
    const { batch, heads, keySize, valueSize } = sizesOf(given, attributes);
    const { shape, dtype } = given.v;
    return { y: { shape, dtype }, state: { shape: [batch, heads, keySize, valueSize], dtype } };
  },
  forward(given, { y, state: final }, attributes, { recording }) {
    if (final.size === 0) return clear(y);
    return kernels(y).deltaRule({ y, final, recording, ...given, ...sizesOf(given, attributes) });
  },
  gradient({ inputs: given, outputs, saved: kept, attributes, wanted }, { y: dy, state: dfinal }) {
    if (outputs.state.size === 0) return zeroGradients(given, wanted);
    const { q, k, v, a, remove, write, state: initial } = given;
    const gradients = {
      q: like(q), k: like(k), v: like(v), a: like(a), remove: like(remove), write: like(write), state: wanted.state ? like(initial) : null,
    };
    // Rare: the loss sees the final state alone.
    const none = dy ? null : zeros(v.device, v.shape, v.dtype);
    kernels(v).deltaRuleGradient({
      saved: kept, dy: dy ?? none!, dfinal, dq: gradients.q, dk: gradients.k, dv: gradients.v, da: gradients.a, dremove: gradients.remove,
      dwrite: gradients.write, dstate: gradients.state, ...given, ...sizesOf(given, attributes),
    });
    none?.dispose();
    return gradients;
  },
};

/**
 * Runs the generalised delta rule S_t = diag(exp(a_t)) S_{t-1} + write_t (remove_tᵀ S_{t-1}) + k_t v_tᵀ, y_t = scale · S_tᵀ q_t (Peng et
 * al. 2025, "RWKV-7 Goose"): q, k, a (log decay, at most 0), remove and write [B,T,H,K], v [B,T,H,V], state [B,H,K,V] or null for zeros
 * -> y [B,T,H,V] and the state after the last step [B,H,K,V]. Both outputs and all inputs are differentiable. RWKV-7 has its receptance
 * as q, the negated normalised key as `remove` and the same key times its learning rate as `write`; `remove` reads the state before it
 * decays. `chunk` changes the speed and the rounding, nothing else.
 * Throws `E_SHAPE`, `E_DTYPE` (all inputs share one float type) and `E_ARGUMENT` (chunk).
 */
export function deltaRule(
  given: { q: Tensor; k: Tensor; v: Tensor; a: Tensor; remove: Tensor; write: Tensor; state?: Tensor | null },
  options: { scale?: number; chunk?: number } = {},
): { y: Tensor; state: Tensor } {
  const { q, k, v, a, remove, write, state: initial = null } = given;
  const { scale = 1, chunk = DEFAULT_CHUNK } = options;
  return apply(deltaRuleOp, { q, k, v, a, remove, write, state: initial }, { scale, chunk });
}

/**
 * Floating-point operations (a multiply-add is two) of the chunked algorithm, counting only the triangle of what is causal and only matrix
 * products, the triangular system among them: what a benchmark divides by the measured time. The gradient forms the scores again, but
 * not u. `fromZero`: no state comes in, so that its products fall away; `finalUnused`: the loss does not see the final state, and so do
 * those with its gradient.
 */
export function deltaRuleOperations(
  sizes: Omit<DeltaRuleSizes, "chunk" | "scale"> & { chunk?: number; fromZero?: boolean; finalUnused?: boolean },
): { forward: number; gradient: number } {
  const { batch, time, heads, keySize, valueSize, chunk = DEFAULT_CHUNK, fromZero = false, finalUnused = false } = sizes;
  let forward = 0;
  let gradient = 0;
  for (let start = 0; start < time; start += chunk) {
    const length = Math.min(chunk, time - start);
    const both = 2 * length * length; // A lower triangle with its diagonal (of q) and one without (of remove), two operations each.
    const cross = 2 * length * keySize * valueSize; // One product of a chunk with a state.
    const zeroStart = fromZero && start === 0;
    const zeroEnd = finalUnused && start + length === time;
    forward += 2 * both * (keySize + valueSize) + (zeroStart ? 2 : 4) * cross;
    gradient += 2 * both * (3 * keySize + 2 * valueSize) + (8 - (zeroStart ? 4 : 0) - (zeroEnd ? 4 : 0)) * cross;
  }
  return { forward: batch * heads * forward, gradient: batch * heads * gradient };
}
