/** Configuration of the baselines: a decoder whose attention sees a window, or everything. */
import { check } from "@lenggen/kernels";
import { choiceField, type ConfigInput, type ConfigOptions, nullableField, optionalField, readConfig } from "@lenggen/kernels/nn";
import { count, type LayerSettings, layers, layerSettings, type Position, SHARED_FIELDS } from "../settings";

const FIELDS = {
  model_type: choiceField("transformer"),
  ...SHARED_FIELDS,
  num_hidden_layers: layers,
  window: optionalField(nullableField(count, null), null),
};

/** `config.json` of a baseline; `window` null sees everything. */
export type TransformerJson = ConfigInput<typeof FIELDS>;

/** A configuration with everything derived; made by {@link parseTransformerConfig}. */
export interface TransformerConfig extends LayerSettings {
  readonly vocabulary: number;
  readonly layers: number;
  /** Positions that a query sees, itself included; null for all. */
  readonly window: number | null;
  readonly position: Position;
}

/** Throws `E_CONFIG` naming the field, its value and what it may be, or the field that there is none of. */
export function parseTransformerConfig(json: unknown, options: ConfigOptions = {}): TransformerConfig {
  const parsed = readConfig({ fields: FIELDS }, json, options);
  check(parsed.window === null || parsed.window >= 2, "E_CONFIG",
    () => "config: window 1 sees nothing but the token itself; it must be at least 2");
  return {
    ...layerSettings(parsed), vocabulary: parsed.vocab_size, layers: parsed.num_hidden_layers, window: parsed.window,
    position: parsed.position,
  };
}

/** The `config.json` of a baseline, which {@link parseTransformerConfig} reads back to the same. */
export function transformerJson(c: TransformerConfig): TransformerJson {
  return {
    model_type: "transformer",
    vocab_size: c.vocabulary,
    hidden_size: c.width,
    intermediate_size: c.intermediateSize,
    num_attention_heads: c.heads,
    num_key_value_heads: c.kvHeads,
    num_hidden_layers: c.layers,
    window: c.window,
    position: c.position,
    rms_norm_eps: c.normEps,
    rope_theta: c.ropeTheta,
  };
}
