/** RWKV-6 checkpoints, as their authors, flash-linear-attention or the hub's code for transformers have them (../rwkv/layouts.ts). */
import { type Device, type DType, loadParameters, type Parameters, type Safetensors } from "@lenggen/kernels";
import { type Rwkv6, rwkv6 } from "./model";

/** A model with its parameters, which are the caller's to dispose. */
export interface LoadedRwkv6 {
  readonly model: Rwkv6;
  readonly parameters: Parameters;
}

/** The model of a checkpoint, in the layout that its names are of, with its file. Throws `E_CONFIG`. */
export function rwkv6InFile<F extends Safetensors>(config: unknown, weights: F): { model: Rwkv6; weights: F } {
  const has = (name: string): boolean => Object.hasOwn(weights.tensors, name);
  const fileLayout = has("rwkv.embeddings.weight") ? "transformers" : has("model.embeddings.weight") ? "fla" : "rwkv";
  return { model: rwkv6(config, { unknownFields: "report", fileLayout }), weights };
}

/**
 * Loads a checkpoint onto a device, in the layout that its names are of. With `f16` its matrices take half the memory, and it can't be
 * trained. Throws `E_CONFIG` for a configuration that makes no model, `E_FORMAT` for a damaged file, `E_WEIGHTS` for missing, unknown or
 * misshapen tensors and for NaN or infinity among the numbers.
 */
export async function loadRwkv6(config: unknown, weights: Safetensors, device: Device, dtype: DType = "f32"): Promise<LoadedRwkv6> {
  const { model } = rwkv6InFile(config, weights);
  return { model, parameters: await loadParameters(model, weights, device, { dtype }) };
}
