/**
 * A sequence model that one can score by hand, for tests: its hidden state counts the tokens read,
 *
 *   c_t = decay · c_{t-1} + onehot(x_t),   logits = sharpness · c_t,
 *
 * or, with `memory`, counts the last few tokens only. Reference device only: it reads tokens straight from memory.
 */
import { full, open, type Parameters, type SequenceModel, Tensor, tensor, zeros } from "@lenggen/kernels";
import type { Device, TypedArray } from "@lenggen/kernels";

export interface TinyOptions {
  readonly vocabulary?: number;
  readonly decay?: number;
  readonly sharpness?: number;
  /** Tokens remembered; everything, decaying, unless given. */
  readonly memory?: number;
  /** The state also keeps a tensor of NaN for each pass, shared with the states that follow, as a memory of chunks would. */
  readonly record?: boolean;
  /** Notes the tokens of each pass and where segments end in it. */
  readonly passes?: { readonly tokens: number; readonly ends: readonly number[] }[];
}

/** Counts in two heads of half the vocabulary each, or the last few ids (-1: none yet). */
export type TinyState = { layers: { past: Tensor }[]; memory: readonly Tensor[] };

export const HEADS = 2;

export function reference(): Promise<Device> {
  return open("reference");
}

export function tinyModel({ vocabulary = 8, decay = 1, sharpness = 1, memory, record = false,
  passes }: TinyOptions = {}): SequenceModel<TinyState> {
  const stateShape = (batch: number) => (memory === undefined ? [batch, HEADS, vocabulary / HEADS] : [batch, memory]);
  return {
    family: "tiny",
    config: {},
    vocabulary,
    stateLeaves: [
      memory === undefined
        ? { path: "layers.0.past", kind: "recurrent", layer: 0, headAxis: 1 }
        : { path: "layers.0.past", kind: "window", layer: 0 },
      ...(record ? [{ path: "memory.0", kind: "memory", layer: 0 } as const] : []),
    ],
    parameterShapes: () => ({ head: [vocabulary, vocabulary] }),
    decays: () => true,
    init: (_, device) => ({ head: tensor(device, identity(vocabulary, sharpness), [vocabulary, vocabulary]) }),
    initialState(batch, device) {
      const past = zeros(device, stateShape(batch));
      if (memory !== undefined) host(past).fill(-1);
      return { layers: [{ past }], memory: [] };
    },
    forward(_, tokens, state, options = {}) {
      const [batch, length] = tokens.shape as [number, number];
      passes?.push({ tokens: length, ends: options.ends ?? [] });
      const ids = host(tokens);
      const past = Float64Array.from(host((state ?? this.initialState(batch, tokens.device)).layers[0]!.past));
      const hidden = Tensor.empty(tokens.device, [batch, length, vocabulary]);
      const out = host(hidden);
      const width = past.length / batch;
      for (let row = 0; row < batch; row++) {
        const own = past.subarray(row * width, (row + 1) * width);
        for (let t = 0; t < length; t++) {
          const counts = advance(own, ids[row * length + t]!, memory === undefined ? decay : undefined, vocabulary);
          out.set(counts, (row * length + t) * vocabulary);
        }
      }
      const next = tensor(tokens.device, past, stateShape(batch));
      const added = record ? [full(tokens.device, [batch, length], Number.NaN)] : [];
      return { hidden, state: { layers: [{ past: next }], memory: [...(state?.memory ?? []), ...added] } };
    },
    head: (parameters: Parameters) => parameters.head!,
  };
}

/** Moves one row's past on by a token, in place, and returns the counts. */
function advance(past: Float64Array, id: number, decay: number | undefined, vocabulary: number): Float64Array {
  if (decay !== undefined) {
    for (let v = 0; v < past.length; v++) past[v]! *= decay;
    past[id]! += 1;
    return past;
  }
  past.copyWithin(0, 1);
  past[past.length - 1] = id;
  const counts = new Float64Array(vocabulary);
  for (const seen of past) if (seen >= 0) counts[seen]! += 1;
  return counts;
}

function identity(n: number, scale: number): number[] {
  return Array.from({ length: n * n }, (_, i) => (i % (n + 1) === 0 ? scale : 0));
}

function host(t: Tensor): TypedArray {
  const { bytes } = t.buffer as { bytes: ArrayBuffer };
  return t.dtype === "i32" ? new Int32Array(bytes, t.byteOffset, t.size) : new Float32Array(bytes, t.byteOffset, t.size);
}

/** Loss in nats of predicting `target` from these counts. */
export function lossOf(counts: ArrayLike<number>, sharpness: number, target: number): number {
  const logits = Array.from(counts, (count) => sharpness * count);
  return Math.log(logits.reduce((sum, z) => sum + Math.exp(z), 0)) - logits[target]!;
}

/** Tokens that look random and are the same each time. */
export function noise(length: number, vocabulary = 8, seed = 1): Uint8Array {
  let x = seed * 7919 + 1;
  return Uint8Array.from({ length }, () => {
    x = (x * 48271) % 2147483647;
    return x % vocabulary;
  });
}
