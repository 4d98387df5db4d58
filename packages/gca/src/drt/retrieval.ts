/**
 * Grouped retrieval: the landmark of each chunk picks chunks for the next one, once for a whole group of layers.
 *
 *   s_cj = RMSNorm_g(h_LMK(c)) · l_j / √D  for j < c,   the K best,   w = softmax of their scores
 *
 * Its row comes into force behind the landmark. So each pass begins with the row that the landmark before it left, which
 * is part of the state.
 */
import { chunkAttention, concat, full, type Key, linear, reshape, retrieve, rmsNorm, slice, type Tensor, zeros } from "@lenggen/kernels";
import type { DrtConfig } from "./config";
import type { UpperParameters } from "./parts";

/** Which chunks some landmarks picked: rows of K. */
export interface Retrieved {
  readonly [leaf: string]: Tensor;
  /** i32 [B,C,K]; -1 where there was nothing more to pick. */
  readonly indices: Tensor;
  /** [B,C,K]; 0 there. */
  readonly weights: Tensor;
}

/** Where the chunks that were picked can be read: rows of a memory, or of a copy with just these in it. */
export interface Readable {
  /** i32 [B,C,K]: rows of keys and values. */
  readonly indices: Tensor;
  /** [B,R,S,Hk,Dh] */
  readonly keys: Tensor;
  readonly values: Tensor;
  /** i32 [B,R]: tokens of each chunk. */
  readonly lengths: Tensor;
}

/** The row before any landmark: nothing. */
export function nothingRetrieved(c: DrtConfig, batch: number, like: { device: Tensor["device"]; dtype: Tensor["dtype"] }): Retrieved {
  const shape = [batch, 1, c.topK];
  return { indices: full(like.device, shape, -1, "i32"), weights: zeros(like.device, shape, like.dtype) };
}

/** The rows that hold in this pass: the one from before, then one for each landmark [B,C,D] of the pass, whose first has number `first`. */
export function retrieveRows(
  c: DrtConfig, queryNorm: Tensor, before: Retrieved, landmarks: Tensor | null, memory: Tensor, first: number, noise: Key | undefined,
): Retrieved {
  if (landmarks === null) return before;
  const queries = rmsNorm(landmarks, queryNorm, { eps: c.normEps });
  const fresh = retrieve({ queries, landmarks: memory }, { k: c.topK, first, ...(noise && { noise }) });
  return { indices: concat([before.indices, fresh.indices], 1), weights: concat([before.weights, fresh.weights], 1) };
}

/** The row that the next pass begins with. */
export function lastRow(rows: Retrieved): Retrieved {
  return { indices: slice(rows.indices, 1, -1), weights: slice(rows.weights, 1, -1) };
}

/**
 * Attention into the picked chunks: o_t = W_O Σ_k w_k softmax(q_t K_kᵀ / √Dh) V_k with q_t = W_Q u_t, for u [B,U,D] normed. Places in
 * the first chunk of a stream, which nothing was picked for, get 0.
 */
export function crossAttention(
  c: DrtConfig, p: UpperParameters["retrieval"], u: Tensor, rows: Retrieved, readable: Readable, offsets: Tensor,
): Tensor {
  const [batch, time] = u.shape as [number, number, number];
  const q = reshape(linear(u, p.query), [batch, time, c.heads, c.headSize]);
  const out = chunkAttention({ q, ...readable, weights: rows.weights, offsets }, { offByOne: c.offByOne });
  return linear(reshape(out, [batch, time, c.heads * c.headSize]), p.out);
}
