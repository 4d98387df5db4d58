/**
 * RWKV-7's configuration, in the form of any of its layouts (../rwkv/layouts.ts). The authors' files are bare weights, whose configuration
 * is read from shapes (shapes.ts); ours has the names that their training program gives these numbers.
 *
 * Glossary (Peng et al. 2025, "RWKV-7 Goose" -> here): D -> `width`, L -> `layers`, head size -> `headSize`, h -> `heads`.
 */
import { check } from "@lenggen/kernels";
import {
  choiceField, type ConfigInput, type ConfigOptions, type ConfigOutput, flagField, nullableField, numberField, optionalField, readConfig,
} from "@lenggen/kernels/nn";
import { DECAY_RANGE } from "../init";
import {
  count, derived, equalField, FLA_RWKV, HEAD_NORM, isOwnForm, layers, OWN_NORMS, RWKV_IGNORED, vocabulary,
} from "../rwkv/fields";
import { HEAD_NORM_EPS, NORM_EPS, type RwkvLayout } from "../rwkv/layouts";

/** Fields of one time mix. */
export const RWKV7_MIXER = {
  head_size: optionalField(count, 64),
  d_decay_lora: derived,
  d_aaa_lora: derived,
  d_mv_lora: derived,
  d_gate_lora: derived,
  decay_init_range: DECAY_RANGE,
};

const OWN = {
  model_type: optionalField(choiceField("rwkv7"), "rwkv7"),
  format: optionalField(choiceField("rwkv-x070"), "rwkv-x070"),
  n_layer: layers,
  n_embd: count,
  vocab_size: vocabulary,
  dim_ffn: derived,
  ...RWKV7_MIXER,
  ...OWN_NORMS,
  length_eps: optionalField(numberField({ above: 0 }), 1e-24),
  first_layer_values: optionalField(flagField(), false),
};

/** Ranks as flash-linear-attention and transformers call them. */
const ranks = (decay: number, rate: number, value: number, gate: number) => ({
  decay_low_rank_dim: optionalField(nullableField(count, null), decay),
  a_low_rank_dim: optionalField(nullableField(count, null), rate),
  v_low_rank_dim: optionalField(nullableField(count, null), value),
  gate_low_rank_dim: optionalField(nullableField(count, null), gate),
});

/** Fields of flash-linear-attention's `RWKV7Config`, and one that it has none for and leaves alone. */
const FLA = {
  fields: {
    model_type: choiceField("rwkv7"),
    hidden_size: optionalField(count, 2048),
    num_hidden_layers: optionalField(layers, 24),
    vocab_size: optionalField(vocabulary, 32_000),
    hidden_ratio: optionalField(nullableField(numberField({ above: 0, to: 1024 }), 4), 4),
    intermediate_size: derived,
    head_dim: optionalField(nullableField(count, null), 64),
    num_heads: derived,
    ...ranks(64, 64, 16, 128),
    value_dim: optionalField(equalField("null, the width, or a list with the width for each layer",
      (value) => value === null || Number.isInteger(value) || (Array.isArray(value) && value.every(Number.isInteger))), null),
    ...FLA_RWKV,
  },
  ignored: RWKV_IGNORED,
};

/** Fields of transformers' `Rwkv7Config`, and two that it has none for and leaves alone. */
const TRANSFORMERS = {
  fields: {
    model_type: choiceField("rwkv7"),
    hidden_size: optionalField(count, 768),
    num_hidden_layers: optionalField(layers, 12),
    vocab_size: optionalField(vocabulary, 65_536),
    intermediate_size: derived,
    head_dim: optionalField(count, 64),
    num_heads: optionalField(count, 12),
    ...ranks(64, 64, 32, 128),
    norm_eps: optionalField(numberField({ above: 0 }), NORM_EPS),
    norm_bias: optionalField(choiceField(true), true),
    tie_word_embeddings: optionalField(choiceField(false), false),
    use_deep_embed: optionalField(choiceField(false), false),
    ...HEAD_NORM,
    first_layer_values: optionalField(flagField(), true),
  },
  ignored: [...RWKV_IGNORED, "wkv_state_dtype"],
};

