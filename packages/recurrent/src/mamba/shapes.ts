/** What a Mamba-1 is, from the names and shapes of its weights, as mamba_ssm or transformers have them. */
import type { ReadFromShapes, Safetensors } from "@lenggen/kernels";
import { assumedOf, mambaConfig, mambaFile, mixerPart } from "../mambaShapes";

/** The configuration that the names and shapes of a file tell; undefined where it is of another family. Throws `E_WEIGHTS`. */
export function mambaFromShapes(tensors: Safetensors["tensors"]): ReadFromShapes | undefined {
  const file = mambaFile(tensors, "a Mamba-1", "x_proj.weight");
  if (!file) return undefined;
  const [innerWidth, stateSize] = file.shape(mixerPart("A_log"), 2) as readonly number[];
  const expand = innerWidth! / file.size(mixerPart("in_proj.weight"), 1, 2);
  const [convolution, rank] = [file.size(mixerPart("conv1d.weight"), 2, 3), file.size(mixerPart("dt_proj.weight"), 1, 2)];
  const config = mambaConfig(file, {
    type: "mamba",
    ssm: { layer: "Mamba1", d_state: stateSize, d_conv: convolution, expand, dt_rank: rank },
    transformers: { state_size: stateSize, conv_kernel: convolution, expand, time_step_rank: rank },
  });
  return { config, assumed: assumedOf(file) };
}
