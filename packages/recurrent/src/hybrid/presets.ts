/** Named configurations, all of bytes: one for each way of building a hybrid. */
import type { HybridJson } from "./config";

const mlp = { type: "mlp", intermediate_size: 192 } as const;
const heads = { type: "attention", num_attention_heads: 4, num_key_value_heads: 2 } as const;
/** -A as in Mamba-2's `tiny-byte`, so that these stacks collapse as that does. */
const ssm = { type: "mamba2", d_state: 32, headdim: 32, chunk_size: 64, A_init_range: [0.01, 0.1] } as const;
const common = { model_type: "hybrid", vocab_size: 256, hidden_size: 96 } as const;

/** Configurations by name; each has about half a million parameters and trains on a laptop's CPU in minutes. */
export const HYBRID_PRESETS = {
  /** State-space layers with attention over a short window between them: the state does not grow. */
  "hybrid-tiny-byte": {
    ...common,
    blocks: { ssm, mlp, attention: { ...heads, window: 65 } },
    layers: ["ssm", "mlp", "ssm", "mlp", "attention", "mlp", "ssm", "mlp"],
  },
  /** Three layers of a gated delta rule to one of attention to everything before, as in Qwen3-Next. */
  "hybrid-delta-tiny-byte": {
    ...common,
    blocks: {
      delta: { type: "gated_deltanet", num_heads: 3, head_dim: 24, expand_v: 2, use_short_conv: true },
      mlp,
      attention: heads,
    },
    layers: ["delta", "mlp", "delta", "mlp", "delta", "mlp", "attention", "mlp"],
  },
  /** State-space layers and attention side by side, as in Falcon-H1. */
  "hybrid-parallel-tiny-byte": {
    ...common,
    blocks: { ssm, attention: { ...heads, window: 65 }, mlp },
    layers: [["ssm", "attention"], "mlp", ["ssm", "attention"], "mlp", ["ssm", "attention"], "mlp"],
  },
} as const satisfies Record<string, HybridJson>;

/** A name in {@link HYBRID_PRESETS}. */
export type HybridPreset = keyof typeof HYBRID_PRESETS;
