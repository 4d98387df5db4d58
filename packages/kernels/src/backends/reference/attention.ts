/** Attention one query and head at a time: to be read beside ops/attention.ts. */
import type { AttentionInputs, attentionKernels, AttentionSizes } from "../../ops/attention";
import type { KernelsOf } from "../../signature";
import { Tensor } from "../../tensor";
import { data } from "./data";

type Args = AttentionInputs & AttentionSizes;

/** A query row: where its numbers start, and the keys that it sees. */
interface Row {
  /** (b · T + t) · Hq + h */
  readonly index: number;
  /** Where key j of its head starts in k and v. */
  key(j: number): number;
  readonly first: number;
  readonly end: number;
  /** Scores of the keys first ... end - 1. */
  readonly scores: Float64Array;
}

/** Calls `body` for each query that counts and each of its heads. */
function eachRow(args: Args, body: (row: Row) => void): void {
  const { batch, time, keys, heads, keyHeads, headSize, causal, window, scale } = args;
  const [qs, ks] = [data(args.q), data(args.k)];
  const slopes = args.slopes && data(args.slopes);
  const lengths = args.lengths && data(args.lengths);
  for (let b = 0; b < batch; b++) {
    const length = Math.min(keys, Math.max(0, lengths?.[b] ?? keys));
    for (let t = 0; t < time; t++) {
      const p = keys - time + t;
      if (p >= length) continue;
      for (let h = 0; h < heads; h++) {
        const index = (b * time + t) * heads + h;
        const keyHead = Math.floor((h * keyHeads) / heads);
        const key = (j: number) => ((b * keys + j) * keyHeads + keyHead) * headSize;
        const first = causal ? Math.max(0, p - window + 1) : 0;
        const end = causal ? p + 1 : length;
        const scores = Float64Array.from({ length: end - first }, (_, i) => {
          let dot = 0;
          for (let n = 0; n < headSize; n++) dot += qs[index * headSize + n]! * ks[key(first + i) + n]!;
          return scale * dot - (slopes?.[h] ?? 0) * Math.abs(p - (first + i));
        });
        body({ index, key, first, end, scores });
      }
    }
  }
}

export const attention: KernelsOf<typeof attentionKernels> = {
  attention({ out, recording, ...args }) {
    const { batch, time, heads, headSize } = args;
    const lse = recording ? Tensor.empty(out.device, [batch, time, heads], out.dtype) : undefined;
    const [vs, os, ls] = [data(args.v), data(out), lse && data(lse)];
    os.fill(0);
    eachRow(args, ({ index, key, first, scores }) => {
      const most = scores.reduce((a, b) => Math.max(a, b));
      const total = scores.reduce((sum, s) => sum + Math.exp(s - most), 0);
      if (ls) ls[index] = most + Math.log(total);
      for (let n = 0; n < headSize; n++) {
        let sum = 0;
        scores.forEach((s, i) => (sum += (Math.exp(s - most) / total) * vs[key(first + i) + n]!));
        os[index * headSize + n] = sum;
      }
    });
    return lse ? { lse } : {};
  },

  attentionGradient({ out, saved: { lse }, dout, dq, dk, dv, ...args }) {
    const [qs, ks, vs, os, ls, gs] = [data(args.q), data(args.k), data(args.v), data(out), data(lse), data(dout)];
    const [gq, gk, gv] = [data(dq), data(dk), data(dv)];
    const { headSize, scale } = args;
    // Sums over queries in float64, whatever the tensors hold.
    const [sumsK, sumsV] = [new Float64Array(gk.length), new Float64Array(gv.length)];
    gq.fill(0);
    eachRow(args, ({ index, key, first, scores }) => {
      const row = index * headSize;
      let delta = 0;
      for (let n = 0; n < headSize; n++) delta += gs[row + n]! * os[row + n]!;
      const sumQ = new Float64Array(headSize);
      scores.forEach((s, i) => {
        const at = key(first + i);
        const probability = Math.exp(s - ls[index]!);
        let dprobability = 0;
        for (let n = 0; n < headSize; n++) dprobability += gs[row + n]! * vs[at + n]!;
        const dscore = scale * probability * (dprobability - delta);
        for (let n = 0; n < headSize; n++) {
          sumQ[n]! += dscore * ks[at + n]!;
          sumsK[at + n]! += dscore * qs[row + n]!;
          sumsV[at + n]! += probability * gs[row + n]!;
        }
      });
      gq.set(sumQ, row);
    });
    gk.set(sumsK);
    gv.set(sumsV);
  },
};
