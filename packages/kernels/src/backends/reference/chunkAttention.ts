/** Chunk cross-attention query by query: to be read beside ops/chunkAttention.ts. */
import type { ChunkAttentionInputs, chunkAttentionKernels, ChunkAttentionSizes } from "../../ops/chunkAttention";
import type { KernelsOf } from "../../signature";
import { Tensor } from "../../tensor";
import { data } from "./data";

type Given = ChunkAttentionSizes & Omit<ChunkAttentionInputs, "weights"> & { readonly scale: number };

/** One query of one head in one slot that is not empty: where its numbers lie, and its scores. */
interface Visit {
  /** q, out [B,T,Hq,D] */
  readonly query: number;
  /** indices, weights [B,C,K] */
  readonly slot: number;
  /** logSums [B,T,Hq,K] */
  readonly sum: number;
  /** Positions in the chunk. */
  readonly length: number;
  /** keys, values [B,M,S,Hk,D] at position s. */
  readonly position: (s: number) => number;
  /** z_s */
  readonly scores: readonly number[];
}

function dot(x: ArrayLike<number>, i: number, y: ArrayLike<number>, j: number, n: number): number {
  let sum = 0;
  for (let d = 0; d < n; d++) sum += x[i + d]! * y[j + d]!;
  return sum;
}

/** Calls `body` for every block, slot and query that meet, in this order. */
function eachVisit(given: Given, body: (visit: Visit) => void): void {
  const { batch, queries, heads, keyHeads, headSize, chunks, chunkSize, blocks, slots, scale } = given;
  const [qs, keys, indices, offsets] = [data(given.q), data(given.keys), data(given.indices), data(given.offsets)];
  const lengths = given.lengths ? data(given.lengths) : null;
  for (let b = 0; b < batch; b++) {
    let end = 0;
    for (let c = 0; c < blocks; c++) {
      const clamped = (i: number) => Math.max(end, Math.min(queries, offsets[b * (blocks + 1) + i]!));
      const start = (end = clamped(c));
      end = clamped(c + 1);
      for (let k = 0; k < slots; k++) {
        const slot = (b * blocks + c) * slots + k;
        const m = indices[slot]!;
        if (m < 0 || m >= chunks) continue;
        const length = lengths ? Math.min(chunkSize, lengths[b * chunks + m]!) : chunkSize;
        if (length <= 0) continue;
        for (let t = start; t < end; t++) {
          for (let h = 0; h < heads; h++) {
            const row = (b * queries + t) * heads + h;
            const query = row * headSize;
            const head = Math.floor((h * keyHeads) / heads);
            const position = (s: number) => (((b * chunks + m) * chunkSize + s) * keyHeads + head) * headSize;
            const scores = Array.from({ length }, (_, s) => scale * dot(qs, query, keys, position(s), headSize));
            body({ query, slot, sum: row * slots + k, length, position, scores });
          }
        }
      }
    }
  }
}

export const chunkAttention: KernelsOf<typeof chunkAttentionKernels> = {
  chunkAttention({ out, recording, weights, offByOne, ...given }) {
    const { batch, queries, heads, slots } = given;
    const logSums = recording ? Tensor.empty(out.device, [batch, queries, heads, slots], out.dtype) : undefined;
    const [values, ws, os] = [data(given.values), data(weights), data(out)];
    const sums = logSums && data(logSums);
    const total = new Float64Array(os.length);
    eachVisit(given, ({ query, slot, sum, length, position, scores }) => {
      const largest = Math.max(...scores, offByOne ? 0 : -Infinity);
      const exps = scores.map((z) => Math.exp(z - largest));
      const denominator = exps.reduce((x, y) => x + y, offByOne ? Math.exp(-largest) : 0);
      if (sums) sums[sum] = largest + Math.log(denominator);
      for (let s = 0; s < length; s++) {
        const share = (ws[slot]! * exps[s]!) / denominator;
        for (let d = 0; d < given.headSize; d++) total[query + d]! += share * values[position(s) + d]!;
      }
    });
    os.set(total);
    return logSums ? { logSums } : {};
  },

  chunkAttentionGradient({ saved: { logSums }, weights, dout, dq, dkeys, dvalues, dweights, ...given }) {
    const [qs, keys, values, ws, sums, gos] = [data(given.q), data(given.keys), data(given.values), data(weights),
      data(logSums), data(dout)];
    const [gq, gkeys, gvalues, gweights] = [dq, dkeys, dvalues, dweights].map((t) => (t ? new Float64Array(t.size) : null));
    const { headSize: D, scale } = given;
    eachVisit(given, ({ query, slot, sum, length, position, scores }) => {
      const p = scores.map((z) => Math.exp(z - sums[sum]!));
      const dp = Array.from({ length }, (_, s) => dot(gos, query, values, position(s), D));
      const delta = dot(p, 0, dp, 0, length);
      if (gweights) gweights[slot]! += delta;
      for (let s = 0; s < length; s++) {
        const share = ws[slot]! * p[s]!;
        const dz = scale * share * (dp[s]! - delta);
        const at = position(s);
        for (let d = 0; d < D; d++) {
          if (gq) gq[query + d]! += dz * keys[at + d]!;
          if (gkeys) gkeys[at + d]! += dz * qs[query + d]!;
          if (gvalues) gvalues[at + d]! += share * gos[query + d]!;
        }
      }
    });
    for (const [t, sum] of [[dq, gq], [dkeys, gkeys], [dvalues, gvalues], [dweights, gweights]] as const) if (t) data(t).set(sum!);
  },
};
