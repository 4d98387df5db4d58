/** RWKV-7 checkpoints, as their authors, flash-linear-attention or transformers have them (../rwkv/layouts.ts). */
import { type Device, type DType, loadParameters, type Parameters, type Safetensors } from "@lenggen/kernels";
import { FileShapes } from "../fileShapes";
import type { RwkvLayout } from "../rwkv/layouts";
import { type Rwkv7, rwkv7 } from "./model";
import { hasFirstLayerValues } from "./shapes";

/** A model with its parameters, which are the caller's to dispose. */
export interface LoadedRwkv7 {
  readonly model: Rwkv7;
  readonly parameters: Parameters;
}

/** What some programs make for the first layer too, which mixes its values with no other's and so never reads them. */
const UNREAD = /^(?:rwkv7\.)?blocks\.0\.att\.v[012]$/;

/** The model of a checkpoint, in the layout that its names are of, with its file as it reads it. Throws `E_CONFIG` and `E_WEIGHTS`. */
export function rwkv7InFile<F extends Safetensors>(config: unknown, weights: F): { model: Rwkv7; weights: F } {
  const file = new FileShapes(weights.tensors, "an RWKV-7");
  const layout = layoutOfFile(file);
  const firstLayerValues = layout !== "fla" && hasFirstLayerValues(file, layout === "transformers" ? "rwkv7." : "");
  const model = rwkv7(config, { unknownFields: "report", fileLayout: layout, firstLayerValues });
  if (firstLayerValues) return { model, weights };
  const tensors = Object.fromEntries(Object.entries(weights.tensors).filter(([name]) => !UNREAD.test(name)));
  return { model, weights: { ...weights, tensors } };
}

/**
 * Loads a checkpoint onto a device, in the layout that its names are of. With `f16` its matrices take half the memory, and it can't be
 * trained. The first layer's `v0` to `v2`, which nothing reads, may be there or not; they are kept where they have the shapes of the other
 * layers', and else left out. Throws `E_CONFIG` for a configuration that makes no model, `E_FORMAT` for a damaged file, `E_WEIGHTS` for
 * missing, unknown or misshapen tensors and for NaN or infinity among the numbers.
 */
export async function loadRwkv7(config: unknown, weights: Safetensors, device: Device, dtype: DType = "f32"): Promise<LoadedRwkv7> {
  const { model, weights: read } = rwkv7InFile(config, weights);
  return { model, parameters: await loadParameters(model, read, device, { dtype }) };
}

function layoutOfFile(file: FileShapes): RwkvLayout {
  if (file.has("rwkv7.emb.weight")) return "transformers";
  return file.has("model.embeddings.weight") ? "fla" : "rwkv";
}
