/**
 * Attention as a mixer: grouped queries (Ainslie et al. 2023) over a sliding window or over everything before, with positions by ALiBi
 * (Press et al. 2022), RoPE (Su et al. 2021) or none at all. Its state is the keys and values that can still be seen.
 */
import { alibiSlopes } from "../ops/attention";
import { linear, linearSplit } from "../ops/matmul";
import { slidingWindowAttention } from "../ops/slidingWindow";
import { reshape } from "../ops/view";
import { type Tensor, tensor } from "../tensor";
import type { Block, StatePart } from "./block";
import { type Init, normalInit } from "./init";
import { type Bound, matrix, type Names } from "./parameters";

/** Sizes of attention. */
export interface AttentionSizes {
  readonly width: number;
  readonly heads: number;
  /** Heads of keys and values; query heads share them in equal groups. */
  readonly kvHeads: number;
  readonly headSize: number;
}

/** How attention looks back. */
export interface WindowSettings {
  /** Positions that a query sees, itself included; null for all. */
  readonly window: number | null;
  /** What tells where a token stands: a bias by distance, rotation (for which heads have an even size), or nothing. */
  readonly position: "alibi" | "rope" | "none";
  readonly ropeTheta: number;
}

/** The last keys and values that can still be seen: [B, P, Hk, Dh], P < window. */
export interface AttentionState {
  readonly [leaf: string]: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
}

/** Names in files: of the matrix of queries, keys and values, and of the way back. */
export interface AttentionNames {
  readonly qkv: Names;
  readonly out: Names;
}

/** Normal with deviation 1/√fan-in; of a matrix back into a residual stream that `depth` layers add to twice, divided by √(2·depth). */
export function fanInInit(fanIn: number, depth?: number): Init {
  return normalInit(1 / Math.sqrt(fanIn * (depth === undefined ? 1 : 2 * depth)));
}

/** The parameters of attention: queries, keys and values from one matrix, and the way back. */
function attentionSpecs(names: AttentionNames, s: AttentionSizes, depth: number) {
  return {
    qkv: matrix(names.qkv, [(s.heads + 2 * s.kvHeads) * s.headSize, s.width], fanInInit(s.width)),
    out: matrix(names.out, [s.width, s.heads * s.headSize], fanInInit(s.heads * s.headSize, depth)),
  };
}

type AttentionSpecs = ReturnType<typeof attentionSpecs>;

/** Queries, keys and values of u [B,T,D]: [B,T,Hq,Dh] and twice [B,T,Hk,Dh]. */
export function projectHeads(s: AttentionSizes, p: Bound<AttentionSpecs>, u: Tensor): { q: Tensor; k: Tensor; v: Tensor } {
  const [batch, time] = u.shape as [number, number, number];
  const [inner, shared] = [s.heads * s.headSize, s.kvHeads * s.headSize];
  const [q, k, v] = linearSplit(u, p.qkv, [inner, shared, shared]) as [Tensor, Tensor, Tensor];
  return {
    q: reshape(q, [batch, time, s.heads, s.headSize]),
    k: reshape(k, [batch, time, s.kvHeads, s.headSize]),
    v: reshape(v, [batch, time, s.kvHeads, s.headSize]),
  };
}

/** The heads' outputs [B,T,Hq,Dh] back into the stream: [B,T,D]. */
export function mergeHeads(weight: Tensor, heads: Tensor): Tensor {
  const [batch, time, count, size] = heads.shape as [number, number, number, number];
  return linear(reshape(heads, [batch, time, count * size]), weight);
}

/** Attention over the last `window` positions, from and to its state; `depth`: see {@link fanInInit}. */
export function windowAttention(
  names: AttentionNames, s: AttentionSizes, w: WindowSettings, depth: number,
): Block<AttentionSpecs, { k: StatePart; v: StatePart }> {
  // Without a window all keys and values stay: a record of the past that grows.
  const part: StatePart = { shape: [0, s.kvHeads, s.headSize], kind: w.window === null ? "memory" : "window", headAxis: 2 };
  return {
    parameters: attentionSpecs(names, s, depth),
    state: { k: part, v: part },
    forward(p, u, state) {
      const { q, k, v } = projectHeads(s, p, u);
      const past = state?.k.shape[1] ?? 0;
      const attended = slidingWindowAttention(
        { q, k, v, slopes: w.position === "alibi" ? slopes(s, q) : null, state },
        { window: w.window ?? past + k.shape[1]! + 1, ...(w.position === "rope" && { rotate: { theta: w.ropeTheta } }) },
      );
      return { out: mergeHeads(p.out, attended.out), state: attended.state };
    },
  };
}

function slopes(s: AttentionSizes, like: Tensor): Tensor {
  return tensor(like.device, alibiSlopes(s.heads), [s.heads], like.dtype);
}

/** How many keys and values a window holds once `read` positions have been read; all where there is no window. */
export function cacheLength(read: number, window: number | null): number {
  return window === null ? read : Math.min(read, window - 1);
}