/**
 * `config.json` of an RWKV-7 in our own form. What is null or left out follows from the width D as in the authors' training program:
 * `dim_ffn` 4D, the ranks of decay and `aaa` 2.5 √D, of `mv` 1.7 √D, of the gate 5 √D, each to the nearest multiple of 32. Released models
 * have other ranks. `first_layer_values`: whether files hold the first layer's `v0` to `v2`, which nothing reads.
 */
export type Rwkv7Json = ConfigInput<typeof OWN>;

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
  readonly normEps: number;
  /** Of the norm behind the heads. */
  readonly headNormEps: number;
  /** What is added to the sum of squares where a vector is made one of length 1. */
  readonly lengthEps: number;
  /** Whether the first layer has parameters for mixing its values with those of the first layer, which nothing reads. */
  readonly firstLayerValues: boolean;
  /** Rates of decay per token that the channels of a layer begin with, evenly spread over their logarithm; null: as published. */
  readonly decayRange: readonly [number, number] | null;
}

/** The rate of decay per token that no channel goes beyond: the decay is exp(-e^{-1/2} σ(w)). */
export const FASTEST_DECAY = Math.exp(-0.5);

/** What flash-linear-attention adds to a sum of squares with fused norms. */
export const FUSED_LENGTH_EPS = 1e-6;
/** What stands for nothing added. */
const LENGTH_EPS = 1e-24;

/** The layout that a configuration's form is of. */
export function rwkv7LayoutOf(json: unknown): RwkvLayout {
  if (isOwnForm(json)) return "rwkv";
  const { architectures, ...fields } = json as { architectures?: unknown };
  const ofTransformers = "wkv_state_dtype" in fields || "use_deep_embed" in fields || "first_layer_values" in fields
    || (Array.isArray(architectures) && architectures.includes("Rwkv7ForCausalLM"));
  return ofTransformers ? "transformers" : "fla";
}

/** Reads a configuration in the form of any layout. Throws `E_CONFIG` naming the field, its value and what it may be. */
export function parseRwkv7Config(json: unknown, options: ConfigOptions = {}): Rwkv7Config {
  const layout = rwkv7LayoutOf(json);
  if (layout === "fla") return fromFla(readConfig(FLA, json, options));
  if (layout === "transformers") return fromTransformers(readConfig(TRANSFORMERS, json, options));
  return fromOwn(readConfig({ fields: OWN }, json, options));
}

/** A rank that grows with the width. */
const rankOf = (factor: number, width: number): number => Math.max(32, Math.round((factor * Math.sqrt(width)) / 32) * 32);

function fromOwn(parsed: ConfigOutput<typeof OWN>): Rwkv7Config {
  const { n_embd: width, head_size: headSize, decay_init_range: range } = parsed;
  check(width % headSize === 0, "E_CONFIG", () => `config: head_size ${headSize} must divide n_embd ${width}`);
  check(range === null || range[1] < FASTEST_DECAY, "E_CONFIG", () =>
    `config: decay_init_range [${range!.join(", ")}] must end below ${FASTEST_DECAY.toFixed(4)}, the fastest decay of RWKV-7`);
  return {
    width, layers: parsed.n_layer, vocabulary: parsed.vocab_size, heads: width / headSize, headSize,
    innerWidth: parsed.dim_ffn ?? 4 * width,
    decayRank: parsed.d_decay_lora ?? rankOf(2.5, width),
    rateRank: parsed.d_aaa_lora ?? rankOf(2.5, width),
    valueRank: parsed.d_mv_lora ?? rankOf(1.7, width),
    gateRank: parsed.d_gate_lora ?? rankOf(5, width),
    normEps: parsed.norm_eps, headNormEps: parsed.head_norm_eps, lengthEps: parsed.length_eps,
    firstLayerValues: parsed.first_layer_values,
    decayRange: range,
  };
}

