/**
 * The parts of a layer, for lower, upper and encoder layers and for the baselines: attention projections, SwiGLU
 * (Shazeer 2020), their parameters' shapes and starting values.
 *
 *   h += attention(RMSNorm(h)),   h += mlp(RMSNorm(h)),   mlp(u) = W_out (silu(W_gate u) ∘ W_up u)
 *
 * A layer takes and gives a residual stream in two parts, `branch + residual`, so that the sum and the norm that
 * follows it are one kernel.
 */
import {
  addRmsNorm, alibiSlopes, check, type Device, type DType, linear, linearSplit, mul, reshape, scopeUnlessRecording, showShape, silu,
  slidingWindowAttention, tensor, type Tensor, zeros,
} from "@lenggen/kernels";
import type { LayerSettings, Position } from "../settings";

/** A parameter by its name within the layer. */
export type At = (name: string) => Tensor;

/** A residual stream whose last branch has not been added yet; both [B,T,D]. */
export interface Stream {
  readonly branch: Tensor;
  readonly residual: Tensor | null;
}

/** The last keys and values that a window can still see: [B, P, Hk, Dh], P < window. */
export interface WindowState {
  readonly [leaf: string]: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
}

export function layerShapes(s: LayerSettings): Record<string, number[]> {
  return {
    "attention_norm.weight": [s.width],
    "attention.qkv.weight": [(s.heads + 2 * s.keyHeads) * s.headSize, s.width],
    "attention.out.weight": [s.width, s.heads * s.headSize],
    "mlp_norm.weight": [s.width],
    "mlp.in.weight": [2 * s.innerWidth, s.width],
    "mlp.out.weight": [s.width, s.innerWidth],
  };
}

/** Queries, keys and values of u [B,T,D]: [B,T,Hq,Dh] and twice [B,T,Hk,Dh]. */
export function project(s: LayerSettings, at: At, u: Tensor): { q: Tensor; k: Tensor; v: Tensor } {
  const [batch, time] = u.shape as [number, number, number];
  const [inner, shared] = [s.heads * s.headSize, s.keyHeads * s.headSize];
  const [q, k, v] = linearSplit(u, at("attention.qkv.weight"), [inner, shared, shared]);
  return {
    q: reshape(q!, [batch, time, s.heads, s.headSize]),
    k: reshape(k!, [batch, time, s.keyHeads, s.headSize]),
    v: reshape(v!, [batch, time, s.keyHeads, s.headSize]),
  };
}

/** The heads' outputs [B,T,Hq,Dh] back into the stream: [B,T,D]. */
export function merge(s: LayerSettings, weight: Tensor, heads: Tensor): Tensor {
  const [batch, time] = heads.shape as [number, number, number, number];
  return linear(reshape(heads, [batch, time, s.heads * s.headSize]), weight);
}

export function mlp(s: LayerSettings, at: At, u: Tensor): Tensor {
  const [gate, up] = linearSplit(u, at("mlp.in.weight"), [s.innerWidth, s.innerWidth]);
  return linear(mul(silu(gate!), up!), at("mlp.out.weight"));
}

/** How a decoder layer looks back. */
export interface WindowSettings {
  /** Positions that a query sees, itself included; null for all. */
  readonly window: number | null;
  readonly position: Position;
}

/** Attention over the window, from and to its state. The sum that it norms comes back as the residual. */
export function windowAttention(
  s: LayerSettings, w: WindowSettings, at: At, { branch, residual }: Stream, state: WindowState,
): { out: Stream; state: WindowState } {
  const block: { normed: Tensor; residual: Tensor } = addRmsNorm(branch, residual, at("attention_norm.weight"), { eps: s.normEps });
  const { q, k, v } = project(s, at, block.normed);
  const attended = slidingWindowAttention(
    { q, k, v, slopes: w.position === "alibi" ? slopes(s, q) : null, state },
    { window: w.window ?? state.k.shape[1]! + k.shape[1]! + 1, ...(w.position === "rope" && { rotate: { theta: s.ropeTheta } }) },
  );
  return { out: { branch: merge(s, at("attention.out.weight"), attended.out), residual: block.residual }, state: attended.state };
}

function slopes(s: LayerSettings, like: Tensor): Tensor {
  return tensor(like.device, alibiSlopes(s.heads), [s.heads], like.dtype);
}

/** A whole decoder layer without retrieval. */
export function decoderLayer(
  s: LayerSettings, w: WindowSettings, at: At, stream: Stream, state: WindowState,
): { out: Stream; state: WindowState } {
  return scopeUnlessRecording(() => {
    const attended = windowAttention(s, w, at, stream, state);
    const block: { normed: Tensor; residual: Tensor } =
      addRmsNorm(attended.out.branch, attended.out.residual, at("mlp_norm.weight"), { eps: s.normEps });
    return { out: { branch: mlp(s, at, block.normed), residual: block.residual }, state: attended.state };
  });
}

/** A window that has seen nothing. */
export function emptyWindow(s: LayerSettings, batch: number, device: Device, dtype: DType): WindowState {
  return { k: zeros(device, [batch, 0, s.keyHeads, s.headSize], dtype), v: zeros(device, [batch, 0, s.keyHeads, s.headSize], dtype) };
}

/** Throws `E_SHAPE` unless tokens are [B,T] with at least one step. */
export function checkTokens(tokens: Tensor): void {
  check(tokens.shape.length === 2 && tokens.shape[1]! >= 1, "E_SHAPE", () =>
    `tokens: expected [batch, time] with at least one step, got ${showShape(tokens.shape)}`);
}
