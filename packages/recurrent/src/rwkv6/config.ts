/**
 * RWKV-6's configuration. Its published files are bare weights, whose configuration is read from shapes; ours has the names that the
 * authors' training program gives these numbers.
 *
 * Glossary (Peng et al. 2024, "Eagle and Finch" -> here): D -> `width`, L -> `layers`, head size -> `headSize`, h -> `heads`.
 */
import { check } from "@lenggen/kernels";
import {
  choiceField, type ConfigInput, type ConfigOptions, nullableField, optionalField, readConfig, wholeField,
} from "@lenggen/kernels/nn";
import { checkRanges, DECAY_RANGE } from "../init";

// Bounds are far above any published model; they keep a hostile file from asking for endless tables.
const [count, layers, vocabulary] = [wholeField({ to: 2 ** 20 }), wholeField({ to: 2 ** 12 }), wholeField({ to: 2 ** 24 })];

/** Fields of one time mix. */
export const RWKV6_MIXER = {
  head_size: optionalField(count, 64),
  d_mix_lora: optionalField(count, 32),
  d_decay_lora: optionalField(count, 64),
  decay_init_range: DECAY_RANGE,
};

const FIELDS = {
  model_type: optionalField(choiceField("rwkv6"), "rwkv6"),
  format: optionalField(choiceField("rwkv-x060"), "rwkv-x060"),
  n_layer: layers,
  n_embd: count,
  vocab_size: vocabulary,
  dim_ffn: optionalField(nullableField(count, null), null),
  ...RWKV6_MIXER,
};

/**
 * `config.json` of an RWKV-6. What is left out is as in the released 1.6B; `dim_ffn` null is 3.5 times the width, down to a multiple of 32.
 */
export type Rwkv6Json = ConfigInput<typeof FIELDS>;

/** A configuration with everything derived; made by {@link parseRwkv6Config}. */
export interface Rwkv6Config {
  readonly width: number;
  readonly layers: number;
  readonly vocabulary: number;
  readonly heads: number;
  readonly headSize: number;
  /** Width inside the channel mix. */
  readonly innerWidth: number;
  /** Rank of what the shares of the token before depend on, for each of five. */
  readonly mixRank: number;
  /** Rank of what the decay depends on. */
  readonly decayRank: number;
  /** Rates of decay per token that the channels of a layer begin with, evenly spread over their logarithm; null: as published. */
  readonly decayRange: readonly [number, number] | null;
}

/** Throws `E_CONFIG` naming the field, its value and what it may be, or the field that there is none of. */
export function parseRwkv6Config(json: unknown, options: ConfigOptions = {}): Rwkv6Config {
  const parsed = readConfig({ fields: FIELDS }, json, options);
  const { n_embd: width, head_size: headSize } = parsed;
  check(width % headSize === 0, "E_CONFIG", () => `config: head_size ${headSize} must divide n_embd ${width}`);
  const innerWidth = parsed.dim_ffn ?? Math.floor((3.5 * width) / 32) * 32;
  check(innerWidth >= 1, "E_CONFIG", () => `config: dim_ffn must be given for an n_embd as small as ${width}`);
  checkRanges({ decay_init_range: parsed.decay_init_range });
  return {
    width, layers: parsed.n_layer, vocabulary: parsed.vocab_size, heads: width / headSize, headSize, innerWidth,
    mixRank: parsed.d_mix_lora, decayRank: parsed.d_decay_lora, decayRange: parsed.decay_init_range,
  };
}

/** A configuration with nothing left out; it makes the same model again. */
export function rwkv6Json(c: Rwkv6Config): Rwkv6Json {
  return {
    model_type: "rwkv6",
    n_layer: c.layers,
    n_embd: c.width,
    vocab_size: c.vocabulary,
    head_size: c.headSize,
    dim_ffn: c.innerWidth,
    d_mix_lora: c.mixRank,
    d_decay_lora: c.decayRank,
    ...(c.decayRange && { decay_init_range: [...c.decayRange] }),
  };
}
