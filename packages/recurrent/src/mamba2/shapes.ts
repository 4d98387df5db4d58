/** What a Mamba-2 is, from the names and shapes of its weights, as mamba_ssm or transformers have them. */
import type { ReadFromShapes, Safetensors } from "@lenggen/kernels";
import { assumedOf, mambaConfig, mambaFile, mixerPart } from "../mambaShapes";

/**
 * The configuration that the names and shapes of a file tell; undefined where it is of another family. B and C are taken for those of one
 * group, since shapes have only their width over all groups. Throws `E_WEIGHTS`.
 */
export function mamba2FromShapes(tensors: Safetensors["tensors"]): ReadFromShapes | undefined {
  const file = mambaFile(tensors, "a Mamba-2", "dt_bias");
  if (!file?.has(mixerPart("conv1d.weight"))) return undefined;
  const [width, innerWidth] = file.shape(mixerPart("out_proj.weight"), 2) as readonly number[];
  const [channels, , convolution] = file.shape(mixerPart("conv1d.weight"), 3) as readonly number[];
  const [stateSize, expand] = [(channels! - innerWidth!) / 2, innerWidth! / width!];
  const headSize = innerWidth! / file.size(mixerPart("dt_bias"), 0, 1);
  const config = mambaConfig(file, {
    type: "mamba2",
    ssm: { layer: "Mamba2", d_state: stateSize, d_conv: convolution, expand, headdim: headSize, ngroups: 1 },
    transformers: { state_size: stateSize, conv_kernel: convolution, expand, head_dim: headSize, n_groups: 1 },
  });
  return { config, assumed: ["one group of B and C", ...assumedOf(file)] };
}
