/**
 * Configuration of Gated DeltaNet in flash-linear-attention's form (`GatedDeltaNetConfig`).
 *
 * Glossary (Yang et al. 2025 -> here): d -> `width`, L -> `layers`, H -> `heads` of queries and keys, `valueHeads` of values and states,
 * d_k -> `keySize`, d_v -> `valueSize`.
 */
import { check } from "@lenggen/kernels";
import {
  choiceField, type ConfigInput, type ConfigOptions, flagField, nullableField, optionalField, readConfig,
} from "@lenggen/kernels/nn";
import { count, expansion, FLA_FIELDS, FLA_IGNORED, FLA_MIXER, flaJson, type FlaSettings, flaSettings, layerCount } from "../fla/settings";
import { DECAY_RANGE } from "../init";

/** Fields of one mixer. */
export const GATED_DELTANET_MIXER = {
  ...FLA_MIXER,
  num_heads: optionalField(count, 6),
  num_v_heads: optionalField(nullableField(count, null), null),
  head_dim: optionalField(count, 256),
  expand_v: optionalField(expansion, 2),
  use_gate: optionalField(flagField(), true),
  use_short_conv: optionalField(flagField(), true),
  allow_neg_eigval: optionalField(flagField(), false),
  decay_init_range: DECAY_RANGE,
};

const FIELDS = {
  model_type: choiceField("gated_deltanet"),
  ...FLA_FIELDS,
  ...GATED_DELTANET_MIXER,
  num_hidden_layers: optionalField(layerCount, 21),
  // Which kernel: the function is one.
  attn_mode: optionalField(choiceField("chunk", "fused_recurrent"), "chunk"),
};

/** `config.json` of a Gated DeltaNet; fields left out have flash-linear-attention's defaults. */
export type GatedDeltaNetJson = ConfigInput<typeof FIELDS>;

/** A configuration with everything derived; made by {@link parseGatedDeltaNetConfig}. */
export interface GatedDeltaNetConfig extends FlaSettings {
  readonly heads: number;
  /** A multiple of `heads`: value head h reads the queries and keys of head ⌊h · heads / valueHeads⌋. */
  readonly valueHeads: number;
  /** Of one head. */
  readonly keySize: number;
  readonly valueSize: number;
  readonly gated: boolean;
  /** Whether β reaches 2, so that the state may swing from sign to sign (Grazzi et al. 2025). */
  readonly negativeEigenvalues: boolean;
  /** Rates of decay per token that heads begin with, evenly spread over their logarithm; null: as published. */
  readonly decayRange: readonly [number, number] | null;
}

/** Throws `E_CONFIG` naming the field, its value and what it may be, or the field that there is none of. */
export function parseGatedDeltaNetConfig(json: unknown, options: ConfigOptions = {}): GatedDeltaNetConfig {
  const parsed = readConfig({ fields: FIELDS, ignored: FLA_IGNORED }, json, options);
  const { num_heads: heads, num_v_heads: given, head_dim: keySize, expand_v: expand } = parsed;
  const valueHeads = given ?? heads;
  check(valueHeads % heads === 0, "E_CONFIG", () => `config: num_v_heads ${valueHeads} must be a multiple of num_heads ${heads}`);
  const valueSize = Math.round(keySize * expand);
  check(valueSize >= 1 && Math.abs(keySize * expand - valueSize) <= 1e-5 * valueSize, "E_CONFIG", () =>
    `config: expand_v ${expand} times head_dim ${keySize} is ${keySize * expand}; it must be a whole number`);
  return {
    ...flaSettings(parsed), heads, valueHeads, keySize, valueSize, gated: parsed.use_gate, negativeEigenvalues: parsed.allow_neg_eigval,
    decayRange: parsed.decay_init_range,
  };
}

/** A configuration from which flash-linear-attention and lenggen make the same model again. */
export function gatedDeltaNetJson(c: GatedDeltaNetConfig): GatedDeltaNetJson {
  return {
    model_type: "gated_deltanet", ...flaJson(c), num_heads: c.heads, num_v_heads: c.valueHeads, head_dim: c.keySize,
    expand_v: c.valueSize / c.keySize, use_gate: c.gated, allow_neg_eigval: c.negativeEigenvalues,
    ...(c.decayRange && { decay_init_range: [...c.decayRange] }),
  };
}
