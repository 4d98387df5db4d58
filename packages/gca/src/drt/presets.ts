/** Named configurations of the DRT. */
import type { DrtJson } from "./config";

const byte = {
  model_type: "drt", vocab_size: 256, hidden_size: 64, intermediate_size: 192, num_attention_heads: 2, lower_layers: 2, encoder_layers: 1,
  chunk_size: 64, window: 129, top_k: 8, softmax_off_by_one: false,
} as const;

const paper = {
  model_type: "drt", vocab_size: 50264, hidden_size: 768, intermediate_size: 2048, num_attention_heads: 12, lower_layers: 6,
  encoder_layers: 2, chunk_size: 63, window: 512, top_k: 8,
} as const;

/**
 * Configurations by name. `drt-tiny` and `drt-tiny-2` (one and two retrievals): byte tokens, chunks of 64, for a laptop's CPU.
 * `drt-128m` and `drt-128m-2`: the sizes of the paper's smaller models.
 */
export const DRT_PRESETS = {
  "drt-tiny": { ...byte, upper_groups: [2] },
  "drt-tiny-2": { ...byte, upper_groups: [1, 1] },
  "drt-128m": { ...paper, upper_groups: [6] },
  "drt-128m-2": { ...paper, upper_groups: [3, 3] },
} as const satisfies Record<string, DrtJson>;

/** A name in {@link DRT_PRESETS}. */
export type DrtPreset = keyof typeof DRT_PRESETS;
