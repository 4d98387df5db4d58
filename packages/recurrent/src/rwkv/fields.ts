/** Fields that configurations of RWKV-6 and RWKV-7 have in common, in each layout's form. */
import {
  choiceField, type Field, flagField, nullableField, numberField, optionalField, TRANSFORMERS_FIELDS, wholeField,
} from "@lenggen/kernels/nn";
import { FLA_IGNORED, noAttention } from "../fla/settings";
import { HEAD_NORM_EPS, NORM_EPS } from "./layouts";

// Bounds are far above any published model; they keep a hostile file from asking for endless tables.
export const [count, layers, vocabulary] = [wholeField({ to: 2 ** 20 }), wholeField({ to: 2 ** 12 }), wholeField({ to: 2 ** 24 })];
export const derived = optionalField(nullableField(count, null), null);
const positive = numberField({ above: 0 });

/** Epsilons in our own form, for models that came in a layout that has others. */
export const OWN_NORMS = {
  norm_eps: optionalField(positive, NORM_EPS),
  head_norm_eps: optionalField(positive, HEAD_NORM_EPS),
};

/** A field of lenggen's in the forms of other programs, for models whose heads are normed with another epsilon than these would. */
export const HEAD_NORM = { head_norm_eps: optionalField(nullableField(positive, null), null) };

/** What flash-linear-attention can set, and lenggen has in one way only. */
export const FLA_RWKV = {
  hidden_act: optionalField(choiceField("sqrelu"), "sqrelu"),
  norm_first: optionalField(choiceField(true), true),
  norm_bias: optionalField(choiceField(true), true),
  norm_eps: optionalField(positive, NORM_EPS),
  fuse_norm: optionalField(flagField(), true),
  tie_word_embeddings: optionalField(choiceField(false), false),
  attn: optionalField(noAttention, null),
  ...HEAD_NORM,
};

/** Of transformers' and of flash-linear-attention's form, what says nothing about the function. */
export const RWKV_IGNORED: readonly string[] = [...TRANSFORMERS_FIELDS, ...FLA_IGNORED, "attn_mode"];

/** Which form a configuration is in, but for those of RWKV-7 in the two others' ({@link isOfTransformers}). */
export const isOwnForm = (json: unknown): boolean => json === null || typeof json !== "object" || !("hidden_size" in json);

/** A value that follows from others, and may be written all the same. */
export function equalField(value: string, accepts: (given: unknown) => boolean): Field<unknown> {
  return { expected: value, read: (given) => (accepts(given) ? given : undefined) };
}
