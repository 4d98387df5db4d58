/** Named configurations: a model of bytes that trains in minutes, and the released sizes of RWKV-6 "Finch". */
import type { Rwkv6Json } from "./config";

function released(width: number, layers: number, [mix, decay]: readonly [number, number]): Rwkv6Json {
  return {
    model_type: "rwkv6", n_layer: layers, n_embd: width, vocab_size: 65536, head_size: 64, d_mix_lora: mix, d_decay_lora: decay,
  };
}

/** Configurations by name: `rwkv6-tiny-byte`, and the sizes of BlinkDL/rwkv-6-world (1.6b ... 14b parameters). */
export const RWKV6_PRESETS = {
  /** 256 byte tokens, four layers, 0.57 million parameters: trains on a laptop's CPU in minutes. */
  "rwkv6-tiny-byte": {
    model_type: "rwkv6", n_layer: 4, n_embd: 96, vocab_size: 256, head_size: 32, dim_ffn: 320, d_mix_lora: 8, d_decay_lora: 16,
  },
  "rwkv6-1.6b": released(2048, 24, [32, 64]),
  "rwkv6-3b": released(2560, 32, [32, 64]),
  "rwkv6-7b": released(4096, 32, [64, 128]),
  "rwkv6-14b": released(4096, 61, [64, 128]),
} as const satisfies Record<string, Rwkv6Json>;

/** A name in {@link RWKV6_PRESETS}. */
export type Rwkv6Preset = keyof typeof RWKV6_PRESETS;
