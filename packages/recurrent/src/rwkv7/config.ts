/**
 * RWKV-7's configuration. Its published files are bare weights, whose configuration is read from shapes; ours has the names that the
 * authors' training program gives these numbers.
 *
 * Glossary (Peng et al. 2025, "RWKV-7 Goose" -> here): D -> `width`, L -> `layers`, head size -> `headSize`, h -> `heads`.
 */
import { check } from "@lenggen/kernels";
import {
  choiceField, type ConfigInput, type ConfigOptions, nullableField, optionalField, readConfig, wholeField,
} from "@lenggen/kernels/nn";
import { checkRanges, DECAY_RANGE } from "../init";

// Bounds are far above any published model; they keep a hostile file from asking for endless tables.
const [count, layers, vocabulary] = [wholeField({ to: 2 ** 20 }), wholeField({ to: 2 ** 12 }), wholeField({ to: 2 ** 24 })];
const derived = optionalField(nullableField(count, null), null);

/** Fields of one time mix. */
export const RWKV7_MIXER = {
  head_size: optionalField(count, 64),
  d_decay_lora: derived,
  d_aaa_lora: derived,
  d_mv_lora: derived,
  d_gate_lora: derived,
  decay_init_range: DECAY_RANGE,
};

const FIELDS = {
  model_type: optionalField(choiceField("rwkv7"), "rwkv7"),
  format: optionalField(choiceField("rwkv-x070"), "rwkv-x070"),
  n_layer: layers,
  n_embd: count,
  vocab_size: vocabulary,
  dim_ffn: derived,
  ...RWKV7_MIXER,
};

/**
 * `config.json` of an RWKV-7. What is null or left out follows from the width D as in the authors' training program: `dim_ffn` 4D, the
 * ranks of decay and `aaa` 2.5 √D, of `mv` 1.7 √D, of the gate 5 √D, each to the nearest multiple of 32. Released models have other ranks.
 */
export type Rwkv7Json = ConfigInput<typeof FIELDS>;

/** A configuration with everything derived; made by {@link parseRwkv7Config}. */
export interface Rwkv7Config {
  readonly width: number;
  readonly layers: number;
  readonly vocabulary: number;
  readonly heads: number;
  readonly headSize: number;
  /** Width inside the channel mix. */
  readonly innerWidth: number;
  /** Rank of what the decay depends on. */
  readonly decayRank: number;
  /** Rank of what the learning rate within a context, `a`, depends on. */
  readonly rateRank: number;
  /** Rank of what each value's share of the first layer's depends on. */
  readonly valueRank: number;
  readonly gateRank: number;
  /** Rates of decay per token that the channels of a layer begin with, evenly spread over their logarithm; null: as published. */
  readonly decayRange: readonly [number, number] | null;
}

/** The rate of decay per token that no channel goes beyond: the decay is exp(-e^{-1/2} σ(w)). */
export const FASTEST_DECAY = Math.exp(-0.5);

/** Throws `E_CONFIG` naming the field, its value and what it may be, or the field that there is none of. */
export function parseRwkv7Config(json: unknown, options: ConfigOptions = {}): Rwkv7Config {
  const parsed = readConfig({ fields: FIELDS }, json, options);
  const { n_embd: width, head_size: headSize } = parsed;
  check(width % headSize === 0, "E_CONFIG", () => `config: head_size ${headSize} must divide n_embd ${width}`);
  const range = parsed.decay_init_range;
  checkRanges({ decay_init_range: range });
  check(range === null || range[1] < FASTEST_DECAY, "E_CONFIG", () =>
    `config: decay_init_range [${range!.join(", ")}] must end below ${FASTEST_DECAY.toFixed(4)}, the fastest decay of RWKV-7`);
  const rank = (factor: number) => Math.max(32, Math.round((factor * Math.sqrt(width)) / 32) * 32);
  return {
    width, layers: parsed.n_layer, vocabulary: parsed.vocab_size, heads: width / headSize, headSize,
    innerWidth: parsed.dim_ffn ?? 4 * width,
    decayRank: parsed.d_decay_lora ?? rank(2.5),
    rateRank: parsed.d_aaa_lora ?? rank(2.5),
    valueRank: parsed.d_mv_lora ?? rank(1.7),
    gateRank: parsed.d_gate_lora ?? rank(5),
    decayRange: range,
  };
}

/** A configuration with nothing left out; it makes the same model again. */
export function rwkv7Json(c: Rwkv7Config): Rwkv7Json {
  return {
    model_type: "rwkv7",
    n_layer: c.layers,
    n_embd: c.width,
    vocab_size: c.vocabulary,
    head_size: c.headSize,
    dim_ffn: c.innerWidth,
    d_decay_lora: c.decayRank,
    d_aaa_lora: c.rateRank,
    d_mv_lora: c.valueRank,
    d_gate_lora: c.gateRank,
    ...(c.decayRange && { decay_init_range: [...c.decayRange] }),
  };
}
