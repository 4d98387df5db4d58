/** Attention over a window as a mixer, and the projections that encoder and decoder share. */
import {
  alibiSlopes, linear, linearSplit, reshape, slidingWindowAttention, tensor, type Tensor,
} from "@lenggen/kernels";
import { type Block, type Bound, matrix, normalInit, type StatePart } from "@lenggen/kernels/nn";
import type { LayerSettings, Position } from "../settings";

/** The last keys and values that a window can still see: [B, P, Hk, Dh], P < window. */
export interface WindowState {
  readonly [leaf: string]: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
}

/** How a decoder layer looks back. */
export interface WindowSettings {
  /** Positions that a query sees, itself included; null for all. */
  readonly window: number | null;
  readonly position: Position;
}

/** Normal with deviation 1/√fan-in; of a matrix back into a residual stream that `depth` layers add to, divided by √(2·depth). */
export const fanInInit = (fanIn: number, depth?: number) => normalInit(1 / Math.sqrt(fanIn * (depth === undefined ? 1 : 2 * depth)));

/** The parameters of attention: queries, keys and values from one matrix, and the way back. */
function attentionSpecs(s: LayerSettings, depth: number) {
  return {
    qkv: matrix("attention.qkv.weight", [(s.heads + 2 * s.kvHeads) * s.headSize, s.width], fanInInit(s.width)),
    out: matrix("attention.out.weight", [s.width, s.heads * s.headSize], fanInInit(s.heads * s.headSize, depth)),
  };
}

type AttentionSpecs = ReturnType<typeof attentionSpecs>;

/** Queries, keys and values of u [B,T,D]: [B,T,Hq,Dh] and twice [B,T,Hk,Dh]. */
export function project(s: LayerSettings, p: Bound<AttentionSpecs>, u: Tensor): { q: Tensor; k: Tensor; v: Tensor } {
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
export function merge(s: LayerSettings, weight: Tensor, heads: Tensor): Tensor {
  const [batch, time] = heads.shape as [number, number, number, number];
  return linear(reshape(heads, [batch, time, s.heads * s.headSize]), weight);
}

/** Attention over the last `window` positions, from and to its state. */
export function windowAttention(s: LayerSettings, w: WindowSettings, depth: number): Block<AttentionSpecs, { k: StatePart; v: StatePart }> {
  // Without a window all keys and values stay: a record of the past that grows.
  const part: StatePart = { shape: [0, s.kvHeads, s.headSize], kind: w.window === null ? "memory" : "window", headAxis: 2 };
  return {
    parameters: attentionSpecs(s, depth),
    state: { k: part, v: part },
    forward(p, u, state) {
      const { q, k, v } = project(s, p, u);
      const past = state?.k.shape[1] ?? 0;
      const attended = slidingWindowAttention(
        { q, k, v, slopes: w.position === "alibi" ? slopes(s, q) : null, state },
        { window: w.window ?? past + k.shape[1]! + 1, ...(w.position === "rope" && { rotate: { theta: s.ropeTheta } }) },
      );
      return { out: merge(s, p.out, attended.out), state: attended.state };
    },
  };
}

function slopes(s: LayerSettings, like: Tensor): Tensor {
  return tensor(like.device, alibiSlopes(s.heads), [s.heads], like.dtype);
}
