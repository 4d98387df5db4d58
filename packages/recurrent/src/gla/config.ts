/**
 * Configuration of Gated Linear Attention in flash-linear-attention's form (`GLAConfig`), older files included.
 *
 * Glossary (Yang et al. 2024 -> here): d -> `width`, L -> `layers`, H -> `heads`, d_k/H -> `keySize`, d_v/H -> `valueSize`.
 */
import { check } from "@lenggen/kernels";
import {
  choiceField, type ConfigInput, type ConfigOptions, flagField, nullableField, optionalField, readConfig,
} from "@lenggen/kernels/nn";
import {
  count, expansion, FLA_FIELDS, FLA_IGNORED, FLA_MIXER, flaJson, type FlaSettings, flaSettings, headSize, layerCount,
} from "../fla/settings";
import { DECAY_RANGE } from "../init";

/** Fields of one mixer. */
export const GLA_MIXER = {
  ...FLA_MIXER,
  num_heads: optionalField(count, 4),
  expand_k: optionalField(expansion, 0.5),
  expand_v: optionalField(expansion, 1),
  use_short_conv: optionalField(flagField(), false),
  decay_init_range: DECAY_RANGE,
};

const FIELDS = {
  model_type: choiceField("gla"),
  ...FLA_FIELDS,
  ...GLA_MIXER,
  num_hidden_layers: optionalField(layerCount, 24),
  num_kv_heads: optionalField(nullableField(count, null), null),
  // Which kernel: the function is one. `fused_chunk` stands in files of before 2025.
  attn_mode: optionalField(choiceField("chunk", "fused_chunk", "fused_recurrent"), "chunk"),
  share_conv_kernel: optionalField(flagField(), false),
  feature_map: optionalField(choiceField(null), null),
  clamp_min: optionalField(choiceField(null), null),
  elementwise_affine: optionalField(choiceField(true), true),
  use_gk: optionalField(choiceField(true), true),
  use_gv: optionalField(choiceField(false), false),
  use_output_gate: optionalField(choiceField(true), true),
};

/** `config.json` of a GLA model; fields left out have flash-linear-attention's defaults. */
export type GlaJson = ConfigInput<typeof FIELDS>;

/** A configuration with everything derived; made by {@link parseGlaConfig}. */
export interface GlaConfig extends FlaSettings {
  readonly heads: number;
  /** Of one head. */
  readonly keySize: number;
  readonly valueSize: number;
  /** Keys and values of all heads, as shares of the width. */
  readonly expandKeys: number;
  readonly expandValues: number;
  /** Rates of decay per token that channels begin with, evenly spread over their logarithm; null: all with log 2 / 16, as published. */
  readonly decayRange: readonly [number, number] | null;
}

/** Throws `E_CONFIG` naming the field, its value and what it may be, or the field that there is none of. */
export function parseGlaConfig(json: unknown, options: ConfigOptions = {}): GlaConfig {
  const parsed = readConfig({ fields: FIELDS, ignored: FLA_IGNORED }, json, options);
  const { num_heads: heads, num_kv_heads: pairs, expand_k: keys, expand_v: values, hidden_size: width } = parsed;
  check(pairs === null || pairs === heads, "E_CONFIG", () =>
    `config: num_kv_heads ${pairs} must be num_heads ${heads} or null: keys and values that several heads share are not supported`);
  check(!(parsed.use_short_conv && parsed.share_conv_kernel), "E_CONFIG", () =>
    "config: share_conv_kernel with use_short_conv: one convolution for q, k and v is not supported; it must be false");
  return {
    ...flaSettings(parsed),
    heads,
    keySize: headSize(`expand_k ${keys} of hidden_size ${width}`, Math.trunc(width * keys), heads),
    valueSize: headSize(`expand_v ${values} of hidden_size ${width}`, Math.trunc(width * values), heads),
    expandKeys: keys,
    expandValues: values,
    decayRange: parsed.decay_init_range,
  };
}

/** A configuration from which flash-linear-attention and lenggen make the same model again. */
export function glaJson(c: GlaConfig): GlaJson {
  return {
    model_type: "gla", ...flaJson(c), num_heads: c.heads, expand_k: c.expandKeys, expand_v: c.expandValues,
    ...(c.decayRange && { decay_init_range: [...c.decayRange] }),
  };
}
