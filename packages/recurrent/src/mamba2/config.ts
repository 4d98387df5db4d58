/**
 * Mamba-2's configuration, read from any published form of `config.json`: that of state-spaces (`d_model`, `ssm_cfg`, ...), of
 * transformers (`hidden_size`, `state_size`, ...) or of flash-linear-attention (`hidden_size`, `norm_eps`, ...).
 *
 * Glossary (Dao & Gu 2024 -> here): d -> `width`, L -> `layers`, N -> `stateSize`, P -> `headSize`,
 * H -> `heads`, G -> `groups`, expand·d -> `innerWidth`, K -> `convolution` (kernel width).
 */
import { check } from "@lenggen/kernels";
import {
  choiceField, type ConfigInput, type ConfigOptions, type ConfigOutput, flagField, nullableField, numberField, optionalField, pairField,
  readConfig, sectionField, TRANSFORMERS_FIELDS,
} from "@lenggen/kernels/nn";
import { checkRanges } from "../init";
import {
  count, expansion, FLA_MAMBA_FIELDS, FLA_MAMBA_IGNORED, kernel, MAMBA_SSM_FIELDS, MAMBA_SSM_IGNORED, range, STEP_SIZES,
  TRANSFORMERS_MAMBA_FIELDS,
} from "../mambaFields";
import { layoutOf, padded, transformersVocabulary } from "../mambaFiles";

/** A configuration with everything derived; made by {@link parseMamba2Config}. */
export interface Mamba2Config {
  readonly width: number;
  readonly layers: number;
  /** Tokens that exist; `paddedVocabulary` rows are stored: the next multiple of `padMultiple`. */
  readonly vocabulary: number;
  readonly padMultiple: number;
  readonly paddedVocabulary: number;
  readonly innerWidth: number;
  readonly heads: number;
  readonly headSize: number;
  readonly stateSize: number;
  readonly groups: number;
  readonly convolution: number;
  /** Channels that the convolution sees: x, B and C side by side. */
  readonly convolutionWidth: number;
  /** Chunk of the scan; changes speed, not results. */
  readonly chunk: number;
  readonly normEps: number;
  readonly tieEmbeddings: boolean;
  /** Range from which -A is drawn at the start. Small values forget slowly. */
  readonly aRange: readonly [number, number];
  /** Range of the step size dt at the start (log-uniform), and its floor. */
  readonly dtRange: readonly [number, number];
  readonly dtFloor: number;
  /** Hard limits of dt in the forward pass. */
  readonly dtLimit: readonly [number, number];
}

// JSON has no infinity: published files leave the upper limit out or write null for it.
const limit = pairField(numberField({ from: 0 }), nullableField(numberField({ above: 0, infinite: true }), Infinity));

/** Fields of one mixer. */
export const MAMBA2_MIXER = {
  d_state: optionalField(count, 128),
  d_conv: optionalField(kernel, 4),
  expand: optionalField(expansion, 2),
  headdim: optionalField(count, 64),
  ngroups: optionalField(count, 1),
  chunk_size: optionalField(count, 256),
  A_init_range: optionalField(range, [1, 16]),
  ...STEP_SIZES,
  dt_limit: optionalField(limit, [0, Infinity]),
};

/** Fields of `MambaConfig` and of `Mamba2`, and `norm_epsilon`, which mamba_ssm has no field for. */
const STATE_SPACES = {
  fields: {
    model_type: optionalField(choiceField("mamba2"), "mamba2"),
    ...MAMBA_SSM_FIELDS,
    d_intermediate: optionalField(choiceField(0), 0),
    ssm_cfg: sectionField({
      layer: choiceField("Mamba2"),
      ...MAMBA2_MIXER,
      conv_init: optionalField(choiceField(null), null),
      d_ssm: optionalField(nullableField(count, null), null),
      bias: optionalField(choiceField(false), false),
      conv_bias: optionalField(choiceField(true), true),
      rmsnorm: optionalField(choiceField(true), true),
      norm_before_gate: optionalField(choiceField(false), false),
      D_has_hdim: optionalField(choiceField(false), false),
    }, ["use_mem_eff_path"]),
  },
  ignored: MAMBA_SSM_IGNORED,
};

