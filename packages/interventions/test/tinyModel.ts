/**
 * A small sequence model for tests, from plain ops: a linear recurrence with one decay per head over inputs that mix
 * each token with the one before it. It has both kinds of state, so that everything an intervention does shows.
 *
 *   x_t = e_t + mix · e_{t-1},   s_t = σ(decay_h) s_{t-1} + x_t,   hidden_t = tanh(s_t)
 */
import {
  add, concat, type Device, type DType, embedding, foldIn, type Key, mul, normal, type Parameters, reshape, type SequenceModel,
  sigmoid, slice, tanh, type Tensor, zeros,
} from "@lenggen/kernels";

/** `previous` [B, 1, D]: the last embedding; `sum` [B, H, N] with D = H·N. */
export type TinyState = { readonly layers: readonly [{ readonly sum: Tensor; readonly previous: Tensor }] };

export const HEADS = 2;
export const WIDTH = 3;

export function tinyModel(vocabulary = 11): SequenceModel<TinyState> {
  const features = HEADS * WIDTH;
  const shapes = {
    "embedding.weight": [vocabulary, features],
    "mixer.decay": [HEADS, 1],
    "mixer.mix": [features],
    "head.weight": [vocabulary, features],
  };
  const initialState = (batch: number, device: Device, dtype: DType = "f32"): TinyState => ({
    layers: [{ sum: zeros(device, [batch, HEADS, WIDTH], dtype), previous: zeros(device, [batch, 1, features], dtype) }],
  });
  return {
    family: "tiny",
    config: { vocabulary },
    vocabulary,
    stateLeaves: [
      { path: "layers.0.sum", kind: "recurrent", layer: 0, headAxis: 1 },
      { path: "layers.0.previous", kind: "window", layer: 0 },
    ],
    parameterShapes: () => shapes,
    decays: (name) => name.endsWith(".weight"),
    tokenTables: ["embedding.weight", "head.weight"],
    init: (key: Key, device: Device, dtype: DType = "f32") => Object.fromEntries(Object.entries(shapes).map(([name, shape], i) =>
      [name, normal(foldIn(key, i), device, shape, { std: 0.3, dtype })])),
    initialState,
    forward(parameters: Parameters, tokens: Tensor, state?: TinyState) {
      const [batch, length] = tokens.shape as [number, number];
      const embedded = embedding(parameters["embedding.weight"]!, tokens); // [B,T,D]
      const { sum, previous } = (state ?? initialState(batch, embedded.device, embedded.dtype)).layers[0];
      const shifted = concat([previous, embedded], 1); // [B,T+1,D]
      const x = add(embedded, mul(slice(shifted, 1, 0, length), parameters["mixer.mix"]!));
      const decay = sigmoid(parameters["mixer.decay"]!); // [H,1]
      const outputs: Tensor[] = [];
      let s = sum;
      for (let t = 0; t < length; t++) {
        s = add(mul(s, decay), reshape(slice(x, 1, t, t + 1), [batch, HEADS, WIDTH]));
        outputs.push(reshape(tanh(s), [batch, 1, features]));
      }
      return { hidden: concat(outputs, 1), state: { layers: [{ sum: s, previous: slice(shifted, 1, length, length + 1) }] } };
    },
    head: (parameters: Parameters) => parameters["head.weight"]!,
  };
}

/** A text in which every token follows from the one before it, with some noise: a small model learns it quickly. */
export function tinyText(length: number, vocabulary = 11): Int32Array {
  const text = new Int32Array(length);
  let noise = 12345;
  for (let i = 1; i < length; i++) {
    noise = (Math.imul(noise, 1103515245) + 12345) & 0x7fffffff;
    text[i] = noise % 5 === 0 ? noise % vocabulary : (text[i - 1]! * 3 + 1) % vocabulary;
  }
  return text;
}
