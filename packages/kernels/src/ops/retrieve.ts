/**
 * Retrieval of landmarks by queries, one per chunk of a sequence: each query finds the k landmarks of past chunks that fit
 * it best, and how much each counts (grouped cross attention, Hu et al. 2024, "Efficient length-generalizable attention
 * via causal retrieval for long-context language modeling"). Query c is that of chunk number first + c and sees the
 * landmarks j < min(M, first + c):
 *
 *   s_j = q · l_j / √D,   I = the k visible j with the largest s_j + g_j, by descending s_j + g_j, the lower j first where they are equal
 *   w_i = exp(s_{I_i}) / Σ_i' exp(s_{I_i'})
 *
 * g is 0, or Gumbel noise for training (perturbed top-k draws without replacement, Kool et al. 2019): g = -ln(-ln u) with
 * u = (2·⌊word / 2⁹⌋ + 1) · 2⁻²⁴, from word (b·C + c)·M + j of the key (random.ts). A score that is not finite is not
 * seen. Scores pass in tiles; no device holds C × M of them.
 *
 * Gradient, with the choice I as a constant:
 *   ds_i = w_i (dw_i - Σ_i' w_i' dw_i'),   dq = Σ_i ds_i l_{I_i} / √D,   dl_j = Σ over (c,i) with I_{c,i} = j of ds_{c,i} q_c / √D
 */
import { check } from "../errors";
import { kernelsOf } from "../kernels";
import { apply, like, type Op } from "../op";
import type { Key } from "../random";
import { showShape } from "../shape";
import type { Family } from "../signature";
import type { Tensor } from "../tensor";
import { checkReal } from "./checks";

/** The largest k: a group of a GPU ranks so many at once. */
export const MOST_RETRIEVED = 256;

export interface RetrieveSizes {
  readonly batch: number;
  /** Queries of a sequence, C. */
  readonly queryCount: number;
  /** Landmarks of a sequence, M, whether visible or not. */
  readonly landmarkCount: number;
  readonly width: number;
  readonly k: number;
}

/** Rows of `landmarks` beyond what is visible may hold anything. */
const inputs = { queries: "[batch,queryCount,width]", landmarks: "[batch,landmarkCount,width]" } as const;

export const retrieveKernels = {
  /** -1 and 0 where nothing is left to see. `first` is at most landmarkCount. */
  retrieve: {
    numbers: { batch: "size", queryCount: "size", landmarkCount: "size", width: "size", k: "size", first: "size", noise: "key?" },
    reads: inputs,
    writes: { indices: "i32[batch,queryCount,k]", weights: "[batch,queryCount,k]" },
  },
  retrieveGradient: {
    numbers: { batch: "size", queryCount: "size", landmarkCount: "size", width: "size", k: "size" },
    reads: { ...inputs, indices: "i32[batch,queryCount,k]", weights: "[batch,queryCount,k]", dweights: "[batch,queryCount,k]" },
    writes: { dqueries: "[batch,queryCount,width]?", dlandmarks: "[batch,landmarkCount,width]?" },
  },
} as const satisfies Family;

const kernels = kernelsOf<typeof retrieveKernels>;

/** How many landmarks query number `query` sees. */
export function visibleLandmarks(query: number, first: number, landmarkCount: number): number {
  return Math.min(landmarkCount, first + query);
}

interface RetrieveAttributes {
  readonly k: number;
  readonly first: number;
  readonly noise: Key | null;
}

function sizesOf(queries: Tensor, landmarks: Tensor, k: number): RetrieveSizes {
  const [batch, queryCount, width] = queries.shape as [number, number, number];
  return { batch, queryCount, landmarkCount: landmarks.shape[1]!, width, k };
}

