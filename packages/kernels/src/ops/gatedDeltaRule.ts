/**
 * The gated delta rule (Yang, Kautz & Hatamizadeh 2024, "Gated Delta Networks"), with a state that comes in and goes out. A step lets the
 * state decay, compares what stands in it under a key with the value that should, and writes a part of the difference. Per sequence
 * and value head h, with q and k of head floor(h · H / HV):
 *
 *   e_t = v_t - exp(a_t) S_{t-1}ᵀ k_t                 [V]
 *   S_t = exp(a_t) S_{t-1} + beta_t k_t e_tᵀ           [K,V]
 *   y_t = scale · S_tᵀ q_t                            [V]
 *
 * Gradient: let G_t [K,V] be the derivative of the loss by S_t, walking from the last step (G from the final state's gradient) to the
 * first, and p_t = G_tᵀ k_t, the derivative by beta_t e_t:
 *
 *   G_t = exp(a_{t+1}) (G_{t+1} - beta_{t+1} k_{t+1} p_{t+1}ᵀ) + scale · q_t dy_tᵀ
 *   dv_t = beta_t p_t      dbeta_t = p_t · e_t      dq_t = Σ_heads scale · S_t dy_t
 *   dk_t = Σ_heads beta_t (G_t e_t - exp(a_t) S_{t-1} p_t)
 *   da_t = exp(a_t) ⟨G_t - beta_t k_t p_tᵀ, S_{t-1}⟩      dS_0 = exp(a_1) (G_1 - beta_1 k_1 p_1ᵀ)
 *
 * Fast backends work on chunks of steps. With A(t) = a_1 + ... + a_t inside the chunk and S the state at its start, all e solve one
 * triangular system (the "UT transform" of Yang et al. 2024, "Parallelizing Linear Transformers with the Delta Rule"):
 *
 *   e_t = v_t - e^A(t) Sᵀk_t - Σ_{j<t} (k_t · k_j) e^(A(t)-A(j)) beta_j e_j
 *   y_t / scale = e^A(t) Sᵀq_t + Σ_{j<=t} (q_t · k_j) e^(A(t)-A(j)) beta_j e_j
 *
 * Why it has kernels of its own, though {@link deltaRule} could run it (remove = exp(a) k, write = -beta k, values beta v): with one gate
 * for a head a chunk needs two products of scores instead of four, which all heads of a group share, three products with a state
 * instead of four (its gradient six instead of eight), and exponentials of its steps alone instead of every step's channels. At K = V = 128
 * that is about half the work. With a gate per channel (KDA, Kimi Team 2025, "Kimi Linear") nothing of this remains but one product: that
 * is run as a `deltaRule`.
 *
 * Glossary: T steps, HV value heads, H heads of q and k, K key size, V value size; a is a log decay.
 */
import { check } from "../errors";
import { kernelsOf } from "../kernels";
import { apply, like, type Op } from "../op";
import { sameShape, showShape } from "../shape";
import type { ArgumentsOf, Family, SavedFor } from "../signature";
import type { Tensor } from "../tensor";
import { checkChunk, checkMultiple, checkReal, checkScale, shapeCheck, showInputs } from "./checks";
import { deltaRule } from "./deltaRule";
import { exp, mul, neg } from "./elementwise";
import { clear, zeroGradients } from "./emptyState";
import { zeros } from "./memory";
import { broadcastTo, reshape } from "./view";

/** `chunk` is the number of steps that a backend may treat as one block. */
const numbers = {
  batch: "size", time: "size", keyHeads: "size", heads: "size", keySize: "size", valueSize: "size", chunk: "size", scale: "real",
} as const;

const keys = "[batch,time,keyHeads,keySize]";
const values = "[batch,time,heads,valueSize]";
const gates = "[batch,time,heads]";
const state = "[batch,heads,keySize,valueSize]";
const stateOrNull = "[batch,heads,keySize,valueSize]?";

/** `a` is at most 0; a `state` that is null is zero. */
const inputs = { q: keys, k: keys, v: values, a: gates, beta: gates, state: stateOrNull } as const;

/** One state per chunk, in whatever order the backend likes, and e of all steps. */
const saved = { starts: "[batch,heads,time/chunk,keySize,valueSize]", errors: values } as const;

