/**
 * Mamba-2 checkpoints: `config.json` beside `model.safetensors`, with the keys of state-spaces/mamba2-* or those of
 * transformers (one name differs: `backbone.embeddings.weight`). Half-precision weights are widened to f32 unless f16 is asked for.
 */
import { type Device, type DType, loadParameters, type Parameters, type Safetensors, saveModel } from "@lenggen/kernels";
import { type Mamba2, mamba2 } from "./model";

const RENAMED: Readonly<Record<string, string>> = { "backbone.embeddings.weight": "backbone.embedding.weight" };

/** Nearly all of a model's numbers; the others stay f32 in a model of f16. */
const MATRICES = /(?:embedding|in_proj|out_proj|lm_head)\.weight$/;

/** A model with its parameters, which are the caller's to dispose. */
export interface LoadedMamba2 {
  readonly model: Mamba2;
  readonly parameters: Parameters;
}

/**
 * Loads a checkpoint onto a device. With `f16` its matrices take half the memory, and single tokens half the time where reading them is
 * what takes it; such a model can't be trained, and can be evaluated and generate. Throws `E_CONFIG` for a configuration that makes no model, `E_FORMAT` for a
 * damaged file, `E_WEIGHTS` for missing, unknown or misshapen tensors and for NaN or infinity among the numbers.
 */
export async function loadMamba2(config: unknown, weights: Safetensors, device: Device, dtype: DType = "f32"): Promise<LoadedMamba2> {
  const model = mamba2(config);
  // A tied checkpoint may hold its output matrix twice; the embedding serves for both.
  const unneeded = model.settings.tieEmbeddings ? ["lm_head.weight"] : [];
  return { model, parameters: await loadParameters(model, weights, device, {
    renamed: RENAMED, unneeded, dtype: dtype === "f16" ? (name) => (MATRICES.test(name) ? "f16" : "f32") : dtype,
  }) };
}

/** The two files of a checkpoint in the state-spaces layout, as text and as streamed bytes. */
export function saveMamba2(model: Mamba2, parameters: Parameters): { config: string; weights: AsyncIterable<Uint8Array> } {
  return saveModel(model, parameters);
}
