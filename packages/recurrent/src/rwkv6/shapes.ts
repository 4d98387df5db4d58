/** What an RWKV-6 is, from the names and shapes of its weights, in any of its layouts. */
import type { ReadFromShapes, Safetensors } from "@lenggen/kernels";
import { FileShapes } from "../fileShapes";

/** The configuration that the names and shapes of a file tell; undefined where it is of another family. Throws `E_WEIGHTS`. */
export function rwkv6FromShapes(tensors: Safetensors["tensors"]): ReadFromShapes | undefined {
  const file = new FileShapes(tensors, "an RWKV-6");
  if (file.has("blocks.0.att.time_maa_w2")) return { config: ofAuthors(file), assumed: [] };
  if (file.has("rwkv.blocks.0.attention.time_maa_w2")) return { config: ofTransformers(file), assumed: ["norms with an epsilon of 1e-5"] };
  if (file.has("model.layers.0.attn.x_bias") && file.has("model.layers.0.attn.bonus")) {
    return { config: ofFla(file), assumed: ["norms with an epsilon of 1e-5, that behind the heads too"] };
  }
  return undefined;
}

function ofAuthors(file: FileShapes): ReadFromShapes["config"] {
  const [vocabulary, width] = file.shape("emb.weight", 2) as readonly number[];
  return {
    model_type: "rwkv6", n_layer: file.count("blocks", "att.time_maa_w2"), n_embd: width, vocab_size: vocabulary,
    head_size: file.size("blocks.0.att.time_faaaa", 1, 2), dim_ffn: file.size("blocks.0.ffn.key.weight", 0, 2),
    d_mix_lora: file.size("blocks.0.att.time_maa_w2", 1, 3), d_decay_lora: file.size("blocks.0.att.time_decay_w1", 1, 2),
  };
}

function ofTransformers(file: FileShapes): ReadFromShapes["config"] {
  const [vocabulary, width] = file.shape("rwkv.embeddings.weight", 2) as readonly number[];
  const at = (name: string) => `rwkv.blocks.0.${name}`;
  return {
    model_type: "rwkv6", hidden_size: width, num_hidden_layers: file.count("rwkv.blocks", "attention.time_maa_w2"),
    vocab_size: vocabulary, head_size: file.size(at("attention.time_faaaa"), 1, 2),
    intermediate_size: file.size(at("feed_forward.key.weight"), 0, 2),
    time_mix_extra_dim: file.size(at("attention.time_maa_w2"), 1, 3), time_decay_extra_dim: file.size(at("attention.time_decay_w1"), 1, 2),
  };
}

function ofFla(file: FileShapes): ReadFromShapes["config"] {
  const [vocabulary, width] = file.shape("model.embeddings.weight", 2) as readonly number[];
  const at = (name: string) => `model.layers.0.${name}`;
  return {
    model_type: "rwkv6", hidden_size: width, num_hidden_layers: file.count("model.layers", "attn.x_bias"), vocab_size: vocabulary,
    num_heads: file.size(at("attn.bonus"), 0, 2), expand_k: 1, intermediate_size: file.size(at("ffn.key.linear.weight"), 0, 2),
    proj_low_rank_dim: Math.floor(file.size(at("attn.x_proj.0.linear.weight"), 0, 2) / 5),
    gate_low_rank_dim: file.size(at("attn.w_proj.linear.lora.0.weight"), 0, 2),
  };
}
