/** Named configurations. `mamba-tiny-byte` trains in minutes; the others are those of the published checkpoints. */
import type { MambaJson } from "./config";

function published(width: number, layers: number): MambaJson {
  return {
    d_model: width,
    n_layer: layers,
    vocab_size: 50277,
    ssm_cfg: {},
    rms_norm: true,
    residual_in_fp32: true,
    pad_vocab_size_multiple: 8,
  };
}

/** Configurations by name: `mamba-tiny-byte`, and the published sizes of state-spaces/mamba-* (130m ... 2.8b parameters). */
export const MAMBA_PRESETS = {
  /**
   * 256 byte tokens, four layers, 0.5 million parameters: trains on a laptop's CPU in minutes. -A starts between 0.01 and 0.1, where the
   * published models have 1 to 16, for the reason that Mamba-2's `tiny-byte` has (results/collapse-search.md).
   */
  "mamba-tiny-byte": {
    d_model: 128,
    n_layer: 4,
    vocab_size: 256,
    ssm_cfg: { A_init_range: [0.01, 0.1] },
    rms_norm: true,
    residual_in_fp32: true,
    pad_vocab_size_multiple: 8,
  },
  "mamba-130m": published(768, 24),
  "mamba-370m": published(1024, 48),
  "mamba-790m": published(1536, 48),
  "mamba-1.4b": published(2048, 48),
  "mamba-2.8b": published(2560, 64),
} as const satisfies Record<string, MambaJson>;

/** A name in {@link MAMBA_PRESETS}. */
export type MambaPreset = keyof typeof MAMBA_PRESETS;