function fromFla(parsed: ConfigOutput<typeof FLA.fields>): Rwkv7Config {
  const { hidden_size: width, num_heads: given, value_dim: values } = parsed;
  check(parsed.head_dim !== null || given !== null, "E_CONFIG", () => "config: one of head_dim and num_heads must be a number");
  const headSize = parsed.head_dim ?? width / given!;
  checkHeads(width, headSize, given);
  check([values ?? width].flat().every((size) => size === width), "E_CONFIG", () =>
    `config: value_dim ${JSON.stringify(values)} must be the hidden_size ${width}: values of another width are not supported`);
  const factor = headSize / 64;
  return {
    width, layers: parsed.num_hidden_layers, vocabulary: parsed.vocab_size, heads: width / headSize, headSize,
    innerWidth: parsed.intermediate_size ?? 32 * Math.ceil(Math.trunc(width * parsed.hidden_ratio) / 32),
    decayRank: parsed.decay_low_rank_dim ?? rankOf(2.5 * factor, width),
    rateRank: parsed.a_low_rank_dim ?? rankOf(2.5 * factor, width),
    valueRank: parsed.v_low_rank_dim ?? rankOf(1.7 * factor, width),
    gateRank: parsed.gate_low_rank_dim ?? rankOf(5, width),
    normEps: parsed.norm_eps,
    headNormEps: parsed.head_norm_eps ?? headNormEpsOf(parsed.norm_eps, headSize),
    lengthEps: parsed.fuse_norm ? FUSED_LENGTH_EPS : LENGTH_EPS,
    firstLayerValues: false,
    decayRange: null,
  };
}

function fromTransformers(parsed: ConfigOutput<typeof TRANSFORMERS.fields>): Rwkv7Config {
  const { hidden_size: width, head_dim: headSize } = parsed;
  checkHeads(width, headSize, parsed.num_heads);
  const rank = (value: number | null, name: string): number => {
    check(value !== null, "E_CONFIG", () => `config: ${name} must be a number`);
    return value;
  };
  return {
    width, layers: parsed.num_hidden_layers, vocabulary: parsed.vocab_size, heads: width / headSize, headSize,
    innerWidth: parsed.intermediate_size ?? 4 * width,
    decayRank: rank(parsed.decay_low_rank_dim, "decay_low_rank_dim"),
    rateRank: rank(parsed.a_low_rank_dim, "a_low_rank_dim"),
    valueRank: rank(parsed.v_low_rank_dim, "v_low_rank_dim"),
    gateRank: rank(parsed.gate_low_rank_dim, "gate_low_rank_dim"),
    normEps: parsed.norm_eps,
    headNormEps: parsed.head_norm_eps ?? headNormEpsOf(parsed.norm_eps, headSize),
    lengthEps: LENGTH_EPS,
    firstLayerValues: parsed.first_layer_values,
    decayRange: null,
  };
}

/** The epsilon behind the heads in flash-linear-attention and transformers: the authors' at their head size, 64. */
export function headNormEpsOf(normEps: number, headSize: number): number {
  const eps = normEps * headSize;
  return Math.abs(eps - HEAD_NORM_EPS) < 1e-9 * HEAD_NORM_EPS ? HEAD_NORM_EPS : eps;
}

function checkHeads(width: number, headSize: number, heads: number | null): void {
  check(width % headSize === 0 && (heads === null || heads * headSize === width), "E_CONFIG", () =>
    `config: head_dim ${headSize}${heads === null ? "" : ` times num_heads ${heads}`} must ${heads === null ? "divide" : "be"} `
      + `the hidden_size ${width}`);
}

/** A configuration with nothing left out, in our own form; it makes the same model again. */
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
    ...(c.normEps !== NORM_EPS && { norm_eps: c.normEps }),
    ...(c.headNormEps !== HEAD_NORM_EPS && { head_norm_eps: c.headNormEps }),
    ...(c.lengthEps !== LENGTH_EPS && { length_eps: c.lengthEps }),
    ...(c.firstLayerValues && { first_layer_values: true }),
    ...(c.decayRange && { decay_init_range: [...c.decayRange] }),
  };
}
