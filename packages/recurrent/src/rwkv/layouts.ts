/**
 * In what layouts RWKV-6 and RWKV-7 are published:
 *
 *   rwkv          their authors' own: bare weights, without a configuration; ours has the names of the authors' training program
 *   fla           flash-linear-attention: low-rank matrices as those of linear layers (transposed), vectors without empty axes
 *   transformers  RWKV-7: transformers' own `rwkv7`, the authors' names behind a prefix. RWKV-6: the code that comes with the checkpoints
 *                 of the RWKV organisation on the hub, which transformers runs and llama.cpp converts
 */
import { type Form, type Names, partOfTensor, reshaped, type StoredName, transposed } from "@lenggen/kernels/nn";

/** See the file's head. */
export type RwkvLayout = (typeof RWKV_LAYOUTS)[number];
export const RWKV_LAYOUTS = ["rwkv", "fla", "transformers"] as const;

/** Epsilon of the layer norms, and of the norm behind the heads at any head size: that times 8², the "head size divisor". */
export const NORM_EPS = 1e-5;
export const HEAD_NORM_EPS = 64e-5;

/** What stands around the mixes. */
export interface RwkvNames {
  readonly embedding: Names;
  readonly inputNorm: Names;
  readonly blocks: Names;
  readonly timeMix: Names;
  readonly channelMix: Names;
  readonly timeNorm: Names;
  readonly channelNorm: Names;
  readonly outputNorm: Names;
  readonly head: Names;
}

const common = {
  timeNorm: { own: "ln1", fla: "attn_norm" },
  channelNorm: { own: "ln2", fla: "ffn_norm" },
  head: { own: "head.weight", fla: "lm_head.weight" },
} as const;

export const RWKV6_NAMES: RwkvNames = {
  ...common,
  embedding: { own: "emb.weight", fla: "model.embeddings.weight", transformers: "rwkv.embeddings.weight" },
  inputNorm: { own: "blocks.0.ln0", fla: "model.layers.0.pre_norm", transformers: "rwkv.blocks.0.pre_ln" },
  blocks: { own: "blocks", fla: "model.layers", transformers: "rwkv.blocks" },
  timeMix: { own: "att", fla: "attn", transformers: "attention" },
  channelMix: { own: "ffn", fla: "ffn", transformers: "feed_forward" },
  outputNorm: { own: "ln_out", fla: "model.norm", transformers: "rwkv.ln_out" },
};

export const RWKV7_NAMES: RwkvNames = {
  ...common,
  embedding: { own: "emb.weight", fla: "model.embeddings.weight", transformers: "rwkv7.emb.weight" },
  inputNorm: { own: "blocks.0.ln0", fla: "model.layers.0.pre_norm", transformers: "rwkv7.blocks.0.ln0" },
  blocks: { own: "blocks", fla: "model.layers", transformers: "rwkv7.blocks" },
  timeMix: { own: "att", fla: "attn" },
  channelMix: "ffn",
  outputNorm: { own: "ln_out", fla: "model.norm", transformers: "rwkv7.ln_out" },
};

/** A vector [1,1,D] that flash-linear-attention has as [D]. */
export function vectorIn(name: string, width: number): StoredName {
  return { name, form: reshaped([width], [1, 1, width]) };
}

/** One of the vectors [1,1,D] that it has as the rows of one tensor. */
export function rowIn(index: number, rows: number, width: number): Form {
  return partOfTensor(index, rows, reshaped([width], [1, 1, width]));
}

/** A matrix of `x · w` that flash-linear-attention has as that of a linear layer. */
export function linearIn(name: string, shape: readonly [number, number]): StoredName {
  return { name, form: transposed(shape) };
}