const retrieveOp: Op<{ queries: Tensor; landmarks: Tensor }, { indices: Tensor; weights: Tensor }, RetrieveAttributes> = {
  name: "retrieve",
  outputs({ queries, landmarks }, { k, first }) {
    check(queries.shape.length === 3 && queries.shape[2]! >= 1, "E_SHAPE", () =>
      `retrieve: queries ${showShape(queries.shape)} must be [B,C,D] with D >= 1`);
    check(landmarks.shape.length === 3 && landmarks.shape[0] === queries.shape[0] && landmarks.shape[2] === queries.shape[2],
      "E_SHAPE", () =>
      `retrieve: landmarks ${showShape(landmarks.shape)} must be [B,M,D] with B and D as in queries ${showShape(queries.shape)}`);
    checkReal("retrieve", { queries, landmarks });
    check(Number.isSafeInteger(k) && k >= 1 && k <= MOST_RETRIEVED, "E_ARGUMENT", () =>
      `retrieve: k ${k} must be a whole number from 1 to ${MOST_RETRIEVED}`);
    check(Number.isSafeInteger(first) && first >= 0, "E_ARGUMENT", () => `retrieve: first ${first} must be a whole number, at least 0`);
    const shape = [queries.shape[0]!, queries.shape[1]!, k];
    return { indices: { shape, dtype: "i32" }, weights: { shape, dtype: queries.dtype } };
  },
  forward({ queries, landmarks }, { indices, weights }, { k, first, noise }) {
    if (indices.size === 0) return;
    const all = sizesOf(queries, landmarks, k);
    // What lies beyond all landmarks changes nothing, and sums with it stay exact.
    kernels(queries).retrieve({ queries, landmarks, indices, weights, first: Math.min(first, all.landmarkCount), noise, ...all });
  },
  gradient({ inputs: { queries, landmarks }, outputs: { indices, weights }, attributes: { k }, wanted }, { weights: dweights }) {
    if (!dweights) return {};
    const dqueries = wanted.queries ? like(queries) : null;
    const dlandmarks = wanted.landmarks ? like(landmarks) : null;
    kernels(queries).retrieveGradient({ queries, landmarks, indices, weights, dweights, dqueries, dlandmarks,
      ...sizesOf(queries, landmarks, k) });
    return { queries: dqueries, landmarks: dlandmarks };
  },
};

/**
 * Retrieves for each query the k best of the past landmarks, and the softmax of their scores q · l / √D:
 * queries [B,C,D], landmarks [B,M,D] -> indices i32 and weights, both [B,C,k].
 * Query c sees the landmarks below min(M, first + c); where fewer than k are visible, the rest has index -1 and weight
 * 0. Rows of `landmarks` beyond what is visible are never read into the results: a memory may have spare room.
 * `noise` adds Gumbel noise of that key to the scores that are ranked, not to those that are weighted.
 * Gradients of queries and landmarks flow through the weights; the choice is a constant.
 * Throws `E_SHAPE`, `E_DTYPE` (both inputs share one float type) and `E_ARGUMENT` (k from 1 to 256, first >= 0).
 */
export function retrieve(
  inputs: { queries: Tensor; landmarks: Tensor },
  options: { k: number; first?: number; noise?: Key },
): { indices: Tensor; weights: Tensor } {
  const { k, first = 0, noise = null } = options;
  return apply(retrieveOp, { queries: inputs.queries, landmarks: inputs.landmarks }, { k, first, noise });
}

/**
 * Floating-point operations (a multiply-add is two) that retrieval needs: the products with all visible landmarks, and
 * those of the kept ones in the gradient.
 */
export function retrieveOperations(sizes: RetrieveSizes & { first?: number }): { forward: number; gradient: number } {
  const { batch, queryCount, landmarkCount, width, k, first = 0 } = sizes;
  let [pairs, kept] = [0, 0];
  for (let c = 0; c < queryCount; c++) {
    const visible = visibleLandmarks(c, first, landmarkCount);
    pairs += visible;
    kept += Math.min(k, visible);
  }
  return { forward: 2 * batch * pairs * width, gradient: 4 * batch * kept * width };
}
