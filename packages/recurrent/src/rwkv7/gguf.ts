/** RWKV-7 in llama.cpp's form. */
import { check } from "@lenggen/kernels";
import type { GgufForm } from "../gguf/form";
import { rwkvForm } from "../rwkv/gguf";
import type { Rwkv7Config } from "./config";

/**
 * llama.cpp's scan reads heads in steps of 16 to 64 numbers, as wide as the processor's vectors are, and past the end of one that no step
 * fits: with heads of 32, right on one processor is wrong on the next, without a word (v0.5.0). On GPUs it has heads of 64 and 128 only.
 */
const HEAD_STEP = 64;

/**
 * llama.cpp divides by a length of 1e-12 at least. What flash-linear-attention adds to the square of one makes no difference beside what
 * lengths there are; more would.
 */
const MOST_LENGTH_EPS = 1e-6;

/** Throws `E_CONFIG` for settings that llama.cpp has not. */
export function rwkv7Gguf(c: Rwkv7Config): GgufForm {
  const { width, innerWidth, headSize, decayRank, rateRank, valueRank, gateRank } = c;
  check(headSize % HEAD_STEP === 0, "E_CONFIG", () =>
    `gguf: llama.cpp's RWKV-7 computes something else unless the head size is a multiple of ${HEAD_STEP}; this model's head_size is `
      + `${headSize}`);
  check(c.lengthEps <= MOST_LENGTH_EPS, "E_CONFIG", () =>
    `gguf: llama.cpp's RWKV-7 adds nothing to the square of a key's length; this model's length_eps is ${c.lengthEps}`);
  const values = {
    "attention.decay_lora_rank": ["u32", decayRank], "attention.iclr_lora_rank": ["u32", rateRank],
    "attention.value_residual_mix_lora_rank": ["u32", valueRank], "attention.gate_lora_rank": ["u32", gateRank],
  } as const;
  return rwkvForm("rwkv7", c, values, (layer, index) => {
    const low = (name: string, from: string, rank: number) => layer
      .turned(`time_mix_${name}1`, `att.${from}1`, rank, width)
      .turned(`time_mix_${name}2`, `att.${from}2`, width, rank);
    const start = (name: string, from: string) => layer.plain(`time_mix_${name}0`, `att.${from}0`, width);
    layer.fused("time_mix_lerp_fused", ["r", "w", "k", "v", "a", "g"].map((name) => `att.x_${name}`), width);
    start("w", "w");
    low("w", "w", decayRank);
    start("a", "a");
    low("a", "a", rateRank);
    // The first layer mixes its values with no other's; llama.cpp asks for the tensors all the same, in the shapes of `a`.
    const [v, rank] = index === 0 ? ["a", rateRank] as const : ["v", valueRank] as const;
    start("v", v);
    low("v", v, rank);
    low("g", "g", gateRank);
    layer
      .plain("time_mix_k_k", "att.k_k", width)
      .plain("time_mix_k_a", "att.k_a", width)
      .plain("time_mix_r_k", "att.r_k", width)
      .plain("channel_mix_lerp_k", "ffn.x_k", width)
      .plain("channel_mix_key", "ffn.key.weight", innerWidth, width)
      .plain("channel_mix_value", "ffn.value.weight", width, innerWidth);
    for (const name of ["receptance", "key", "value", "output"]) layer.plain(`time_mix_${name}`, `att.${name}.weight`, width, width);
  });
}
