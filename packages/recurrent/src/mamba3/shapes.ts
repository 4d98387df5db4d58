/** What a Mamba-3 is, from the names and shapes of its weights, as mamba_ssm or flash-linear-attention have them. */
import type { ReadFromShapes, Safetensors } from "@lenggen/kernels";
import { EMBEDDING, HEAD } from "../mambaFiles";
import { assumedOf, mambaFile, mixerPart } from "../mambaShapes";

/** The configuration that the names and shapes of a file tell; undefined where it is of another family. Throws `E_WEIGHTS`. */
export function mamba3FromShapes(tensors: Safetensors["tensors"]): ReadFromShapes | undefined {
  const file = mambaFile(tensors, "a Mamba-3", "B_bias");
  if (!file) return undefined;
  const isOwn = file.has(EMBEDDING.own);
  const [vocabulary, width] = file.shape(isOwn ? EMBEDDING.own : EMBEDDING.transformers, 2) as readonly number[];
  const [layers, tied] = [file.count("backbone.layers", "norm.weight"), !file.has(HEAD)];
  const [heads, rank, stateSize] = file.shape(mixerPart("B_bias"), 3) as [number, number, number];
  const innerWidth = file.size(mixerPart("out_proj.weight"), 1, 2);
  // B and C of all groups, and the angles: a group has more numbers than there can be angles, which tells both.
  const rest = file.size(mixerPart("in_proj.weight"), 0, 2) - 2 * innerWidth - 3 * heads;
  const angles = (share: number) => Math.floor(Math.floor(stateSize * share) / 2);
  const share = (rest - angles(0.5)) % (2 * rank * stateSize) === 0 ? 0.5 : 1;
  const mixer = {
    expand: innerWidth / width!, is_mimo: file.has(mixerPart("mimo_x")), ...(file.has(mixerPart("mimo_x")) && { mimo_rank: rank }),
    rope_fraction: share, is_outproj_norm: file.has(mixerPart("norm.weight")),
  };
  const [groups, headSize] = [(rest - angles(share)) / (2 * rank * stateSize), innerWidth / heads];
  const mlp = "backbone.layers.0.mlp.fc1.weight";
  const config = isOwn
    ? {
      d_model: width, d_intermediate: file.has(mlp) ? file.size(mlp, 0, 2) / 2 : 0, n_layer: layers, vocab_size: vocabulary,
      ssm_cfg: { layer: "Mamba3", d_state: stateSize, headdim: headSize, ngroups: groups, ...mixer },
      pad_vocab_size_multiple: 1, tie_embeddings: tied,
    }
    : {
      model_type: "mamba3", hidden_size: width, num_hidden_layers: layers, vocab_size: vocabulary, state_size: stateSize,
      head_dim: headSize, n_groups: groups, ...mixer, tie_word_embeddings: tied, norm_eps: 1e-5,
    };
  return { config, assumed: ["a floor of 1e-4 below the rates of decay", ...assumedOf(file)] };
}
