/** The selective scan as the recurrence that it is, one channel at a time: to be read beside ops/selectiveScan.ts. */
import type { selectiveScanKernels, SelectiveScanSizes } from "../../ops/selectiveScan";
import type { KernelsOf } from "../../signature";
import type { Tensor } from "../../tensor";
import { data } from "./data";

const optional = (t: Tensor | null) => (t ? data(t) : null);

/** Where channel h of sequence i finds its numbers. */
function indexing({ time, channels, groups, stateSize }: SelectiveScanSizes, i: number, h: number) {
  const group = Math.floor((h * groups) / channels);
  return {
    scalar: (t: number) => (i * time + t) * channels + h, // x, dt, y [B,T,D]
    shared: (t: number) => ((i * time + t) * groups + group) * stateSize, // b, c [B,T,G,N]
    rate: h * stateSize, // a [D,N]
    state: (i * channels + h) * stateSize, // [B,D,N]
  };
}

/** Calls `body` for every sequence and channel. */
function eachChannel({ batch, channels }: SelectiveScanSizes, body: (i: number, h: number) => void): void {
  for (let i = 0; i < batch; i++) for (let h = 0; h < channels; h++) body(i, h);
}

export const selectiveScan: KernelsOf<typeof selectiveScanKernels> = {
  selectiveScan({ x, dt, a, b, c, d, state, y, final, ...sizes }) {
    const [xs, dts, as, bs, cs, ys, fs] = [data(x), data(dt), data(a), data(b), data(c), data(y), data(final)];
    const [ds, initial] = [optional(d), optional(state)];
    const { time, stateSize: N } = sizes;
    eachChannel(sizes, (i, h) => {
      const at = indexing(sizes, i, h);
      const S = Float64Array.from({ length: N }, (_, n) => initial?.[at.state + n] ?? 0);
      for (let t = 0; t < time; t++) {
        const [s, g] = [at.scalar(t), at.shared(t)];
        let sum = (ds?.[h] ?? 0) * xs[s]!;
        for (let n = 0; n < N; n++) {
          S[n] = Math.exp(dts[s]! * as[at.rate + n]!) * S[n]! + dts[s]! * xs[s]! * bs[g + n]!;
          sum += S[n]! * cs[g + n]!;
        }
        ys[s] = sum;
      }
      fs.set(S, at.state);
    });
    return {};
  },

  // Nothing is saved: all states of one channel at a time (T · N numbers) are computed again.
  selectiveScanGradient({ x, dt, a, b, c, d, state, dy, dfinal, dx, ddt, da, db, dc, dd, dstate, ...sizes }) {
    const [xs, dts, as, bs, cs] = [data(x), data(dt), data(a), data(b), data(c)];
    const [ds, initial, gys, gfs] = [optional(d), optional(state), data(dy), optional(dfinal)];
    const [gx, gdt, gb, gc] = [data(dx), data(ddt), data(db), data(dc)];
    const [gd, gs] = [optional(dd), optional(dstate)];
    const { time, stateSize: N } = sizes;
    // In float64 until the end, since these add up over many steps and channels.
    const [ga, sumB, sumC, sumD] = [as, bs, cs, ds ?? []].map((like) => new Float64Array(like.length)) as Float64Array[] &
      [Float64Array, Float64Array, Float64Array, Float64Array];
    eachChannel(sizes, (i, h) => {
      const at = indexing(sizes, i, h);
      const states = new Float64Array((time + 1) * N); // states[t] comes before step t
      if (initial) states.set(initial.subarray(at.state, at.state + N));
      for (let t = 0; t < time; t++) {
        const [s, g] = [at.scalar(t), at.shared(t)];
        for (let n = 0; n < N; n++) {
          states[(t + 1) * N + n] = Math.exp(dts[s]! * as[at.rate + n]!) * states[t * N + n]! + dts[s]! * xs[s]! * bs[g + n]!;
        }
      }
      const G = Float64Array.from({ length: N }, (_, n) => gfs?.[at.state + n] ?? 0);
      for (let t = time - 1; t >= 0; t--) {
        const [s, g] = [at.scalar(t), at.shared(t)];
        let [inputGradient, stepGradient] = [0, 0];
        for (let n = 0; n < N; n++) {
          const here = G[n]! + gys[s]! * cs[g + n]!;
          inputGradient += here * bs[g + n]!;
          sumB[g + n] = sumB[g + n]! + dts[s]! * xs[s]! * here;
          sumC[g + n] = sumC[g + n]! + gys[s]! * states[(t + 1) * N + n]!;
          const before = here * Math.exp(dts[s]! * as[at.rate + n]!);
          G[n] = before;
          const w = before * states[t * N + n]!;
          stepGradient += w * as[at.rate + n]!;
          ga[at.rate + n] = ga[at.rate + n]! + dts[s]! * w;
        }
        gx[s] = dts[s]! * inputGradient + (ds?.[h] ?? 0) * gys[s]!;
        gdt[s] = xs[s]! * inputGradient + stepGradient;
        if (gd) sumD[h] = sumD[h]! + gys[s]! * xs[s]!;
      }
      gs?.set(G, at.state);
    });
    data(da).set(ga);
    gb.set(sumB);
    gc.set(sumC);
    gd?.set(sumD);
  },
};
