/** The generalised delta rule as the recurrence that it is, one head at a time: to be read beside ops/deltaRule.ts. */
import type { deltaRuleKernels, DeltaRuleSizes } from "../../ops/deltaRule";
import type { KernelsOf } from "../../signature";
import type { Tensor } from "../../tensor";
import { data } from "./data";

const optional = (t: Tensor | null) => (t ? data(t) : null);

/** Where head h of sequence i finds its numbers at step t. */
function indexing({ time, heads, keySize, valueSize }: DeltaRuleSizes, i: number, h: number) {
  return {
    key: (t: number) => ((i * time + t) * heads + h) * keySize, // q, k, a, remove, write [B,T,H,K]
    value: (t: number) => ((i * time + t) * heads + h) * valueSize, // v, y [B,T,H,V]
    state: (i * heads + h) * keySize * valueSize, // [B,H,K,V]
  };
}

/** Calls `body` for every sequence and head. */
function eachHead({ batch, heads }: DeltaRuleSizes, body: (i: number, h: number) => void): void {
  for (let i = 0; i < batch; i++) for (let h = 0; h < heads; h++) body(i, h);
}

export const deltaRule: KernelsOf<typeof deltaRuleKernels> = {
  deltaRule({ q, k, v, a, remove, write, state, y, final, ...sizes }) {
    const [qs, ks, vs, as, rs, ws, ys, fs] = [data(q), data(k), data(v), data(a), data(remove), data(write), data(y), data(final)];
    const initial = optional(state);
    const { time, keySize: K, valueSize: V, scale } = sizes;
    eachHead(sizes, (i, h) => {
      const at = indexing(sizes, i, h);
      const S = Float64Array.from({ length: K * V }, (_, j) => initial?.[at.state + j] ?? 0);
      for (let t = 0; t < time; t++) {
        const [key, value] = [at.key(t), at.value(t)];
        for (let j = 0; j < V; j++) {
          let removed = 0;
          for (let n = 0; n < K; n++) removed += S[n * V + j]! * rs[key + n]!;
          let sum = 0;
          for (let n = 0; n < K; n++) {
            const next = Math.exp(as[key + n]!) * S[n * V + j]! + ws[key + n]! * removed + ks[key + n]! * vs[value + j]!;
            S[n * V + j] = next;
            sum += next * qs[key + n]!;
          }
          ys[value + j] = scale * sum;
        }
      }
      fs.set(S, at.state);
    });
    return {};
  },

  // Nothing is saved: all states of one head at a time (T · K · V numbers) are computed again.
  deltaRuleGradient({ q, k, v, a, remove, write, state, dy, dfinal, dq, dk, dv, da, dremove, dwrite, dstate, ...sizes }) {
    const [qs, ks, vs, as, rs, ws, gys] = [data(q), data(k), data(v), data(a), data(remove), data(write), data(dy)];
    const [gq, gk, gv, ga, gr, gw] = [data(dq), data(dk), data(dv), data(da), data(dremove), data(dwrite)];
    const [initial, gfs, gs] = [optional(state), optional(dfinal), optional(dstate)];
    const { time, keySize: K, valueSize: V, scale } = sizes;
    for (const sum of [gq, gk, ga, gr, gw]) sum.fill(0);
    eachHead(sizes, (i, h) => {
      const at = indexing(sizes, i, h);
      const states = new Float64Array((time + 1) * K * V); // states[t] comes before step t
      const removed = new Float64Array(time * V);
      if (initial) states.set(initial.subarray(at.state, at.state + K * V));
      for (let t = 0; t < time; t++) {
        const [key, value] = [at.key(t), at.value(t)];
        for (let j = 0; j < V; j++) {
          let u = 0;
          for (let n = 0; n < K; n++) u += states[(t * K + n) * V + j]! * rs[key + n]!;
          removed[t * V + j] = u;
          for (let n = 0; n < K; n++) {
            states[((t + 1) * K + n) * V + j] =
              Math.exp(as[key + n]!) * states[(t * K + n) * V + j]! + ws[key + n]! * u + ks[key + n]! * vs[value + j]!;
          }
        }
      }
      const G = Float64Array.from({ length: K * V }, (_, j) => gfs?.[at.state + j] ?? 0);
      for (let t = time - 1; t >= 0; t--) {
        const [key, value] = [at.key(t), at.value(t)];
        for (let j = 0; j < V; j++) {
          const dyj = scale * gys[value + j]!;
          let [x, p] = [0, 0]; // of column j: Gᵀ write, Gᵀ k
          for (let n = 0; n < K; n++) {
            G[n * V + j] = G[n * V + j]! + qs[key + n]! * dyj;
            x += G[n * V + j]! * ws[key + n]!;
            p += G[n * V + j]! * ks[key + n]!;
          }
          gv[value + j] = p;
          for (let n = 0; n < K; n++) {
            const [g, before, decay] = [G[n * V + j]!, states[(t * K + n) * V + j]!, Math.exp(as[key + n]!)];
            gq[key + n] = gq[key + n]! + states[((t + 1) * K + n) * V + j]! * dyj;
            gk[key + n] = gk[key + n]! + g * vs[value + j]!;
            gw[key + n] = gw[key + n]! + g * removed[t * V + j]!;
            gr[key + n] = gr[key + n]! + before * x;
            ga[key + n] = ga[key + n]! + decay * g * before;
            G[n * V + j] = decay * g + rs[key + n]! * x; // now the derivative by the state before step t
          }
        }
      }
      gs?.set(G, at.state);
    });
  },
};
