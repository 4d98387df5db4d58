/**
 * RWKV-6's configuration, in the form of any of its layouts (../rwkv/layouts.ts). The authors' files are bare weights, whose configuration
 * is read from shapes (shapes.ts); ours has the names that their training program gives these numbers.
 *
 * Glossary (Peng et al. 2024, "Eagle and Finch" -> here): D -> `width`, L -> `layers`, head size -> `headSize`, h -> `heads`.
 */
import { check } from "@lenggen/kernels";
import {
  choiceField, type ConfigInput, type ConfigOptions, type ConfigOutput, nullableField, numberField, optionalField, readConfig,
} from "@lenggen/kernels/nn";
import { DECAY_RANGE } from "../init";
import { count, derived, FLA_RWKV, HEAD_NORM, isOwnForm, layers, OWN_NORMS, RWKV_IGNORED, vocabulary } from "../rwkv/fields";
import { HEAD_NORM_EPS, NORM_EPS, type RwkvLayout } from "../rwkv/layouts";

/** Fields of one time mix. */
export const RWKV6_MIXER = {
  head_size: optionalField(count, 64),
  d_mix_lora: optionalField(count, 32),
  d_decay_lora: optionalField(count, 64),
  decay_init_range: DECAY_RANGE,
};

const OWN = {
  model_type: optionalField(choiceField("rwkv6"), "rwkv6"),
  format: optionalField(choiceField("rwkv-x060"), "rwkv-x060"),
  n_layer: layers,
  n_embd: count,
  vocab_size: vocabulary,
  dim_ffn: derived,
  ...RWKV6_MIXER,
  ...OWN_NORMS,
};

/** Fields of flash-linear-attention's `RWKV6Config`, and one that it has none for and leaves alone. */
const FLA = {
  fields: {
    model_type: choiceField("rwkv6"),
    hidden_size: optionalField(count, 2048),
    num_hidden_layers: optionalField(layers, 24),
    vocab_size: optionalField(vocabulary, 32_000),
    num_heads: optionalField(count, 4),
    // Its default is another, of which no model is published and none here is made.
    expand_k: choiceField(1),
    expand_v: optionalField(choiceField(1), 1),
    hidden_ratio: optionalField(nullableField(numberField({ above: 0, to: 1024 }), 3.5), 3.5),
    intermediate_size: derived,
    proj_low_rank_dim: optionalField(count, 32),
    gate_low_rank_dim: optionalField(count, 64),
    ...FLA_RWKV,
  },
  ignored: RWKV_IGNORED,
};

/** Fields of the code that comes with checkpoints on the hub, with those of llama.cpp's converter for the ranks, and one of lenggen's. */
const TRANSFORMERS = {
  fields: {
    model_type: choiceField("rwkv6"),
    hidden_size: count,
    num_hidden_layers: layers,
    vocab_size: optionalField(vocabulary, 65_536),
    attention_hidden_size: derived,
    head_size: optionalField(count, 64),
    head_size_divisor: optionalField(numberField({ above: 0, to: 1024 }), 8),
    intermediate_size: derived,
    layer_norm_epsilon: optionalField(numberField({ above: 0 }), NORM_EPS),
    time_mix_extra_dim: derived,
    time_decay_extra_dim: derived,
    tie_word_embeddings: optionalField(choiceField(false), false),
    ...HEAD_NORM,
  },
  ignored: [...RWKV_IGNORED, "rescale_every", "model_version", "num_attention_heads", "context_length"],
};

/**
 * `config.json` of an RWKV-6 in our own form. What is left out is as in the released 1.6B; `dim_ffn` null is 3.5 times the width, down to a
 * multiple of 32.
 */
export type Rwkv6Json = ConfigInput<typeof OWN>;

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
  readonly normEps: number;
  /** Of the norm behind the heads. */
  readonly headNormEps: number;
  /** Rates of decay per token that the channels of a layer begin with, evenly spread over their logarithm; null: as published. */
  readonly decayRange: readonly [number, number] | null;
}

/** The layout that a configuration's form is of. */
export function rwkv6LayoutOf(json: unknown): RwkvLayout {
  if (isOwnForm(json)) return "rwkv";
  const ofHub = ["layer_norm_epsilon", "attention_hidden_size", "head_size", "head_size_divisor"];
  return ofHub.some((field) => Object.hasOwn(json as object, field)) ? "transformers" : "fla";
}

