/** Named configurations. `tiny-byte` is the main job's; the others are those of the published checkpoints. */
import type { Mamba2Json } from "./config";

function published(width: number, layers: number): Mamba2Json {
  return {
    d_model: width,
    d_intermediate: 0,
    n_layer: layers,
    vocab_size: 50277,
    ssm_cfg: { layer: "Mamba2" },
    attn_layer_idx: [],
    rms_norm: true,
    residual_in_fp32: true,
    pad_vocab_size_multiple: 16,
    tie_embeddings: true,
  };
}

/** Configurations by name: `tiny-byte`, and the published sizes of state-spaces/mamba2-* (130m ... 1.3b parameters). */
export const MAMBA2_PRESETS = {
  /**
   * 256 byte tokens, four layers, 0.5 million parameters: trains on a laptop's CPU in minutes. -A starts between 0.01 and 0.1,
   * where the published models have 1 to 16: heads remember for up to 100,000 bytes instead of 1,000.
   * That is what makes so small a model leave the states of its training behind: with 1 to 16 its states
   * settle within a few contexts of 256 (results/collapse-search.md).
   */
  "tiny-byte": {
    d_model: 128,
    d_intermediate: 0,
    n_layer: 4,
    vocab_size: 256,
    ssm_cfg: { layer: "Mamba2", d_state: 64, headdim: 32, chunk_size: 64, A_init_range: [0.01, 0.1] },
    attn_layer_idx: [],
    rms_norm: true,
    residual_in_fp32: true,
    pad_vocab_size_multiple: 16,
    tie_embeddings: true,
  },
  "130m": published(768, 24),
  "370m": published(1024, 48),
  "780m": published(1536, 48),
  "1.3b": published(2048, 48),
} as const satisfies Record<string, Mamba2Json>;

/** A name in {@link MAMBA2_PRESETS}. */
export type Mamba2Preset = keyof typeof MAMBA2_PRESETS;
