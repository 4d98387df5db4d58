/** What Mamba-1, 2 and 3 share of what is read from names and shapes. */
import type { ReadFromShapes, Safetensors } from "@lenggen/kernels";
import { FileShapes } from "./fileShapes";
import { EMBEDDING, HEAD } from "./mambaFiles";

/** A file whose layers hold a mixer's part of that name; undefined for others. */
export function mambaFile(tensors: Safetensors["tensors"], what: string, part: string): FileShapes | undefined {
  const file = new FileShapes(tensors, what);
  return file.has(`backbone.layers.0.mixer.${part}`) ? file : undefined;
}

/** Sizes of a mixer's tensors, by its parts. */
export const mixerPart = (name: string): string => `backbone.layers.0.mixer.${name}`;

/** What the names and shapes around the mixers tell, and `mixer` those in it: of mamba_ssm's form and of transformers'. */
export function mambaConfig(file: FileShapes, { type, ssm, transformers }: {
  readonly type: "mamba" | "mamba2";
  readonly ssm: Readonly<Record<string, unknown>>;
  readonly transformers: Readonly<Record<string, unknown>>;
}): ReadFromShapes["config"] {
  const isOwn = file.has(EMBEDDING.own);
  const [vocabulary, width] = file.shape(isOwn ? EMBEDDING.own : EMBEDDING.transformers, 2) as readonly number[];
  const [layers, tied] = [file.count("backbone.layers", "norm.weight"), !file.has(HEAD)];
  if (isOwn) {
    return { d_model: width, n_layer: layers, vocab_size: vocabulary, pad_vocab_size_multiple: 1, tie_embeddings: tied, ssm_cfg: ssm };
  }
  const sizes = { hidden_size: width, num_hidden_layers: layers, vocab_size: vocabulary, tie_word_embeddings: tied };
  return { model_type: type, ...sizes, ...transformers };
}

/** What shapes can't tell of any of them. */
export function assumedOf(file: FileShapes): readonly string[] {
  return ["norms with an epsilon of 1e-5", ...(file.has(HEAD) ? ["an output matrix that is not tied to the embedding"] : [])];
}
