/**
 * The recurrence of Mamba-3 (arXiv 2603.15569): a state-space scan whose input is that of two neighbouring steps (the trapezoidal rule),
 * and whose keys and queries turn by angles that follow from the input. Per head, with R inputs v_r and outputs y_r (R = 1: SISO):
 *
 *   θ_t   = θ_{t-1} + π tanh(angle_t) dt_t   modulo 2π             [A]
 *   k, q  = B + bias and C + bias, turned by θ_t                   [R,N]
 *   S_t   = α_t S_{t-1} + β_t Σ_r v_{r,t-1} k_{r,t-1}ᵀ + γ_t Σ_r v_{r,t} k_{r,t}ᵀ      [P,N]
 *   y_r,t = S_t q_{r,t} + D v_{r,t}                                [P]
 *   α = exp(a),   γ = λ dt,   β = (1 - λ) dt α,   λ = sigmoid(trap)
 *
 * Every input enters twice: with γ_t at its own step, and with δ_{t+1} = (1 - λ_{t+1}) dt_{t+1} just before the next step's decay. So
 *
 *   U_t = S_t + δ_{t+1} Σ_r v_{r,t} k_{r,t}ᵀ   obeys   U_t = α_t U_{t-1} + (γ_t + δ_{t+1}) Σ_r v_{r,t} k_{r,t}ᵀ
 *   S_t q = α_t U_{t-1} q + γ_t Σ_r v_{r,t} (k_{r,t} · q)
 *
 * and U is the state of `ssd`, which here runs one step behind: at step t it takes what the step before left (the remembered v and k, for
 * the first), and is read by the queries of t. All terms are added; to read U_t and take the δ part off again would lose digits where δ is
 * large. The last step's δ belongs to whoever goes on, so that S itself is the state, and every cut of a stream gives the same.
 *
 * R inputs a step are R steps of `ssd`, of which only the first decays. Its r-th query then misses the pairs with r' > r of the step
 * before: small products, as are the pairs within the step.
 */
import {
  add, concat, cumulativeSum, exp, matmul, mul, neg, reshape, scale, sigmoid, slice, ssd, sum, tanh, type Tensor, tensor, transpose, turn,
  zeros,
} from "@lenggen/kernels";
import { tokenShift } from "@lenggen/kernels/nn";

/** What is remembered of all steps before. */
export interface Mamba3LayerState {
  readonly [leaf: string]: Tensor;
  /** [B, H, A]: the angles that keys and queries have come to, from 0 to 2π. */
  readonly angle: Tensor;
  /** [B, H, P, N]: the sum over the past. */
  readonly ssm: Tensor;
  /** [B, R, H, N]: the last step's keys, turned. */
  readonly k: Tensor;
  /** [B, H, P]: the last step's input, before `mimoX`. */
  readonly v: Tensor;
}

/** What {@link mamba3Scan} takes. */
export interface Mamba3Inputs {
  /** C and B, normed: [B,T,R,G,N]. */
  readonly q: Tensor;
  readonly k: Tensor;
  /** [B,T,H,P] */
  readonly v: Tensor;
  /** Step size, log decay (at most 0) and the number that λ is the sigmoid of: [B,T,H]. */
  readonly dt: Tensor;
  readonly a: Tensor;
  readonly trap: Tensor;
  /** [B,T,1,A], or [B,T,H,A] for angles of each head's own. */
  readonly angles: Tensor;
  /** [R,H,N] */
  readonly qBias: Tensor;
  readonly kBias: Tensor;
  /** [H] */
  readonly d: Tensor;
  /** [R,H,P]: v_r = mimoX_r · v; null for one v as it is. */
  readonly mimoX: Tensor | null;
  readonly state?: Mamba3LayerState;
}

