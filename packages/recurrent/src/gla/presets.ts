/** Named configurations: a small one for bytes, and those of the published checkpoints (fla-hub/gla-*, SlimPajama). */
import type { GlaJson } from "./config";

const published = (width: number, layers: number, heads: number, tied: boolean) => ({
  model_type: "gla", hidden_size: width, num_hidden_layers: layers, num_heads: heads, expand_k: 0.5, expand_v: 1, vocab_size: 32_000,
  tie_word_embeddings: tied,
}) as const;

/** Configurations by name: `gla-tiny-byte`, and the published sizes. */
export const GLA_PRESETS = {
  /**
   * 256 byte tokens, four layers, 0.5 million parameters: trains on a laptop's CPU in minutes. Channels begin to forget after 1,000 to
   * 100,000 bytes, where the published models begin with 23, and short convolutions with their activations give keys and values a mean
   * that adds up: with both, so small a model leaves the states of its training behind (results/collapse-search.md).
   */
  "gla-tiny-byte": {
    model_type: "gla", hidden_size: 128, num_hidden_layers: 4, num_heads: 2, expand_k: 0.5, expand_v: 1, intermediate_size: 128,
    vocab_size: 256, tie_word_embeddings: true, use_short_conv: true, decay_init_range: [1e-5, 1e-3],
  },
  "gla-340m": published(1024, 24, 4, true),
  "gla-1.3b": published(2048, 24, 4, false),
  "gla-2.7b": published(2560, 32, 5, false),
} as const satisfies Record<string, GlaJson>;

/** A name in {@link GLA_PRESETS}. */
export type GlaPreset = keyof typeof GLA_PRESETS;
