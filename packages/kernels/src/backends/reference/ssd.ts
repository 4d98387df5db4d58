/** The scan as the recurrence that it is, one head at a time: to be read beside ops/ssd.ts. */
import type { ssdKernels, SsdSizes } from "../../ops/ssd";
import type { KernelsOf } from "../../signature";
import type { Tensor } from "../../tensor";
import { data } from "./data";

const optional = (t: Tensor | null) => (t ? data(t) : null);

/** Where head h of sequence i finds its numbers at step t. */
function indexing({ time, heads, headSize, groups, stateSize }: SsdSizes, i: number, h: number) {
  const group = Math.floor((h * groups) / heads);
  return {
    scalar: (t: number) => (i * time + t) * heads + h, // dt, a [B,T,H]
    vector: (t: number) => ((i * time + t) * heads + h) * headSize, // x, y [B,T,H,P]
    shared: (t: number) => ((i * time + t) * groups + group) * stateSize, // b, c [B,T,G,N]
    state: (i * heads + h) * headSize * stateSize, // [B,H,P,N]
  };
}

/** Calls `body` for every sequence and head. */
function eachHead({ batch, heads }: SsdSizes, body: (i: number, h: number) => void): void {
  for (let i = 0; i < batch; i++) for (let h = 0; h < heads; h++) body(i, h);
}

export const ssd: KernelsOf<typeof ssdKernels> = {
  ssd({ x, dt, a, b, c, d, state, y, final, ...sizes }) {
    const [xs, dts, as, bs, cs, ys, fs] = [data(x), data(dt), data(a), data(b), data(c), data(y), data(final)];
    const [ds, initial] = [optional(d), optional(state)];
    const { time, headSize: P, stateSize: N } = sizes;
    eachHead(sizes, (i, h) => {
      const at = indexing(sizes, i, h);
      const S = Float64Array.from({ length: P * N }, (_, j) => initial?.[at.state + j] ?? 0);
      for (let t = 0; t < time; t++) {
        const decay = Math.exp(as[at.scalar(t)]!);
        const [v, g] = [at.vector(t), at.shared(t)];
        for (let p = 0; p < P; p++) {
          let sum = (ds?.[h] ?? 0) * xs[v + p]!;
          for (let n = 0; n < N; n++) {
            S[p * N + n] = decay * S[p * N + n]! + dts[at.scalar(t)]! * xs[v + p]! * bs[g + n]!;
            sum += S[p * N + n]! * cs[g + n]!;
          }
          ys[v + p] = sum;
        }
      }
      fs.set(S, at.state);
    });
    return {};
  },

  // Nothing is saved: all states of one head at a time (T · P · N numbers) are computed again.
  ssdGradient({ x, dt, a, b, c, d, state, dy, dfinal, dx, ddt, da, db, dc, dd, dstate, ...sizes }) {
    const [xs, dts, as, bs, cs] = [data(x), data(dt), data(a), data(b), data(c)];
    const [ds, initial, gys, gfs] = [optional(d), optional(state), data(dy), optional(dfinal)];
    const [gx, gdt, ga, gb, gc] = [data(dx), data(ddt), data(da), data(db), data(dc)];
    const [gd, gs] = [optional(dd), optional(dstate)];
    const { time, headSize: P, stateSize: N } = sizes;
    for (const sum of [gb, gc, gd]) sum?.fill(0);
    eachHead(sizes, (i, h) => {
      const at = indexing(sizes, i, h);
      const states = new Float64Array((time + 1) * P * N); // states[t] comes before step t
      if (initial) states.set(initial.subarray(at.state, at.state + P * N));
      for (let t = 0; t < time; t++) {
        const decay = Math.exp(as[at.scalar(t)]!);
        for (let p = 0; p < P; p++) {
          const input = dts[at.scalar(t)]! * xs[at.vector(t) + p]!;
          for (let n = 0; n < N; n++) {
            states[((t + 1) * P + p) * N + n] = decay * states[(t * P + p) * N + n]! + input * bs[at.shared(t) + n]!;
          }
        }
      }
      const G = Float64Array.from({ length: P * N }, (_, j) => gfs?.[at.state + j] ?? 0);
      for (let t = time - 1; t >= 0; t--) {
        const [s, v, g] = [at.scalar(t), at.vector(t), at.shared(t)];
        const decay = Math.exp(as[s]!);
        let [stepGradient, decayGradient] = [0, 0];
        for (let p = 0; p < P; p++) {
          const dyp = gys[v + p]!;
          let Gb = 0;
          for (let n = 0; n < N; n++) {
            const j = p * N + n;
            G[j] = G[j]! + dyp * cs[g + n]!;
            Gb += G[j] * bs[g + n]!;
            gb[g + n] = gb[g + n]! + dts[s]! * G[j] * xs[v + p]!;
            gc[g + n] = gc[g + n]! + states[(t + 1) * P * N + j]! * dyp;
            decayGradient += decay * G[j] * states[t * P * N + j]!;
            G[j] = G[j] * decay; // now the derivative by the state before step t
          }
          gx[v + p] = dts[s]! * Gb + (ds?.[h] ?? 0) * dyp;
          stepGradient += xs[v + p]! * Gb;
          if (gd) gd[h] = gd[h]! + dyp * xs[v + p]!;
        }
        gdt[s] = stepGradient;
        ga[s] = decayGradient;
      }
      gs?.set(G, at.state);
    });
  },
};
