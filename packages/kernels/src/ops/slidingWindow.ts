/**
 * Attention over a sliding window as a sequence op: the state is the last window - 1 keys and values, so that the whole at once,
 * in chunks of any lengths, and step by step give the same. Composed of attention, rope, concat and slice.
 */
import { check } from "../errors";
import { showShape } from "../shape";
import { scopeUnlessRecording } from "../tape";
import type { Tensor } from "../tensor";
import { attention } from "./attention";
import { shapeCheck } from "./checks";
import { rope } from "./rope";
import { concat, slice } from "./view";

/** Keys and values [B,P,Hk,D] of the last P <= window - 1 positions, oldest first; not rotated. P may be 0. */
export interface WindowState {
  readonly k: Tensor;
  readonly v: Tensor;
}

/**
 * Causal attention over the last `window` positions, the own one included: q [B,T,Hq,D], k and v [B,T,Hk,D], the state of
 * what came before or null -> out [B,T,Hq,D] and the state for the next call, the last min(P + T, window - 1) keys and values.
 * Both are differentiable, state included. `slopes` [Hq] are ALiBi's; or `rotate` turns queries and keys by RoPE with `theta`
 * (10,000 unless given), at positions counted from the oldest key. `scale` is 1/√D unless given.
 * Throws `E_SHAPE`, `E_DTYPE`, `E_ARGUMENT`.
 */
export function slidingWindowAttention(
  inputs: { q: Tensor; k: Tensor; v: Tensor; slopes?: Tensor | null; state?: WindowState | null },
  options: { window: number; scale?: number; rotate?: { theta?: number } },
): { out: Tensor; state: { k: Tensor; v: Tensor } } {
  const { q, k, v, slopes, state } = inputs;
  const { window, scale, rotate } = options;
  check(Number.isSafeInteger(window) && window >= 1, "E_ARGUMENT",
    () => `slidingWindowAttention: window ${window} must be a whole number of at least 1`);
  check(!rotate || !slopes, "E_ARGUMENT", () => "slidingWindowAttention: slopes and rotate exclude each other; give one of them");
  check(k.shape.length === 4 && q.shape.length === 4 && k.shape[1] === q.shape[1], "E_SHAPE", () =>
    `slidingWindowAttention: k ${showShape(k.shape)} must be [B,T,Hk,D] with the B, T and D of q ${showShape(q.shape)}`);
  const past = state?.k.shape[1] ?? 0;
  const expect = shapeCheck("slidingWindowAttention", { k });
  expect("state.k", state?.k ?? null, k.shape.with(1, past));
  expect("state.v", state?.v ?? null, k.shape.with(1, past));
  check(past < window, "E_SHAPE", () =>
    `slidingWindowAttention: state.k ${showShape(state!.k.shape)} must be [B,P,Hk,D] with P of at most window - 1 = ${window - 1}`);
  const kept = Math.min(past + k.shape[1]!, window - 1);
  return scopeUnlessRecording(() => {
    const keys = past > 0 ? concat([state!.k, k], 1) : k;
    const values = past > 0 ? concat([state!.v, v], 1) : v;
    const turned = (x: Tensor, start: number) => (rotate ? rope(x, { start, theta: rotate.theta }) : x);
    const last = (x: Tensor) => slice(x, 1, x.shape[1]! - kept, x.shape[1]);
    const out = attention({ q: turned(q, past), k: turned(keys, 0), v: values, slopes }, { window, scale });
    return { out, state: { k: last(keys), v: last(values) } };
  });
}