export const gatedDeltaRuleKernels = {
  gatedDeltaRule: { numbers, reads: inputs, writes: { y: values, final: state }, saves: saved },
  /** Gradients of the inputs; dfinal null for zero; dstate null when the state is or nobody wants it. */
  gatedDeltaRuleGradient: {
    numbers,
    reads: { ...inputs, dy: values, dfinal: stateOrNull },
    saved,
    writes: { dq: keys, dk: keys, dv: values, da: gates, dbeta: gates, dstate: stateOrNull },
  },
} as const satisfies Family;

const kernels = kernelsOf<typeof gatedDeltaRuleKernels>;

/** Sizes and settings of one scan. */
export type GatedDeltaRuleSizes = Pick<ArgumentsOf<typeof gatedDeltaRuleKernels.gatedDeltaRule>, keyof typeof numbers>;

type Inputs = {
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
  readonly a: Tensor;
  readonly beta: Tensor;
  readonly state: Tensor | null;
};

interface Attributes {
  readonly chunk: number;
  readonly scale: number;
}

/** Steps per chunk unless given: where the CPU kernels are fastest for K = 128 and more. */
const DEFAULT_CHUNK = 64;

function sizesOf({ q, v }: Pick<Inputs, "q" | "v">, { chunk, scale }: Attributes): GatedDeltaRuleSizes {
  const [batch, time, keyHeads, keySize] = q.shape as [number, number, number, number];
  return { batch, time, keyHeads, heads: v.shape[2]!, keySize, valueSize: v.shape[3]!, chunk: Math.min(chunk, Math.max(1, time)), scale };
}

function checkInputs(given: Inputs, { chunk, scale }: Attributes): void {
  const { q, v, a } = given;
  check(q.shape.length === 4 && q.shape[1]! >= 1, "E_SHAPE", () =>
    `gatedDeltaRule: q ${showShape(q.shape)} must be [B,T,H,K] with at least one step`);
  const [B, T, H, K] = q.shape as [number, number, number, number];
  check(v.shape.length === 4 && sameShape(v.shape.slice(0, 2), [B, T]), "E_SHAPE", () =>
    `gatedDeltaRule: v ${showShape(v.shape)} must be [B,T,HV,V] with B and T of q ${showShape(q.shape)}`);
  const [, , HV, V] = v.shape as [number, number, number, number];
  checkMultiple("gatedDeltaRule", HV, "value heads", H, "heads of keys", { q, v });
  const [perHead, perChannel] = [[B, T, HV], [B, T, HV, K]];
  check(sameShape(a.shape, perHead) || sameShape(a.shape, perChannel), "E_SHAPE", () =>
    `gatedDeltaRule: a ${showShape(a.shape)} must be ${showShape(perHead)} or ${showShape(perChannel)} for ${showInputs({ q, v })}`);
  const expect = shapeCheck("gatedDeltaRule", { q, v });
  expect("k", given.k, q.shape);
  expect("beta", given.beta, perHead);
  expect("state", given.state, [B, HV, K, V]);
  checkReal("gatedDeltaRule", given);
  checkChunk("gatedDeltaRule", chunk);
  checkScale("gatedDeltaRule", scale);
}

export const gatedDeltaRuleOp: Op<Inputs, { y: Tensor; state: Tensor }, Attributes,
  SavedFor<typeof gatedDeltaRuleKernels.gatedDeltaRuleGradient>> = {
  name: "gatedDeltaRule",
  optional: ["state"],
  outputs(given, attributes) {
    checkInputs(given, attributes);
    const { batch, heads, keySize, valueSize } = sizesOf(given, attributes);
    const { shape, dtype } = given.v;
    return { y: { shape, dtype }, state: { shape: [batch, heads, keySize, valueSize], dtype } };
  },
  forward(given, { y, state: final }, attributes, { recording }) {
    if (final.size === 0) return clear(y);
    return kernels(y).gatedDeltaRule({ y, final, recording, ...given, ...sizesOf(given, attributes) });
  },
  gradient({ inputs: given, outputs, saved: kept, attributes, wanted }, { y: dy, state: dfinal }) {
    if (outputs.state.size === 0) return zeroGradients(given, wanted);
    const { q, k, v, a, beta, state: initial } = given;
    const gradients = { q: like(q), k: like(k), v: like(v), a: like(a), beta: like(beta), state: wanted.state ? like(initial) : null };
    // Rare: the loss sees the final state alone.
    const none = dy ? null : zeros(v.device, v.shape, v.dtype);
    kernels(v).gatedDeltaRuleGradient({
      saved: kept, dy: dy ?? none!, dfinal, dq: gradients.q, dk: gradients.k, dv: gradients.v, da: gradients.a, dbeta: gradients.beta,
      dstate: gradients.state, ...given, ...sizesOf(given, attributes),
    });
    none?.dispose();
    return gradients;
  },
};

