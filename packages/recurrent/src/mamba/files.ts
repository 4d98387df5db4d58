/**
 * Mamba-1 checkpoints: `config.json` beside `model.safetensors`, as mamba_ssm, transformers or flash-linear-attention have them
 * (mambaFiles.ts). Half-precision weights are widened to f32 unless f16 is asked for.
 */
import { type Device, type DType, loadParameters, type Parameters, type Safetensors } from "@lenggen/kernels";
import { checkpointForm, type MambaLayouts, saveFor } from "../mambaFiles";
import { formsOf, reasonAgainst } from "./layout";
import { type Mamba, mamba, mamba1Decoder } from "./model";

/** A model with its parameters, which are the caller's to dispose. */
export interface LoadedMamba {
  readonly model: Mamba;
  readonly parameters: Parameters;
}

/**
 * Loads a checkpoint onto a device. With `f16` its matrices take half the memory, and single tokens half the time where reading them is
 * what takes it; such a model can't be trained, and can be evaluated and generate. Throws `E_CONFIG` for a configuration that makes no
 * model, `E_FORMAT` for a damaged file, `E_WEIGHTS` for missing, unknown or misshapen tensors and for NaN or infinity among the numbers.
 */
export async function loadMamba(config: unknown, weights: Safetensors, device: Device, dtype: DType = "f32"): Promise<LoadedMamba> {
  const model = mamba(config, { unknownFields: "report" });
  return { model, parameters: await loadParameters(model, weights, device, { dtype }) };
}

/**
 * The two files of a checkpoint, as text and as streamed bytes: for the program that the model is for, or the one given. mamba_ssm then
 * loads them by `MambaConfig(**json.load(...))` and `load_state_dict(safetensors.torch.load_file(...))`, transformers and
 * flash-linear-attention by `from_pretrained`. Throws `E_CONFIG` when the program given has no field for one of the model's settings, or
 * does something else with it.
 */
export function saveMamba(model: Mamba, parameters: Parameters,
  { layout }: MambaLayouts = {}): { config: string; weights: AsyncIterable<Uint8Array> } {
  return saveFor(model, parameters, layout, {
    reasonAgainst: (program) => reasonAgainst(model.settings, program),
    form: (program) => checkpointForm(formsOf(model.settings), mamba1Decoder(model.settings).parameters, program),
  });
}
