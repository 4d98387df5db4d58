/** RWKV-6 in llama.cpp's form. */
import type { GgufForm } from "../gguf/form";
import { rwkvForm } from "../rwkv/gguf";
import type { Rwkv6Config } from "./config";

export function rwkv6Gguf(c: Rwkv6Config): GgufForm {
  const { width, innerWidth, mixRank, decayRank } = c;
  const values = {
    rescale_every_n_layers: ["u32", 0], time_mix_extra_dim: ["u32", mixRank], time_decay_extra_dim: ["u32", decayRank],
  } as const;
  return rwkvForm("rwkv6", c, values, (layer) => {
    layer
      .plain("time_mix_lerp_x", "att.time_maa_x", width)
      .fused("time_mix_lerp_fused", ["w", "k", "v", "r", "g"].map((name) => `att.time_maa_${name}`), width)
      .turned("time_mix_w1", "att.time_maa_w1", 5 * mixRank, width)
      .turned("time_mix_w2", "att.time_maa_w2", 5, width, mixRank)
      .plain("time_mix_decay", "att.time_decay", width)
      .turned("time_mix_decay_w1", "att.time_decay_w1", decayRank, width)
      .turned("time_mix_decay_w2", "att.time_decay_w2", width, decayRank)
      .plain("time_mix_first", "att.time_faaaa", c.heads, c.headSize)
      .plain("channel_mix_lerp_k", "ffn.time_maa_k", width)
      .plain("channel_mix_lerp_r", "ffn.time_maa_r", width)
      .plain("channel_mix_key", "ffn.key.weight", innerWidth, width)
      .plain("channel_mix_value", "ffn.value.weight", width, innerWidth)
      .plain("channel_mix_receptance", "ffn.receptance.weight", width, width);
    for (const name of ["receptance", "key", "value", "output", "gate"]) {
      layer.plain(`time_mix_${name}`, `att.${name}.weight`, width, width);
    }
  });
}