/** With a gate per channel, as the delta rule that it then is. */
function gatedByChannel(
  { q, k, v, a, beta, state: initial }: Inputs, options: { scale: number; chunk?: number },
): { y: Tensor; state: Tensor } {
  const [B, T, H, K] = q.shape as [number, number, number, number];
  const HV = v.shape[2]!;
  const perHead = (x: Tensor) => (H === HV ? x : reshape(broadcastTo(reshape(x, [B, T, H, 1, K]), [B, T, H, HV / H, K]), [B, T, HV, K]));
  const [queries, keysOfHeads, rate] = [perHead(q), perHead(k), reshape(beta, [B, T, HV, 1])];
  const [remove, write] = [mul(exp(a), keysOfHeads), neg(mul(rate, keysOfHeads))];
  return deltaRule({ q: queries, k: keysOfHeads, v: mul(rate, v), a, remove, write, state: initial }, options);
}

/**
 * Runs the gated delta rule S' = exp(a_t) S_{t-1}, S_t = S' + k_t (beta_t (v_t - S'ᵀ k_t))ᵀ, y_t = scale · S_tᵀ q_t (Yang, Kautz &
 * Hatamizadeh 2024, "Gated Delta Networks"): q and k [B,T,H,K], v [B,T,HV,V], a (log decay, at most 0) [B,T,HV], or [B,T,HV,K] for a
 * gate per channel (KDA, Kimi Team 2025), beta [B,T,HV], state [B,HV,K,V] or null for zeros -> y [B,T,HV,V] and the state after the last
 * step [B,HV,K,V]. Value head h reads q and k of head floor(h · H / HV). Both outputs and all inputs are differentiable. `chunk` changes
 * the speed and the rounding, nothing else.
 * Throws `E_SHAPE`, `E_DTYPE` (all inputs share one float type) and `E_ARGUMENT` (chunk).
 */
export function gatedDeltaRule(
  given: { q: Tensor; k: Tensor; v: Tensor; a: Tensor; beta: Tensor; state?: Tensor | null },
  options: { scale?: number; chunk?: number } = {},
): { y: Tensor; state: Tensor } {
  const { q, k, v, a, beta, state: initial = null } = given;
  const all = { q, k, v, a, beta, state: initial };
  const { scale = 1, chunk } = options;
  if (a?.shape?.length !== 4) return apply(gatedDeltaRuleOp, all, { scale, chunk: chunk ?? DEFAULT_CHUNK });
  checkInputs(all, { scale, chunk: chunk ?? DEFAULT_CHUNK });
  return gatedByChannel(all, { scale, chunk });
}

/**
 * Floating-point operations (a multiply-add is two) of the chunked algorithm with a gate per head, counting only the triangle of what is
 * causal and only matrix products, the triangular system among them: what a benchmark divides by the measured time. The gradient forms
 * the scores again, but not e. `fromZero`: no state comes in, so that its products fall away; `finalUnused`: the loss does not see the
 * final state, and so do those with its gradient.
 */
export function gatedDeltaRuleOperations(
  sizes: Omit<GatedDeltaRuleSizes, "chunk" | "scale"> & { chunk?: number; fromZero?: boolean; finalUnused?: boolean },
): { forward: number; gradient: number } {
  const { batch, time, keyHeads, heads, keySize, valueSize, chunk = DEFAULT_CHUNK, fromZero = false, finalUnused = false } = sizes;
  let forward = 0;
  let gradient = 0;
  for (let start = 0; start < time; start += chunk) {
    const length = Math.min(chunk, time - start);
    const both = 2 * length * length; // A lower triangle with its diagonal (of q) and one without (of k), two operations each.
    const cross = 2 * length * keySize * valueSize; // One product of a chunk with a state.
    const zeroStart = fromZero && start === 0;
    const zeroEnd = finalUnused && start + length === time;
    forward += keyHeads * both * keySize + heads * (both * valueSize + (zeroStart ? 1 : 3) * cross);
    gradient += keyHeads * 3 * both * keySize + heads * (2 * both * valueSize + (6 - (zeroStart ? 4 : 0) - (zeroEnd ? 2 : 0)) * cross);
  }
  return { forward: batch * forward, gradient: batch * gradient };
}
