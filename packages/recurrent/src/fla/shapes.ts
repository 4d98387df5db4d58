/** What a GLA or a Gated DeltaNet is, from the names and shapes of its weights. */
import type { ReadFromShapes, Safetensors } from "@lenggen/kernels";
import { FileShapes } from "../fileShapes";

/** The configuration of a GLA that the names and shapes of a file tell; undefined for another family's. Throws `E_WEIGHTS`. */
export function glaFromShapes(tensors: Safetensors["tensors"]): ReadFromShapes | undefined {
  const file = new FileShapes(tensors, "a GLA");
  if (!file.has(mixer("gk_proj.0.weight"))) return undefined;
  const fused = !file.has(mixer("g_norm.weight"));
  const [keys, width] = file.shape(mixer("q_proj.weight"), 2) as [number, number];
  const values = file.size(mixer("v_proj.weight"), 0, 2);
  const heads = values / file.size(mixer(fused ? "g_norm_swish_gate.weight" : "g_norm.weight"), 0, 1);
  return {
    config: {
      model_type: "gla", ...common(file), num_heads: heads, expand_k: keys / width, expand_v: values / width, fuse_norm: fused,
    },
    assumed: [NORMS],
  };
}

/**
 * The same of a Gated DeltaNet. Queries and keys are taken to have as many heads as values, and eigenvalues not to be negative. Throws
 * `E_WEIGHTS`.
 */
export function gatedDeltaNetFromShapes(tensors: Safetensors["tensors"]): ReadFromShapes | undefined {
  const file = new FileShapes(tensors, "a Gated DeltaNet");
  if (![mixer("A_log"), mixer("b_proj.weight"), mixer("a_proj.weight")].every((name) => file.has(name))) return undefined;
  const heads = file.size(mixer("A_log"), 0, 1);
  const keySize = file.size(mixer("q_proj.weight"), 0, 2) / heads;
  return {
    config: {
      model_type: "gated_deltanet", ...common(file), num_heads: heads, num_v_heads: heads, head_dim: keySize,
      expand_v: file.size(mixer("o_norm.weight"), 0, 1) / keySize, use_gate: file.has(mixer("g_proj.weight")), allow_neg_eigval: false,
    },
    assumed: ["as many heads of keys as of values", "no negative eigenvalues", NORMS],
  };
}

const NORMS = "norms with an epsilon of 1e-6";
const mixer = (name: string): string => `model.layers.0.attn.${name}`;

function common(file: FileShapes): ReadFromShapes["config"] {
  const [vocabulary, width] = file.shape("model.embeddings.weight", 2) as readonly number[];
  const convolution = mixer("q_conv1d.weight");
  return {
    hidden_size: width, num_hidden_layers: file.count("model.layers", "attn_norm.weight"), vocab_size: vocabulary,
    intermediate_size: file.size("model.layers.0.mlp.gate_proj.weight", 0, 2),
    use_short_conv: file.has(convolution), ...(file.has(convolution) && { conv_size: file.size(convolution, 2, 3) }),
    tie_word_embeddings: !file.has("lm_head.weight"),
  };
}
