/** The recurrence as it is, one head at a time: to be read beside ops/gatedLinearAttention.ts. */
import type { gatedLinearAttentionKernels, GatedLinearAttentionSizes } from "../../ops/gatedLinearAttention";
import type { KernelsOf } from "../../signature";
import type { Tensor } from "../../tensor";
import { data } from "./data";

const optional = (t: Tensor | null) => (t ? data(t) : null);

/** Calls `body` for every sequence and head, with where its numbers are. */
function eachHead(
  { batch, heads, time, keySize, valueSize }: GatedLinearAttentionSizes,
  body: (at: { key(t: number): number; value(t: number): number; state: number; bonus: number }) => void,
): void {
  for (let i = 0; i < batch; i++) {
    for (let h = 0; h < heads; h++) {
      body({
        key: (t) => ((i * time + t) * heads + h) * keySize, // q, k, a [B,T,H,K]
        value: (t) => ((i * time + t) * heads + h) * valueSize, // v, y [B,T,H,V]
        state: (i * heads + h) * keySize * valueSize, // [B,H,K,V]
        bonus: h * keySize, // [H,K]
      });
    }
  }
}

export const gatedLinearAttention: KernelsOf<typeof gatedLinearAttentionKernels> = {
  gatedLinearAttention({ q, k, v, a, bonus, state, y, final, scale, ...rest }) {
    const [qs, ks, vs, as, ys, fs] = [data(q), data(k), data(v), data(a), data(y), data(final)];
    const [us, initial] = [optional(bonus), optional(state)];
    const { time, keySize: K, valueSize: V } = rest;
    eachHead({ ...rest, scale }, (at) => {
      const S = Float64Array.from({ length: K * V }, (_, j) => initial?.[at.state + j] ?? 0);
      for (let t = 0; t < time; t++) {
        const [key, value] = [at.key(t), at.value(t)];
        const sums = new Float64Array(V);
        for (let i = 0; i < K; i++) {
          const decay = Math.exp(as[key + i]!);
          for (let j = 0; j < V; j++) {
            const [before, input] = [S[i * V + j]!, ks[key + i]! * vs[value + j]!];
            S[i * V + j] = decay * before + input;
            sums[j] = sums[j]! + qs[key + i]! * (us ? before + us[at.bonus + i]! * input : S[i * V + j]!);
          }
        }
        for (let j = 0; j < V; j++) ys[value + j] = scale * sums[j]!;
      }
      fs.set(S, at.state);
    });
    return {};
  },

  // Nothing is saved: all states of one head at a time (T · K · V numbers) are computed again.
  gatedLinearAttentionGradient({ q, k, v, a, bonus, state, dy, dfinal, dq, dk, dv, da, dbonus, dstate, scale, ...rest }) {
    const [qs, ks, vs, as, gys] = [data(q), data(k), data(v), data(a), data(dy)];
    const [us, initial, gfs] = [optional(bonus), optional(state), optional(dfinal)];
    const [gq, gk, gv, ga, gu, gs] = [data(dq), data(dk), data(dv), data(da), optional(dbonus), optional(dstate)];
    const { time, keySize: K, valueSize: V } = rest;
    const bonusSum = new Float64Array(rest.heads * K);
    eachHead({ ...rest, scale }, (at) => {
      const states = new Float64Array((time + 1) * K * V); // states[t] comes before step t
      if (initial) states.set(initial.subarray(at.state, at.state + K * V));
      for (let t = 0; t < time; t++) {
        for (let i = 0; i < K; i++) {
          const decay = Math.exp(as[at.key(t) + i]!);
          for (let j = 0; j < V; j++) {
            states[((t + 1) * K + i) * V + j] = decay * states[(t * K + i) * V + j]! + ks[at.key(t) + i]! * vs[at.value(t) + j]!;
          }
        }
      }
      const G = Float64Array.from({ length: K * V }, (_, j) => gfs?.[at.state + j] ?? 0);
      for (let t = time - 1; t >= 0; t--) {
        const [key, value] = [at.key(t), at.value(t)];
        const read = (us ? t : t + 1) * K * V; // the state that q_t reads
        const gvs = new Float64Array(V);
        let w = 0;
        for (let j = 0; j < V; j++) w += vs[value + j]! * gys[value + j]!;
        for (let i = 0; i < K; i++) {
          const [query, keyed, decay] = [scale * qs[key + i]!, ks[key + i]!, Math.exp(as[key + i]!)];
          const extra = us ? us[at.bonus + i]! : 0;
          let [queryGradient, keyGradient, decayGradient] = [extra * keyed * w, extra * query * w, 0];
          if (us) bonusSum[at.bonus + i] = bonusSum[at.bonus + i]! + query * keyed * w;
          for (let j = 0; j < V; j++) {
            const [n, gy] = [i * V + j, gys[value + j]!];
            const after = G[n]! + (us ? 0 : query * gy); // the derivative by the state after step t
            queryGradient += states[read + n]! * gy;
            keyGradient += after * vs[value + j]!;
            gvs[j] = gvs[j]! + (after + extra * query * gy) * keyed;
            decayGradient += decay * after * states[t * K * V + n]!;
            G[n] = decay * after + (us ? query * gy : 0); // by the state before
          }
          gq[key + i] = scale * queryGradient;
          gk[key + i] = keyGradient;
          ga[key + i] = decayGradient;
        }
        gv.set(gvs, value);
      }
      gs?.set(G, at.state);
    });
    gu?.set(bonusSum);
  },
};
