/**
 * What the configurations of flash-linear-attention's decoders (https://github.com/fla-org/flash-linear-attention) have in common: sizes,
 * the feed-forward part, norms, and how matrices begin.
 */
import { check } from "@lenggen/kernels";
import {
  choiceField, type ConfigOutput, type Field, flagField, nullableField, numberField, optionalField, TRANSFORMERS_FIELDS, wholeField,
} from "@lenggen/kernels/nn";

// Bounds are far above any published model; they keep a hostile file from asking for endless tables.
export const count = wholeField({ to: 2 ** 20 });
export const expansion = numberField({ above: 0, to: 64 });

/** Layers of attention in the place of some mixers, which another family is for. */
export const noAttention: Field<null> = {
  ...choiceField(null), expected: 'null (a stack with layers of attention between is a model of another family, "hybrid")',
};

/** Fields of every mixer. */
export const FLA_MIXER = {
  conv_size: optionalField(wholeField({ from: 2, to: 16 }), 4),
  initializer_range: optionalField(numberField({ above: 0 }), 0.02),
};

/** Fields of every decoder; those left out have flash-linear-attention's defaults. */
export const FLA_FIELDS = {
  hidden_size: optionalField(count, 2048),
  vocab_size: optionalField(wholeField({ to: 2 ** 24 }), 32_000),
  hidden_ratio: optionalField(nullableField(numberField({ above: 0, to: 1024 }), 4), 4),
  intermediate_size: optionalField(nullableField(count, null), null),
  hidden_act: optionalField(choiceField("swish", "silu"), "swish"),
  ...FLA_MIXER,
  norm_eps: optionalField(nullableField(numberField({ above: 0 }), null), null),
  /** The name of `norm_eps` in the files of older versions. */
  rms_norm_eps: optionalField(nullableField(numberField({ above: 0 }), null), null),
  tie_word_embeddings: optionalField(flagField(), false),
  attn: optionalField(noAttention, null),
  attnres_block_size: optionalField(choiceField(null), null),
};

/** Fields that choose kernels, set lengths that nothing depends on, or add to the loss; and those of all of transformers. */
export const FLA_IGNORED: readonly string[] = [
  ...TRANSFORMERS_FIELDS.filter((name) => !Object.hasOwn(FLA_FIELDS, name)), "fuse_norm", "fuse_swiglu", "fuse_cross_entropy",
  "fuse_linear_cross_entropy", "use_l2warp", "max_position_embeddings",
];

export const layerCount = wholeField({ to: 2 ** 12 });

/** Sizes and settings of every decoder. */
export interface FlaSettings {
  readonly width: number;
  readonly layers: number;
  readonly vocabulary: number;
  /** Width of the SwiGLU. */
  readonly intermediateSize: number;
  /** Kernel width of the short convolutions of q, k and v; null where there are none. */
  readonly convolution: number | null;
  readonly normEps: number;
  readonly tieEmbeddings: boolean;
  /** Standard deviation that matrices begin with. */
  readonly initStd: number;
}

/** The settings that follow from the common fields. Throws `E_CONFIG`. */
export function flaSettings(
  json: ConfigOutput<typeof FLA_FIELDS> & { readonly num_hidden_layers: number; readonly use_short_conv: boolean },
): FlaSettings {
  const { norm_eps: eps, rms_norm_eps: olderEps, hidden_size: width } = json;
  check(eps === null || olderEps === null || eps === olderEps, "E_CONFIG", () =>
    `config: norm_eps ${eps} and rms_norm_eps ${olderEps} are two names of one number; remove one of them`);
  return {
    width,
    layers: json.num_hidden_layers,
    vocabulary: json.vocab_size,
    intermediateSize: json.intermediate_size ?? 256 * Math.ceil(Math.trunc((width * json.hidden_ratio * 2) / 3) / 256),
    convolution: json.use_short_conv ? json.conv_size : null,
    normEps: eps ?? olderEps ?? 1e-6,
    tieEmbeddings: json.tie_word_embeddings,
    initStd: json.initializer_range,
  };
}

/** The common fields of some settings. */
export function flaJson(c: FlaSettings) {
  return {
    hidden_size: c.width,
    num_hidden_layers: c.layers,
    vocab_size: c.vocabulary,
    intermediate_size: c.intermediateSize,
    use_short_conv: c.convolution !== null,
    ...(c.convolution !== null && { conv_size: c.convolution }),
    norm_eps: c.normEps,
    tie_word_embeddings: c.tieEmbeddings,
    initializer_range: c.initStd,
  };
}

/** A width that a factor in the configuration makes of another, cut to a whole number that heads divide. Throws `E_CONFIG`. */
export function headSize(field: string, width: number, heads: number): number {
  check(width >= heads && width % heads === 0, "E_CONFIG", () =>
    `config: ${field} makes a width of ${width}, which num_heads ${heads} must divide`);
  return width / heads;
}
