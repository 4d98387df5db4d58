/**
 * Mamba-2 checkpoints: `config.json` beside `model.safetensors`, with the keys of state-spaces/mamba2-* or those of
 * transformers (one name differs: `backbone.embeddings.weight`). Half-precision weights are widened to f32.
 */
import {
  check, countNonFinite, type Device, type DType, dispose, encodeSafetensors, keep, type Parameters, type Safetensors, scope, showShape, sameShape,
} from "@lenggen/kernels";
import { type Mamba2, mamba2 } from "./model";

const RENAMED: Readonly<Record<string, string>> = { "backbone.embeddings.weight": "backbone.embedding.weight" };

/** A model with its parameters, which are the caller's to dispose. */
export interface LoadedMamba2 {
  readonly model: Mamba2;
  readonly parameters: Parameters;
}

/**
 * Loads a checkpoint onto a device. Throws `E_CONFIG` for a configuration that makes no model, `E_FORMAT` for a
 * damaged file, `E_WEIGHTS` for missing, unknown or misshapen tensors and for NaN or infinity among the numbers.
 */
export async function loadMamba2(config: unknown, weights: Safetensors, device: Device, dtype: DType = "f32"): Promise<LoadedMamba2> {
  const model = mamba2(config);
  const files = matchNames(model, weights);
  const loaded: Record<string, Parameters[string]> = {};
  try {
    for (const [name, stored] of files) {
      loaded[name] = keep(await weights.load(stored, device, dtype));
      const bad = scope(() => countNonFinite({ [name]: loaded[name]! }));
      const count = await bad.item();
      bad.dispose();
      check(count === 0, "E_WEIGHTS", () => `weights: ${stored} holds ${count} ${count === 1 ? "number that is" : "numbers that are"} NaN or infinite`);
    }
  } catch (error) {
    dispose(loaded);
    throw error;
  }
  return { model, parameters: loaded };
}

/** "1 tensor (a)", "4 tensors (a, b, c, ...)". */
function tensors(names: readonly string[]): string {
  return `${names.length} ${names.length === 1 ? "tensor" : "tensors"} (${names.slice(0, 3).join(", ")}${names.length > 3 ? ", ..." : ""})`;
}

/** Pairs each parameter with its name in the file, after checking names and shapes against the configuration. */
function matchNames(model: Mamba2, weights: Safetensors): [name: string, stored: string][] {
  const shapes = model.parameterShapes();
  const stored = new Map(Object.keys(weights.tensors).map((name) => [RENAMED[name] ?? name, name]));
  // A tied checkpoint may hold its output matrix twice; the embedding serves for both.
  if (model.settings.tieEmbeddings) stored.delete("lm_head.weight");
  const missing = Object.keys(shapes).filter((name) => !stored.has(name));
  const unknown = [...stored.keys()].filter((name) => !Object.hasOwn(shapes, name));
  check(missing.length === 0, "E_WEIGHTS", () => `weights: the config asks for ${tensors(missing)}, not in the file`);
  check(unknown.length === 0, "E_WEIGHTS", () => `weights: the file holds ${tensors(unknown)}, not asked for by the config`);
  for (const [name, shape] of Object.entries(shapes)) {
    const found = weights.tensors[stored.get(name)!]!.shape;
    check(sameShape(found, shape), "E_WEIGHTS", () => `weights: ${name} has shape ${showShape(found)}, the config asks for ${showShape(shape)}`);
  }
  return Object.keys(shapes).map((name) => [name, stored.get(name)!]);
}

/** The two files of a checkpoint in the state-spaces layout, as text and as streamed bytes. */
export function saveMamba2(model: Mamba2, parameters: Parameters): { config: string; weights: AsyncIterable<Uint8Array> } {
  const ordered = Object.fromEntries(Object.keys(model.parameterShapes()).map((name) => [name, parameters[name]!]));
  return { config: `${JSON.stringify(model.config, null, 2)}\n`, weights: encodeSafetensors(ordered, { format: "pt" }) };
}