/** Runs the recurrence: y [B,T,R,H,P] and the state behind the last step. `halves`: see `turn`; `chunk`: of `ssd`, in its steps. */
export function mamba3Scan(
  { q: c, k: b, v, dt, a, trap, angles, qBias, kBias, d, mimoX, state }: Mamba3Inputs,
  { chunk, halves }: { chunk: number; halves: boolean },
): { y: Tensor; state: Mamba3LayerState } {
  const [batch, time, heads, headSize] = v.shape as [number, number, number, number];
  const [, , rank, , stateSize] = b.shape as [number, number, number, number, number];
  const steps = mul(reshape(dt, [batch, time, heads, 1]), scale(tanh(angles), Math.PI));
  const theta = cumulativeSum(steps, 1, { start: state?.angle ?? null, modulo: 2 * Math.PI }); // [B,T,H,A]
  const q = turn({ x: c, bias: qBias, angle: theta }, { halves }); // [B,T,R,H,N]
  const k = turn({ x: b, bias: kBias, angle: theta }, { halves });
  const gamma = mul(sigmoid(trap), dt);
  const delta = mul(sigmoid(neg(trap)), dt);

  const keys = shifted(k, state?.k);
  const values = shifted(v, state?.v);
  const weight = add(tokenShift(gamma, undefined).shifted, delta); // of what the step before left
  const decay = tokenShift(a, undefined).shifted; // the remembered has decayed already
  const ofRanks = (x: Tensor, ...at: number[]) => (mimoX ? mul(reshape(x, [...at, 1, heads, headSize]), mimoX)
    : reshape(x, [...at, 1, heads, headSize]));
  const [now, before] = [ofRanks(v, batch, time), ofRanks(values.shifted, batch, time)]; // [B,T,R,H,P]
  const scan = ssd({
    x: reshape(before, [batch, time * rank, heads, headSize]),
    dt: repeated(weight, rank),
    a: followedByZeros(decay, rank),
    b: reshape(keys.shifted, [batch, time * rank, heads, stateSize]),
    c: reshape(q, [batch, time * rank, heads, stateSize]),
    state: state?.ssm ?? null,
  }, { chunk });
  const alpha = exp(a);
  const read = mul(reshape(alpha, [batch, time, 1, heads, 1]), reshape(scan.y, [batch, time, rank, heads, headSize]));
  const near = rank === 1
    // D and the step's own pair are one number a head.
    ? mul(reshape(add(mul(gamma, reshape(sum(mul(q, k), { axes: -1 }), [batch, time, heads])), d), [batch, time, 1, heads, 1]), now)
    : add(pairs({ q, now: [k, now, gamma], before: [keys.shifted, before, mul(alpha, weight)] }), mul(reshape(d, [heads, 1]), now));

  const lastOf = (x: Tensor) => slice(x, 1, time - 1, time);
  const lastInput = mul(reshape(lastOf(gamma), [batch, 1, heads, 1]), ofRanks(values.last, batch)); // [B,R,H,P]
  const written = matmul(transpose(lastInput, [0, 2, 3, 1]), transpose(keys.last, [0, 2, 1, 3])); // [B,H,P,N]
  return {
    y: add(read, near),
    state: {
      angle: reshape(lastOf(theta), [batch, heads, theta.shape[3]!]),
      ssm: add(mul(reshape(lastOf(alpha), [batch, heads, 1, 1]), scan.state), written),
      k: keys.last,
      v: values.last,
    },
  };
}

/** x [B,T,...] one step later, behind the remembered [B,...] or zeros, and the last of x, [B,...]. */
function shifted(x: Tensor, remembered: Tensor | undefined): { shifted: Tensor; last: Tensor } {
  const [batch, time, ...rest] = x.shape as [number, number, ...number[]];
  const last = remembered && reshape(remembered, [batch, 1, -1]);
  const result = tokenShift(reshape(x, [batch, time, -1]), last);
  return { shifted: reshape(result.shifted, x.shape), last: reshape(result.state, [batch, ...rest]) };
}

/** x [B,T,H], each step R times: [B,T·R,H]. */
function repeated(x: Tensor, rank: number): Tensor {
  const [batch, time, heads] = x.shape as [number, number, number];
  if (rank === 1) return x;
  const one = reshape(x, [batch, time, 1, heads]);
  return reshape(concat(Array<Tensor>(rank).fill(one), 2), [batch, time * rank, heads]);
}

/** x [B,T,H], with R - 1 steps of zeros behind each: [B,T·R,H]. */
function followedByZeros(x: Tensor, rank: number): Tensor {
  const [batch, time, heads] = x.shape as [number, number, number];
  if (rank === 1) return x;
  const none = zeros(x.device, [batch, time, rank - 1, heads], x.dtype);
  return reshape(concat([reshape(x, [batch, time, 1, heads]), none], 2), [batch, time * rank, heads]);
}

/** Keys [B,T,R,H,N], inputs [B,T,R,H,P], and the weight of their products [B,T,H]. */
type Written = readonly [keys: Tensor, inputs: Tensor, weight: Tensor];

/** Of the queries [B,T,R,H,N]: all pairs with what is written now, and those with r' > r of what was written before: [B,T,R,H,P]. */
function pairs({ q, now, before }: { q: Tensor; now: Written; before: Written }): Tensor {
  const [batch, time, rank, heads] = q.shape as [number, number, number, number];
  const byHead = (x: Tensor) => transpose(x, [0, 1, 3, 2, 4]);
  const queries = byHead(q); // [B,T,H,R,N]
  const read = ([keys, inputs, weight]: Written, mask: Tensor | null) => {
    const weights = reshape(weight, [batch, time, heads, 1, 1]);
    const scores = matmul(queries, byHead(keys), { transposeB: true }); // [B,T,H,R,R]
    return matmul(mul(scores, mask ? mul(weights, mask) : weights), byHead(inputs)); // [B,T,H,R,P]
  };
  const later = Array.from({ length: rank * rank }, (_, i) => Number(i % rank > Math.floor(i / rank)));
  return byHead(add(read(now, null), read(before, tensor(q.device, later, [rank, rank], q.dtype))));
}
