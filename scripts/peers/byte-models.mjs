/** The byte models that are put beside llama.cpp. */
import { createIntervention, independentWindows, train } from "../../packages/interventions/dist/index.js";
import { key } from "../../packages/kernels/dist/index.js";
import { RECURRENT_FAMILIES } from "../../packages/recurrent/dist/index.js";

/** { name, config, model } of a family's first preset. */
export function byteModelOf(family) {
  const { make, presets } = RECURRENT_FAMILIES[family];
  const [[name, preset]] = Object.entries(presets);
  // llama.cpp has RWKV-7 with heads of 64 alone, and the preset's are smaller.
  const config = family === "rwkv7" ? { ...preset, n_embd: 128, head_size: 64, dim_ffn: 512 } : preset;
  return { name, config, model: make(config) };
}

/** Parameters after so many steps, so that predictions say something. */
export async function trainedOn(text, model, device, steps) {
  const { parameters } = await train({
    model, device, steps, seed: 1,
    batches: independentWindows(text, { batch: 8, context: 256, key: key(1) }),
    initialStates: createIntervention("zero", model), schedule: { learningRate: 3e-3, warmup: Math.min(10, steps) },
  });
  return parameters;
}
