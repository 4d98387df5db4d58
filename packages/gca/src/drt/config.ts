/**
 * Configuration of the Differentiable Retrieval-based Transformer, the model of Grouped Cross Attention (Hu et al. 2025).
 *
 * Glossary (paper -> here): S -> `chunk` (tokens, without the landmark), LMK -> landmark, W -> `window`, K -> `topK`,
 * N/2 lower layers -> `lower`, G groups of upper layers -> `groups` (layers in each), d -> `width`.
 */
import { check } from "@lenggen/kernels";
import {
  choiceField, type ConfigInput, type ConfigOptions, flagField, listField, optionalField, readConfig, wholeField,
} from "@lenggen/kernels/nn";
import { type LayerSettings, layers, layerSettings, type Position, SHARED_FIELDS } from "../settings";

const FIELDS = {
  model_type: choiceField("drt"),
  ...SHARED_FIELDS,
  lower_layers: layers,
  upper_groups: listField(layers, { from: 1, to: 64 }),
  encoder_layers: layers,
  chunk_size: wholeField({ to: 2 ** 12 }),
  window: wholeField({ from: 2, to: 2 ** 20 }),
  top_k: wholeField({ to: 2 ** 10 }),
  softmax_off_by_one: optionalField(flagField(), true),
  gumbel_noise: optionalField(flagField(), true),
};

/** `config.json` of a DRT; fields left out have the paper's values. */
export type DrtJson = ConfigInput<typeof FIELDS>;

/** A configuration with everything derived; made by {@link parseDrtConfig}. */
export interface DrtConfig extends LayerSettings {
  /** Tokens that exist. One more row of the embedding is the landmark's. */
  readonly vocabulary: number;
  /** Layers below the chunk encoder. */
  readonly lower: number;
  /** Upper layers by group; each group retrieves once. */
  readonly groups: readonly number[];
  /** Layers of the chunk encoder, which sees a chunk both ways. */
  readonly encoder: number;
  /** S: tokens of a chunk; its landmark comes after them. */
  readonly chunk: number;
  /** Positions that self-attention sees, itself and landmarks included. */
  readonly window: number;
  readonly position: Position;
  /** K: chunks that a landmark retrieves. */
  readonly topK: number;
  /** Whether a retrieved chunk may be ignored: its softmax has a key of score 0 and value 0 more. */
  readonly offByOne: boolean;
  /** Whether retrieval in training adds Gumbel noise to its scores. */
  readonly gumbelNoise: boolean;
}

/** Throws `E_CONFIG` naming the field, its value and what it may be, or the field that there is none of. */
export function parseDrtConfig(json: unknown, options: ConfigOptions = {}): DrtConfig {
  const parsed = readConfig({ fields: FIELDS }, json, options);
  check(parsed.window > parsed.chunk_size, "E_CONFIG", () =>
    `config: window ${parsed.window} must be larger than chunk_size ${parsed.chunk_size}: a chunk's landmark has to see the whole chunk`);
  const total = parsed.lower_layers + parsed.upper_groups.reduce((sum, n) => sum + n, 0);
  check(total <= 2 ** 10, "E_CONFIG", () => `config: lower_layers and upper_groups add up to ${total} layers; at most 1024`);
  return {
    ...layerSettings(parsed),
    vocabulary: parsed.vocab_size,
    lower: parsed.lower_layers,
    groups: parsed.upper_groups,
    encoder: parsed.encoder_layers,
    chunk: parsed.chunk_size,
    window: parsed.window,
    position: parsed.position,
    topK: parsed.top_k,
    offByOne: parsed.softmax_off_by_one,
    gumbelNoise: parsed.gumbel_noise,
  };
}

/** The `config.json` of a DRT, which {@link parseDrtConfig} reads back to the same. */
export function drtJson(c: DrtConfig): DrtJson {
  return {
    model_type: "drt",
    vocab_size: c.vocabulary,
    hidden_size: c.width,
    intermediate_size: c.intermediateSize,
    num_attention_heads: c.heads,
    num_key_value_heads: c.kvHeads,
    lower_layers: c.lower,
    upper_groups: [...c.groups],
    encoder_layers: c.encoder,
    chunk_size: c.chunk,
    window: c.window,
    position: c.position,
    top_k: c.topK,
    softmax_off_by_one: c.offByOne,
    gumbel_noise: c.gumbelNoise,
    rms_norm_eps: c.normEps,
    rope_theta: c.ropeTheta,
  };
}

/** Decoder layers, lower and upper. */
export function decoderLayers(c: DrtConfig): number {
  return c.groups.reduce((sum, n) => sum + n, c.lower);
}
