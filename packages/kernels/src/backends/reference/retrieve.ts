import { type retrieveKernels, visibleLandmarks } from "../../ops/retrieve";
import { type Key, threefry2x32 } from "../../random";
import type { KernelsOf } from "../../signature";
import { data } from "./data";

const TWO_32 = 2 ** 32;

/** -ln(-ln u) with u in (0, 1) from a word of the key. */
function gumbel(key: Key, word: number): number {
  const block = Math.floor(word / 2);
  const bits = threefry2x32(key, block >>> 0, Math.floor(block / TWO_32))[word % 2]!;
  return -Math.log(-Math.log((2 * (bits >>> 9) + 1) * 2 ** -24));
}

interface Candidate {
  readonly index: number;
  readonly score: number;
  readonly rank: number;
}

export const retrieve: KernelsOf<typeof retrieveKernels> = {
  retrieve({ queries, landmarks, first, noise, indices, weights, batch, queryCount, landmarkCount, width, k }) {
    const [q, l, index, weight] = [data(queries), data(landmarks), data(indices), data(weights)];
    index.fill(-1);
    weight.fill(0);
    for (let row = 0; row < batch * queryCount; row++) {
      const firstLandmark = Math.floor(row / queryCount) * landmarkCount;
      const candidates: Candidate[] = [];
      for (let j = 0; j < visibleLandmarks(row % queryCount, first, landmarkCount); j++) {
        let dot = 0;
        for (let d = 0; d < width; d++) dot += q[row * width + d]! * l[(firstLandmark + j) * width + d]!;
        const score = dot / Math.sqrt(width);
        if (Number.isFinite(score))
          candidates.push({ index: j, score, rank: score + (noise ? gumbel(noise, row * landmarkCount + j) : 0) });
      }
      candidates.sort((a, b) => b.rank - a.rank || a.index - b.index);
      const kept = candidates.slice(0, k);
      const largest = kept.reduce((most, { score }) => Math.max(most, score), -Infinity);
      const total = kept.reduce((sum, { score }) => sum + Math.exp(score - largest), 0);
      kept.forEach((candidate, i) => {
        index[row * k + i] = candidate.index;
        weight[row * k + i] = Math.exp(candidate.score - largest) / total;
      });
    }
  },
  retrieveGradient({ queries, landmarks, indices, weights, dweights, dqueries, dlandmarks, batch, queryCount, landmarkCount, width, k }) {
    const [q, l, index, w, dw] = [data(queries), data(landmarks), data(indices), data(weights), data(dweights)];
    const dq = dqueries && data(dqueries);
    const dl = dlandmarks && data(dlandmarks);
    dq?.fill(0);
    dl?.fill(0);
    for (let row = 0; row < batch * queryCount; row++) {
      let inner = 0;
      for (let i = row * k; i < (row + 1) * k; i++) if (index[i]! >= 0) inner += w[i]! * dw[i]!;
      for (let i = row * k; i < (row + 1) * k; i++) {
        if (index[i]! < 0) continue;
        const ds = (w[i]! * (dw[i]! - inner)) / Math.sqrt(width);
        const landmark = Math.floor(row / queryCount) * landmarkCount + index[i]!;
        for (let d = 0; d < width; d++) {
          if (dq) dq[row * width + d] = dq[row * width + d]! + ds * l[landmark * width + d]!;
          if (dl) dl[landmark * width + d] = dl[landmark * width + d]! + ds * q[row * width + d]!;
        }
      }
    }
  },
};
