/** The gated delta rule as the recurrence that it is, one head at a time: to be read beside ops/gatedDeltaRule.ts. */
import type { gatedDeltaRuleKernels, GatedDeltaRuleSizes } from "../../ops/gatedDeltaRule";
import type { KernelsOf } from "../../signature";
import type { Tensor } from "../../tensor";
import { data } from "./data";

const optional = (t: Tensor | null) => (t ? data(t) : null);

/** Where value head h of sequence i finds its numbers at step t. */
function indexing({ time, keyHeads, heads, keySize, valueSize }: GatedDeltaRuleSizes, i: number, h: number) {
  const keyHead = Math.floor((h * keyHeads) / heads);
  return {
    key: (t: number) => ((i * time + t) * keyHeads + keyHead) * keySize, // q, k [B,T,H,K]
    value: (t: number) => ((i * time + t) * heads + h) * valueSize, // v, y [B,T,HV,V]
    gate: (t: number) => (i * time + t) * heads + h, // a, beta [B,T,HV]
    state: (i * heads + h) * keySize * valueSize, // [B,HV,K,V]
  };
}

/** Calls `body` for every sequence and value head. */
function eachHead({ batch, heads }: GatedDeltaRuleSizes, body: (i: number, h: number) => void): void {
  for (let i = 0; i < batch; i++) for (let h = 0; h < heads; h++) body(i, h);
}

export const gatedDeltaRule: KernelsOf<typeof gatedDeltaRuleKernels> = {
  gatedDeltaRule({ q, k, v, a, beta, state, y, final, ...sizes }) {
    const [qs, ks, vs, as, bs, ys, fs] = [data(q), data(k), data(v), data(a), data(beta), data(y), data(final)];
    const initial = optional(state);
    const { time, keySize: K, valueSize: V, scale } = sizes;
    eachHead(sizes, (i, h) => {
      const at = indexing(sizes, i, h);
      const S = Float64Array.from({ length: K * V }, (_, j) => initial?.[at.state + j] ?? 0);
      for (let t = 0; t < time; t++) {
        const [key, value, decay, rate] = [at.key(t), at.value(t), Math.exp(as[at.gate(t)]!), bs[at.gate(t)]!];
        for (let j = 0; j < V; j++) {
          let error = vs[value + j]!;
          for (let n = 0; n < K; n++) {
            S[n * V + j] = decay * S[n * V + j]!;
            error -= S[n * V + j]! * ks[key + n]!;
          }
          let sum = 0;
          for (let n = 0; n < K; n++) {
            S[n * V + j] = S[n * V + j]! + ks[key + n]! * rate * error;
            sum += S[n * V + j]! * qs[key + n]!;
          }
          ys[value + j] = scale * sum;
        }
      }
      fs.set(S, at.state);
    });
    return {};
  },

  // Nothing is saved: all states of one head at a time (T · K · V numbers) are computed again.
  gatedDeltaRuleGradient({ q, k, v, a, beta, state, dy, dfinal, dq, dk, dv, da, dbeta, dstate, ...sizes }) {
    const [qs, ks, vs, as, bs, gys] = [data(q), data(k), data(v), data(a), data(beta), data(dy)];
    const [gq, gk, gv, ga, gb] = [data(dq), data(dk), data(dv), data(da), data(dbeta)];
    const [initial, gfs, gs] = [optional(state), optional(dfinal), optional(dstate)];
    const { time, keySize: K, valueSize: V, scale } = sizes;
    for (const sum of [gq, gk]) sum.fill(0);
    eachHead(sizes, (i, h) => {
      const at = indexing(sizes, i, h);
      const states = new Float64Array((time + 1) * K * V); // states[t] comes before step t
      const errors = new Float64Array(time * V);
      if (initial) states.set(initial.subarray(at.state, at.state + K * V));
      for (let t = 0; t < time; t++) {
        const [key, value, decay, rate] = [at.key(t), at.value(t), Math.exp(as[at.gate(t)]!), bs[at.gate(t)]!];
        for (let j = 0; j < V; j++) {
          let error = vs[value + j]!;
          for (let n = 0; n < K; n++) error -= decay * states[(t * K + n) * V + j]! * ks[key + n]!;
          errors[t * V + j] = error;
          for (let n = 0; n < K; n++) {
            states[((t + 1) * K + n) * V + j] = decay * states[(t * K + n) * V + j]! + ks[key + n]! * rate * error;
          }
        }
      }
      const G = Float64Array.from({ length: K * V }, (_, j) => gfs?.[at.state + j] ?? 0);
      for (let t = time - 1; t >= 0; t--) {
        const [key, value, decay, rate] = [at.key(t), at.value(t), Math.exp(as[at.gate(t)]!), bs[at.gate(t)]!];
        let [decayGradient, rateGradient] = [0, 0];
        for (let j = 0; j < V; j++) {
          const [dyj, error] = [scale * gys[value + j]!, errors[t * V + j]!];
          let p = 0; // Gᵀ k of column j
          for (let n = 0; n < K; n++) {
            G[n * V + j] = G[n * V + j]! + qs[key + n]! * dyj;
            p += G[n * V + j]! * ks[key + n]!;
          }
          gv[value + j] = rate * p;
          rateGradient += p * error;
          for (let n = 0; n < K; n++) {
            const [g, before] = [G[n * V + j]!, decay * states[(t * K + n) * V + j]!];
            gq[key + n] = gq[key + n]! + states[((t + 1) * K + n) * V + j]! * dyj;
            gk[key + n] = gk[key + n]! + rate * (g * error - before * p);
            const decayed = g - rate * ks[key + n]! * p; // the derivative by the state once it has decayed
            decayGradient += decayed * before;
            G[n * V + j] = decay * decayed; // now the derivative by the state before step t
          }
        }
        ga[at.gate(t)] = decayGradient;
        gb[at.gate(t)] = rateGradient;
      }
      gs?.set(G, at.state);
    });
  },
};
