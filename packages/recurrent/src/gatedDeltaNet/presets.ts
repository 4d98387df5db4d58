/** Named configurations: a small one for bytes, and those that flash-linear-attention, flame and linear-moe-hub publish. */
import type { GatedDeltaNetJson } from "./config";

const published = (width: number, layers: number) => ({
  model_type: "gated_deltanet", hidden_size: width, num_hidden_layers: layers, num_heads: 6, head_dim: 256, expand_v: 2,
  vocab_size: 32_000, tie_word_embeddings: false,
}) as const;

/** Configurations by name: `gated-deltanet-tiny-byte`, and the published sizes by the names that they were published under. */
export const GATED_DELTANET_PRESETS = {
  /** 256 byte tokens, four layers, 0.5 million parameters: trains on a laptop's CPU in minutes. */
  "gated-deltanet-tiny-byte": {
    model_type: "gated_deltanet", hidden_size: 128, num_hidden_layers: 4, num_heads: 2, head_dim: 32, expand_v: 2,
    intermediate_size: 128, vocab_size: 256, tie_word_embeddings: true,
  },
  /** flame's `gated_deltanet_340M.json`, which has 512 million parameters. */
  "gated-deltanet-340m": published(1024, 21),
  /** linear-moe-hub/Gated-Deltanet-1.3B: 1.2 billion. */
  "gated-deltanet-1.3b": published(2048, 18),
  /** The default of flash-linear-attention, and flame's `gated_deltanet_1B.json`: 1.4 billion. */
  "gated-deltanet-1b": published(2048, 21),
} as const satisfies Record<string, GatedDeltaNetJson>;

/** A name in {@link GATED_DELTANET_PRESETS}. */
export type GatedDeltaNetPreset = keyof typeof GATED_DELTANET_PRESETS;