/** Reads a configuration in the form of any layout. Throws `E_CONFIG` naming the field, its value and what it may be. */
export function parseRwkv6Config(json: unknown, options: ConfigOptions = {}): Rwkv6Config {
  const layout = rwkv6LayoutOf(json);
  if (layout === "fla") return fromFla(readConfig(FLA, json, options));
  if (layout === "transformers") return fromTransformers(readConfig(TRANSFORMERS, json, options));
  return fromOwn(readConfig({ fields: OWN }, json, options));
}

/** The width inside the channel mix of the authors' models. */
function innerWidthOf(width: number): number {
  const inner = Math.floor((3.5 * width) / 32) * 32;
  check(inner >= 1, "E_CONFIG", () => `config: dim_ffn must be given for an n_embd as small as ${width}`);
  return inner;
}

function fromOwn(parsed: ConfigOutput<typeof OWN>): Rwkv6Config {
  const { n_embd: width, head_size: headSize } = parsed;
  check(width % headSize === 0, "E_CONFIG", () => `config: head_size ${headSize} must divide n_embd ${width}`);
  return {
    width, layers: parsed.n_layer, vocabulary: parsed.vocab_size, heads: width / headSize, headSize,
    innerWidth: parsed.dim_ffn ?? innerWidthOf(width),
    mixRank: parsed.d_mix_lora, decayRank: parsed.d_decay_lora,
    normEps: parsed.norm_eps, headNormEps: parsed.head_norm_eps,
    decayRange: parsed.decay_init_range,
  };
}

function fromFla(parsed: ConfigOutput<typeof FLA.fields>): Rwkv6Config {
  const { hidden_size: width, num_heads: heads } = parsed;
  check(width % heads === 0, "E_CONFIG", () => `config: num_heads ${heads} must divide hidden_size ${width}`);
  return {
    width, layers: parsed.num_hidden_layers, vocabulary: parsed.vocab_size, heads, headSize: width / heads,
    innerWidth: parsed.intermediate_size ?? 32 * Math.ceil(Math.trunc(width * parsed.hidden_ratio) / 32),
    mixRank: parsed.proj_low_rank_dim, decayRank: parsed.gate_low_rank_dim,
    normEps: parsed.norm_eps, headNormEps: parsed.head_norm_eps ?? parsed.norm_eps,
    decayRange: null,
  };
}

function fromTransformers(parsed: ConfigOutput<typeof TRANSFORMERS.fields>): Rwkv6Config {
  const { hidden_size: width, head_size: headSize, attention_hidden_size: attended } = parsed;
  check(attended === null || attended === width, "E_CONFIG", () =>
    `config: attention_hidden_size ${attended} must be the hidden_size ${width}: heads of another width together are not supported`);
  check(width % headSize === 0, "E_CONFIG", () => `config: head_size ${headSize} must divide hidden_size ${width}`);
  const { mix, decay } = ranksOfHub(width);
  return {
    width, layers: parsed.num_hidden_layers, vocabulary: parsed.vocab_size, heads: width / headSize, headSize,
    innerWidth: parsed.intermediate_size ?? innerWidthOf(width),
    mixRank: parsed.time_mix_extra_dim ?? mix, decayRank: parsed.time_decay_extra_dim ?? decay,
    normEps: parsed.layer_norm_epsilon, headNormEps: parsed.head_norm_eps ?? headNormEpsOfHub(parsed.head_size_divisor),
    decayRange: null,
  };
}

/** The ranks that the hub's code has for a width. */
export function ranksOfHub(width: number): { mix: number; decay: number } {
  return width === 4096 ? { mix: 64, decay: 128 } : { mix: 32, decay: 64 };
}

/** The epsilon behind the heads in the hub's code. */
function headNormEpsOfHub(divisor: number): number {
  return divisor === 8 ? HEAD_NORM_EPS : NORM_EPS * divisor ** 2;
}

/** A configuration with nothing left out, in our own form; it makes the same model again. */
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
    ...(c.normEps !== NORM_EPS && { norm_eps: c.normEps }),
    ...(c.headNormEps !== HEAD_NORM_EPS && { head_norm_eps: c.headNormEps }),
    ...(c.decayRange && { decay_init_range: [...c.decayRange] }),
  };
}
