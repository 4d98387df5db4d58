/** Named configurations of the baselines: what `drt-tiny` is measured against, with two layers more than its decoder has. */
import type { TransformerJson } from "./config";

const byte = { model_type: "transformer", vocab_size: 256, hidden_size: 64, intermediate_size: 192, num_attention_heads: 2,
  num_hidden_layers: 6 } as const;

/** Configurations by name: `sliding-window-tiny` sees as far as `drt-tiny` does without retrieval, `full-attention-tiny` everything. */
export const TRANSFORMER_PRESETS = {
  "sliding-window-tiny": { ...byte, window: 129, position: "alibi" },
  "full-attention-tiny": { ...byte, window: null, position: "rope" },
} as const satisfies Record<string, TransformerJson>;

/** A name in {@link TRANSFORMER_PRESETS}. */
export type TransformerPreset = keyof typeof TRANSFORMER_PRESETS;
