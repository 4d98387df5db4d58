/** Named configurations: a model of bytes that trains in minutes, and the released sizes of RWKV-7 "Goose". */
import type { Rwkv7Json } from "./config";

function released(width: number, layers: number, [decay, rate, value, gate]: readonly [number, number, number, number]): Rwkv7Json {
  return {
    model_type: "rwkv7", n_layer: layers, n_embd: width, vocab_size: 65536, head_size: 64,
    d_decay_lora: decay, d_aaa_lora: rate, d_mv_lora: value, d_gate_lora: gate,
  };
}

/** Configurations by name: `rwkv7-tiny-byte`, and the sizes of BlinkDL/rwkv7-g1 and rwkv-7-world (0.1b ... 13.3b parameters). */
export const RWKV7_PRESETS = {
  /** 256 byte tokens, four layers, 0.55 million parameters: trains on a laptop's CPU in minutes. */
  "rwkv7-tiny-byte": {
    model_type: "rwkv7", n_layer: 4, n_embd: 96, vocab_size: 256, head_size: 32, dim_ffn: 384,
    d_decay_lora: 16, d_aaa_lora: 16, d_mv_lora: 8, d_gate_lora: 32,
  },
  "rwkv7-0.1b": released(768, 12, [64, 64, 32, 128]),
  "rwkv7-0.4b": released(1024, 24, [64, 64, 32, 128]),
  "rwkv7-1.5b": released(2048, 24, [96, 96, 64, 256]),
  "rwkv7-2.9b": released(2560, 32, [96, 96, 64, 320]),
  "rwkv7-7.2b": released(4096, 32, [128, 128, 96, 480]),
  "rwkv7-13.3b": released(4096, 61, [192, 192, 128, 384]),
} as const satisfies Record<string, Rwkv7Json>;

/** A name in {@link RWKV7_PRESETS}. */
export type Rwkv7Preset = keyof typeof RWKV7_PRESETS;
