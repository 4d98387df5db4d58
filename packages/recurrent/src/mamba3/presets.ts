/** Named configurations. `mamba3-tiny-byte` trains in minutes; the others are those of the published checkpoints. */
import type { Mamba3Json } from "./config";

const common = { rms_norm: true, residual_in_fp32: true, pad_vocab_size_multiple: 16, tie_embeddings: true } as const;

/** state-spaces/mamba3-*: Llama 3.1's tokens. */
function published(width: number, layers: number, intermediate: number, mimo: boolean): Mamba3Json {
  return {
    d_model: width,
    d_intermediate: intermediate,
    n_layer: layers,
    vocab_size: 128256,
    ssm_cfg: { layer: "Mamba3", ...(mimo ? { is_mimo: true, mimo_rank: 4, chunk_size: 16 } : { is_mimo: false, chunk_size: 64 }) },
    attn_layer_idx: [],
    ...common,
  };
}

/** Configurations by name: `mamba3-tiny-byte`, and the published sizes of state-spaces/mamba3-*, with one input a head and with four. */
export const MAMBA3_PRESETS = {
  /**
   * 256 byte tokens, four layers, 0.45 million parameters: trains on a laptop's CPU in minutes. Step sizes begin a hundred times as small
   * as the published models': heads remember for 1,000 to 100,000 bytes, and the model collapses beyond its training length
   * (results/collapse-search.md).
   */
  "mamba3-tiny-byte": {
    d_model: 96,
    d_intermediate: 128,
    n_layer: 4,
    vocab_size: 256,
    ssm_cfg: { layer: "Mamba3", d_state: 64, headdim: 32, chunk_size: 64, dt_min: 1e-5, dt_max: 1e-3, dt_init_floor: 1e-5 },
    attn_layer_idx: [],
    ...common,
  },
  "mamba3-siso-187m": published(768, 12, 1536, false),
  "mamba3-siso-443m": published(1024, 24, 2048, false),
  "mamba3-siso-893m": published(1536, 24, 3072, false),
  "mamba3-siso-1.5b": published(2048, 24, 4096, false),
  // The feed-forward parts of these are as wide as the next multiple of 128.
  "mamba3-mimo-187m": published(768, 12, 1264, true),
  "mamba3-mimo-444m": published(1024, 24, 1776, true),
  "mamba3-mimo-894m": published(1536, 24, 2800, true),
  "mamba3-mimo-1.5b": published(2048, 24, 3824, true),
} as const satisfies Record<string, Mamba3Json>;

/** A name in {@link MAMBA3_PRESETS}. */
export type Mamba3Preset = keyof typeof MAMBA3_PRESETS;
