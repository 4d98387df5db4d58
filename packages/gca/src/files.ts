/** Checkpoints: `config.json` beside `model.safetensors`. Half-precision weights are widened to f32 unless f16 is asked for. */
import { type Device, type DType, loadParameters, type Parameters, type Safetensors } from "@lenggen/kernels";
import { type Drt, drt } from "./drt/model";
import { type Transformer, transformer } from "./transformer/model";

/** A model with its parameters, which are the caller's to dispose. */
export interface LoadedDrt {
  readonly model: Drt;
  readonly parameters: Parameters;
}

/**
 * Loads a DRT onto a device. With `f16` its matrices take half the memory, and it can't be trained. Throws `E_CONFIG` for a configuration
 * that makes no model, `E_FORMAT` for a damaged file, `E_WEIGHTS` for missing, unknown or misshapen tensors and for NaN or infinity among
 * the numbers. Fields of the configuration that lenggen does not know are reported by `console.warn`.
 */
export async function loadDrt(config: unknown, weights: Safetensors, device: Device, dtype: DType = "f32"): Promise<LoadedDrt> {
  const model = drt(config, { unknownFields: "report" });
  return { model, parameters: await loadParameters(model, weights, device, { dtype }) };
}

/** A model with its parameters, which are the caller's to dispose. */
export interface LoadedTransformer {
  readonly model: Transformer;
  readonly parameters: Parameters;
}

/** Loads a baseline; throws as {@link loadDrt} does. */
export async function loadTransformer(config: unknown, weights: Safetensors, device: Device,
  dtype: DType = "f32"): Promise<LoadedTransformer> {
  const model = transformer(config, { unknownFields: "report" });
  return { model, parameters: await loadParameters(model, weights, device, { dtype }) };
}
