/** RWKV-7 checkpoints: `config.json` beside `model.safetensors`, with the names and shapes of the released weights. */
import { type Device, type DType, loadParameters, type Parameters, type Safetensors } from "@lenggen/kernels";
import { type Rwkv7, rwkv7 } from "./model";

/** A model with its parameters, which are the caller's to dispose. */
export interface LoadedRwkv7 {
  readonly model: Rwkv7;
  readonly parameters: Parameters;
}

/** What some programs make for the first layer too, which mixes its values with no other's and so never reads them. */
const UNREAD = new Set(["blocks.0.att.v0", "blocks.0.att.v1", "blocks.0.att.v2"]);

/**
 * Loads a checkpoint onto a device. With `f16` its matrices take half the memory, and it can't be trained. The first layer's `v0` to `v2`
 * may be there, and are left out. Throws `E_CONFIG` for a configuration that makes no model, `E_FORMAT` for a damaged file, `E_WEIGHTS` for
 * missing, unknown or misshapen tensors and for NaN or infinity among the numbers.
 */
export async function loadRwkv7(config: unknown, weights: Safetensors, device: Device, dtype: DType = "f32"): Promise<LoadedRwkv7> {
  const model = rwkv7(config, { unknownFields: "report" });
  const tensors = Object.fromEntries(Object.entries(weights.tensors).filter(([name]) => !UNREAD.has(name)));
  const read: Safetensors = { ...weights, tensors, load: (...given) => weights.load(...given) };
  return { model, parameters: await loadParameters(model, read, device, { dtype }) };
}