/** Fields of transformers' `Mamba2Config`, and three that it has none for and leaves alone: see mambaFiles.ts. */
const TRANSFORMERS = {
  fields: {
    model_type: choiceField("mamba2"),
    ...TRANSFORMERS_MAMBA_FIELDS,
    state_size: count,
    head_dim: count,
    num_heads: optionalField(nullableField(count, null), null),
    n_groups: optionalField(count, 8),
    chunk_size: optionalField(count, 256),
    tie_word_embeddings: optionalField(flagField(), false),
    time_step_limit: optionalField(limit, [0, Infinity]),
    A_init_range: optionalField(range, [1, 16]),
  },
  ignored: [...TRANSFORMERS_FIELDS, "rescale_prenorm_residual", "residual_in_fp32", "rms_norm", "time_step_rank"],
};

/** Fields of flash-linear-attention's `Mamba2Config`. */
const FLA = {
  fields: {
    model_type: choiceField("mamba2"),
    ...FLA_MAMBA_FIELDS,
    head_dim: optionalField(count, 64),
    num_heads: optionalField(nullableField(count, null), null),
    n_groups: optionalField(count, 1),
    conv_kernel: optionalField(kernel, 4),
    use_conv_bias: optionalField(choiceField(true), true),
    conv_init: optionalField(choiceField(null), null),
    rmsnorm: optionalField(choiceField(true), true),
    norm_before_gate: optionalField(choiceField(false), false),
    D_has_hdim: optionalField(choiceField(false), false),
    chunk_size: optionalField(count, 256),
    dt_limit: optionalField(limit, [0, Infinity]),
    A_init_range: optionalField(range, [1, 16]),
  },
  ignored: FLA_MAMBA_IGNORED,
};

/** `config.json` in the state-spaces form; fields left out have the published defaults. */
export type Mamba2Json = ConfigInput<typeof STATE_SPACES.fields>;

/** Reads any published form. Throws `E_CONFIG` naming the field, its value and what it may be, or the field that there is none of. */
export function parseMamba2Config(json: unknown, options: ConfigOptions = {}): Mamba2Config {
  const layout = layoutOf(json);
  if (layout === "transformers") return fromTransformers(readConfig(TRANSFORMERS, json, options));
  return layout === "fla" ? fromFla(readConfig(FLA, json, options)) : fromStateSpaces(readConfig(STATE_SPACES, json, options));
}

function fromStateSpaces(json: ConfigOutput<typeof STATE_SPACES.fields>): Mamba2Config {
  const { ssm_cfg: ssm } = json;
  check(ssm.d_ssm === null || ssm.d_ssm === ssm.expand * json.d_model, "E_CONFIG", () =>
    `config: ssm_cfg.d_ssm ${ssm.d_ssm} must be expand·d_model = ${ssm.expand * json.d_model}: layers with a part beside the scan are `
      + "not supported");
  return derive({
    width: json.d_model,
    layers: json.n_layer,
    vocabulary: json.vocab_size,
    padMultiple: json.pad_vocab_size_multiple,
    innerWidth: ssm.expand * json.d_model,
    headSize: ssm.headdim,
    stateSize: ssm.d_state,
    groups: ssm.ngroups,
    convolution: ssm.d_conv,
    chunk: ssm.chunk_size,
    normEps: json.norm_epsilon,
    tieEmbeddings: json.tie_embeddings,
    aRange: ssm.A_init_range,
    dtRange: [ssm.dt_min, ssm.dt_max],
    dtFloor: ssm.dt_init_floor,
    dtLimit: ssm.dt_limit,
  });
}

