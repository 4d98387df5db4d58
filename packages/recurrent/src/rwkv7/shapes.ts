/** What an RWKV-7 is, from the names and shapes of its weights, in any of its layouts. */
import type { ReadFromShapes, Safetensors } from "@lenggen/kernels";
import { FileShapes } from "../fileShapes";

/** The configuration that the names and shapes of a file tell; undefined where it is of another family. Throws `E_WEIGHTS`. */
export function rwkv7FromShapes(tensors: Safetensors["tensors"]): ReadFromShapes | undefined {
  const file = new FileShapes(tensors, "an RWKV-7");
  if (file.has("blocks.0.att.r_k")) return { config: ofAuthors(file), assumed: [] };
  if (file.has("rwkv7.blocks.0.att.r_k")) return { config: ofTransformers(file), assumed: ["norms with an epsilon of 1e-5"] };
  if (file.has("model.layers.0.attn.r_k")) return { config: ofFla(file), assumed: ["norms with an epsilon of 1e-5, fused"] };
  return undefined;
}

function ofAuthors(file: FileShapes): ReadFromShapes["config"] {
  const [vocabulary, width] = file.shape("emb.weight", 2) as readonly number[];
  const rank = (name: string) => file.size(`blocks.0.att.${name}1`, 1, 2);
  return {
    model_type: "rwkv7", n_layer: file.count("blocks", "att.r_k"), n_embd: width, vocab_size: vocabulary,
    head_size: file.size("blocks.0.att.r_k", 1, 2), dim_ffn: file.size("blocks.0.ffn.key.weight", 0, 2),
    d_decay_lora: rank("w"), d_aaa_lora: rank("a"), d_gate_lora: rank("g"),
    ...valueRank(file, "d_mv_lora", (layer) => `blocks.${layer}.att.v1`, 1),
    ...(hasFirstLayerValues(file, "") && { first_layer_values: true }),
  };
}

function ofTransformers(file: FileShapes): ReadFromShapes["config"] {
  const at = (name: string) => `rwkv7.blocks.0.${name}`;
  const rank = (name: string) => file.size(at(`att.${name}1`), 1, 2);
  const [vocabulary, width] = file.shape("rwkv7.emb.weight", 2) as readonly number[];
  const [heads, headSize] = file.shape(at("att.r_k"), 2) as readonly number[];
  return {
    architectures: ["Rwkv7ForCausalLM"], model_type: "rwkv7", hidden_size: width, num_hidden_layers: file.count("rwkv7.blocks", "att.r_k"),
    vocab_size: vocabulary, intermediate_size: file.size(at("ffn.key.weight"), 0, 2), head_dim: headSize, num_heads: heads,
    decay_low_rank_dim: rank("w"), a_low_rank_dim: rank("a"), gate_low_rank_dim: rank("g"),
    ...valueRank(file, "v_low_rank_dim", (layer) => `rwkv7.blocks.${layer}.att.v1`, 1),
    first_layer_values: hasFirstLayerValues(file, "rwkv7."),
  };
}

function ofFla(file: FileShapes): ReadFromShapes["config"] {
  const at = (name: string) => `model.layers.0.${name}`;
  const rank = (name: string) => file.size(at(`attn.${name}_lora.lora.0.weight`), 0, 2);
  const [vocabulary, width] = file.shape("model.embeddings.weight", 2) as readonly number[];
  return {
    model_type: "rwkv7", hidden_size: width, num_hidden_layers: file.count("model.layers", "attn.r_k"), vocab_size: vocabulary,
    intermediate_size: file.size(at("ffn.key.weight"), 0, 2), head_dim: file.size(at("attn.r_k"), 1, 2),
    decay_low_rank_dim: rank("w"), a_low_rank_dim: rank("a"), gate_low_rank_dim: rank("g"),
    ...valueRank(file, "v_low_rank_dim", (layer) => `model.layers.${layer}.attn.v_lora.lora.0.weight`, 0),
  };
}

/** The rank of what mixes values, which the first layer has no use for: a model of one layer may have none. */
function valueRank(file: FileShapes, field: string, nameIn: (layer: number) => string, axis: number): Record<string, number> {
  const name = [nameIn(1), nameIn(0)].find((each) => file.has(each));
  return name === undefined ? {} : { [field]: file.size(name, axis, 2) };
}

/** Whether the first layer has parameters that it never reads, in the shapes that the others have. */
export function hasFirstLayerValues(file: FileShapes, prefix: string): boolean {
  const [v0, v1, v2] = [0, 1, 2].map((i) => file.find(`${prefix}blocks.0.att.v${i}`));
  return v0?.length === 3 && v1?.length === 2 && v2?.length === 2 && v1[0] === v0[2] && v2[1] === v0[2] && v1[1] === v2[0];
}