function fromFla(json: ConfigOutput<typeof FLA.fields>): Mamba2Config {
  return derive({
    ...sizesOf(json),
    normEps: json.norm_eps,
    dtRange: [json.dt_min, json.dt_max],
    dtFloor: json.dt_init_floor,
    dtLimit: json.dt_limit,
  });
}

function fromTransformers(json: ConfigOutput<typeof TRANSFORMERS.fields>): Mamba2Config {
  return derive({
    ...sizesOf(json),
    normEps: json.layer_norm_epsilon,
    dtRange: [json.time_step_min, json.time_step_max],
    dtFloor: json.time_step_floor,
    dtLimit: json.time_step_limit,
  });
}

/** What transformers and flash-linear-attention call alike. */
type Shared = "hidden_size" | "num_hidden_layers" | "vocab_size" | "unpadded_vocab_size" | "pad_vocab_size_multiple" | "expand"
  | "head_dim" | "num_heads" | "state_size" | "n_groups" | "conv_kernel" | "chunk_size" | "tie_word_embeddings" | "A_init_range";

function sizesOf(json: Pick<ConfigOutput<typeof TRANSFORMERS.fields>, Shared>) {
  const innerWidth = json.expand * json.hidden_size;
  check(json.num_heads === null || json.num_heads * json.head_dim === innerWidth, "E_CONFIG", () =>
    `config: num_heads ${json.num_heads} times head_dim ${json.head_dim} must be expand·hidden_size = ${innerWidth}`);
  return {
    width: json.hidden_size,
    layers: json.num_hidden_layers,
    ...transformersVocabulary(json),
    innerWidth,
    headSize: json.head_dim,
    stateSize: json.state_size,
    groups: json.n_groups,
    convolution: json.conv_kernel,
    chunk: json.chunk_size,
    tieEmbeddings: json.tie_word_embeddings,
    aRange: json.A_init_range,
  };
}

function derive(given: Omit<Mamba2Config, "heads" | "convolutionWidth" | "paddedVocabulary">): Mamba2Config {
  const { innerWidth, headSize, groups, stateSize, dtRange, dtLimit } = given;
  const heads = innerWidth / headSize;
  check(Number.isInteger(heads), "E_CONFIG", () =>
    `config: the head size ${headSize} must divide the inner width ${innerWidth} (expand times the model's width)`);
  check(heads % groups === 0 && innerWidth % groups === 0, "E_CONFIG", () =>
    `config: the number of groups ${groups} must divide the ${heads} heads`);
  checkRanges({ "dt_min, dt_max": dtRange, "dt_limit": dtLimit });
  return {
    ...given,
    heads,
    convolutionWidth: innerWidth + 2 * groups * stateSize,
    paddedVocabulary: padded(given.vocabulary, given.padMultiple),
  };
}

/**
 * A configuration with nothing left out, in the state-spaces form and with two fields more than mamba_ssm's own `config.json` has
 * (`norm_epsilon`, and null in `dt_limit` for no limit). It makes the same model again; see mambaFiles.ts for what other programs read.
 */
export function mamba2Json(config: Mamba2Config): Mamba2Json {
  return {
    d_model: config.width,
    d_intermediate: 0,
    n_layer: config.layers,
    vocab_size: config.vocabulary,
    ssm_cfg: {
      layer: "Mamba2",
      d_state: config.stateSize,
      d_conv: config.convolution,
      expand: config.innerWidth / config.width,
      headdim: config.headSize,
      ngroups: config.groups,
      chunk_size: config.chunk,
      A_init_range: [...config.aRange],
      dt_min: config.dtRange[0],
      dt_max: config.dtRange[1],
      dt_init_floor: config.dtFloor,
      dt_limit: [config.dtLimit[0], Number.isFinite(config.dtLimit[1]) ? config.dtLimit[1] : null],
    },
    attn_layer_idx: [],
    rms_norm: true,
    residual_in_fp32: true,
    pad_vocab_size_multiple: config.padMultiple,
    tie_embeddings: config.tieEmbeddings,
    norm_epsilon: config.normEps,
  };
}
