/**
 * Mamba-3's configuration, in the form of mamba_ssm (`d_model`, `ssm_cfg` with the layer "Mamba3", ...), the only one that is published, or
 * of flash-linear-attention (`hidden_size`, `head_dim`, ...).
 *
 * Glossary: d -> `width`, L -> `layers`, N -> `stateSize`, P -> `headSize`, H -> `heads`, G -> `groups` (of B and C), R -> `rank` (1 where
 * a head has one input and one output), A -> `angles`.
 */
import { check } from "@lenggen/kernels";
import {
  choiceField, type ConfigInput, type ConfigOptions, type ConfigOutput, flagField, nullableField, optionalField, readConfig, sectionField,
  wholeField,
} from "@lenggen/kernels/nn";
import { checkRanges } from "../init";
import {
  count, expansion, FLA_MAMBA_FIELDS, FLA_MAMBA_IGNORED, MAMBA_SSM_FIELDS, MAMBA_SSM_IGNORED, positive, STEP_SIZES,
} from "../mambaFields";
import { layoutOf, NORM_EPS, padded, transformersVocabulary } from "../mambaFiles";

/** A configuration with everything derived; made by {@link parseMamba3Config}. */
export interface Mamba3Config {
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
  /** Whether a head has `rank` inputs and outputs (MIMO), and the pairs that turn are halves; else one, and neighbours. */
  readonly mimo: boolean;
  readonly rank: number;
  /** Share of the state's keys that turns, and how many pairs that is. */
  readonly ropeFraction: 0.5 | 1;
  readonly angles: number;
  /** Whether each head's output is normed before the gate. */
  readonly outputNorm: boolean;
  /** The feed-forward part's width as it was given, 0 for none, and as it is: the next multiple of 128. */
  readonly intermediate: number;
  readonly intermediateSize: number;
  /** Chunk of the scan, in steps; changes speed, not results. */
  readonly chunk: number;
  readonly normEps: number;
  readonly tieEmbeddings: boolean;
  /** The least -A that there is. */
  readonly aFloor: number;
  /** Whether -A is a softplus of what is projected; else 1 + x above 0 and 1 / (1 - x) below. */
  readonly softplusDecay: boolean;
  /** Range of the step size dt at the start (log-uniform), and its floor. */
  readonly dtRange: readonly [number, number];
  readonly dtFloor: number;
}

/** Fields of one mixer. */
export const MAMBA3_MIXER = {
  d_state: optionalField(count, 128),
  expand: optionalField(expansion, 2),
  headdim: optionalField(count, 64),
  ngroups: optionalField(count, 1),
  rope_fraction: optionalField(choiceField(0.5, 1), 0.5),
  ...STEP_SIZES,
  A_floor: optionalField(positive, 1e-4),
  /** lenggen's own: rates of decay as mamba_ssm made them before June 2026, and flash-linear-attention still does. */
  A_softplus: optionalField(flagField(), false),
  is_outproj_norm: optionalField(flagField(), false),
  is_mimo: optionalField(flagField(), false),
  mimo_rank: optionalField(wholeField({ to: 64 }), 4),
  chunk_size: optionalField(count, 64),
};

/** Fields of `MambaConfig` and of `Mamba3`, and `norm_epsilon`, which mamba_ssm has no field for. */
const FORM = {
  fields: {
    model_type: optionalField(choiceField("mamba3"), "mamba3"),
    ...MAMBA_SSM_FIELDS,
    d_intermediate: optionalField(wholeField({ from: 0, to: 2 ** 20 }), 0),
    ssm_cfg: sectionField({
      layer: choiceField("Mamba3"),
      ...MAMBA3_MIXER,
    }, ["fuse_pregate_headwise_norm", "dropout"]),
  },
  ignored: MAMBA_SSM_IGNORED,
};

/** Fields of flash-linear-attention's `Mamba3Config`, and two that it has none for and leaves alone. */
const FLA = {
  fields: {
    model_type: choiceField("mamba3"),
    ...FLA_MAMBA_FIELDS,
    norm_eps: optionalField(choiceField(NORM_EPS), NORM_EPS), // of the norms of B and C too
    head_dim: optionalField(count, 64),
    num_heads: optionalField(nullableField(count, null), null),
    n_groups: optionalField(count, 1),
    rope_fraction: optionalField(choiceField(0.5, 1), 0.5),
    A_floor: optionalField(positive, 1e-4),
    is_outproj_norm: optionalField(flagField(), false),
    is_mimo: optionalField(flagField(), false),
    mimo_rank: optionalField(wholeField({ to: 64 }), 4),
    chunk_size: optionalField(count, 64),
  },
  ignored: FLA_MAMBA_IGNORED,
};

/** `config.json` of a Mamba-3 in mamba_ssm's form; fields left out have the published defaults. */
export type Mamba3Json = ConfigInput<typeof FORM.fields>;

/** Throws `E_CONFIG` naming the field, its value and what it may be, or the field that there is none of. */
export function parseMamba3Config(json: unknown, options: ConfigOptions = {}): Mamba3Config {
  return mamba3LayoutOf(json) === "fla" ? fromFla(readConfig(FLA, json, options)) : derive(readConfig(FORM, json, options));
}

/** The programs whose forms of `config.json` there are. */
export type Mamba3Layout = (typeof MAMBA3_LAYOUTS)[number];
export const MAMBA3_LAYOUTS = ["mamba_ssm", "fla"] as const;

/** Which of them a configuration is in. */
export const mamba3LayoutOf = (json: unknown): Mamba3Layout => (layoutOf(json) === "mamba_ssm" ? "mamba_ssm" : "fla");

function fromFla(json: ConfigOutput<typeof FLA.fields>): Mamba3Config {
  const { vocabulary, padMultiple } = transformersVocabulary(json);
  check(json.num_heads === null || json.num_heads * json.head_dim === json.expand * json.hidden_size, "E_CONFIG", () =>
    `config: num_heads ${json.num_heads} times head_dim ${json.head_dim} must be expand·hidden_size = ${json.expand * json.hidden_size}`);
  return derive(readConfig(FORM, {
    d_model: json.hidden_size, n_layer: json.num_hidden_layers, vocab_size: vocabulary, pad_vocab_size_multiple: padMultiple,
    tie_embeddings: json.tie_word_embeddings,
    ssm_cfg: {
      layer: "Mamba3", d_state: json.state_size, expand: json.expand, headdim: json.head_dim, ngroups: json.n_groups,
      rope_fraction: json.rope_fraction, dt_min: json.dt_min, dt_max: json.dt_max, dt_init_floor: json.dt_init_floor,
      A_floor: json.A_floor, A_softplus: true, is_outproj_norm: json.is_outproj_norm, is_mimo: json.is_mimo, mimo_rank: json.mimo_rank,
      chunk_size: json.chunk_size,
    },
  }));
}

/** mamba_ssm rounds the width of its feed-forward parts up to a multiple of this. */
const INTERMEDIATE_MULTIPLE = 128;

function derive(json: ConfigOutput<typeof FORM.fields>): Mamba3Config {
  const { ssm_cfg: ssm } = json;
  const innerWidth = ssm.expand * json.d_model;
  const heads = innerWidth / ssm.headdim;
  check(Number.isInteger(heads), "E_CONFIG", () =>
    `config: ssm_cfg.headdim ${ssm.headdim} must divide the inner width ${innerWidth} (expand times d_model)`);
  check(heads % ssm.ngroups === 0, "E_CONFIG", () => `config: ssm_cfg.ngroups ${ssm.ngroups} must divide the ${heads} heads`);
  check(ssm.d_state % 2 === 0, "E_CONFIG", () => `config: ssm_cfg.d_state ${ssm.d_state} must be even, as its numbers turn in pairs`);
  const angles = Math.floor(Math.floor(ssm.d_state * ssm.rope_fraction) / 2);
  check(angles > 0, "E_CONFIG", () =>
    `config: ssm_cfg.d_state ${ssm.d_state} is too small: with a rope_fraction of ${ssm.rope_fraction} no pair of its numbers turns`);
  checkRanges({ "dt_min, dt_max": [ssm.dt_min, ssm.dt_max] });
  return {
    width: json.d_model,
    layers: json.n_layer,
    vocabulary: json.vocab_size,
    padMultiple: json.pad_vocab_size_multiple,
    paddedVocabulary: padded(json.vocab_size, json.pad_vocab_size_multiple),
    innerWidth,
    heads,
    headSize: ssm.headdim,
    stateSize: ssm.d_state,
    groups: ssm.ngroups,
    mimo: ssm.is_mimo,
    rank: ssm.is_mimo ? ssm.mimo_rank : 1,
    ropeFraction: ssm.rope_fraction,
    angles,
    outputNorm: ssm.is_outproj_norm,
    intermediate: json.d_intermediate,
    intermediateSize: padded(json.d_intermediate, INTERMEDIATE_MULTIPLE),
    chunk: ssm.chunk_size,
    normEps: json.norm_epsilon,
    tieEmbeddings: json.tie_embeddings,
    aFloor: ssm.A_floor,
    softplusDecay: ssm.A_softplus,
    dtRange: [ssm.dt_min, ssm.dt_max],
    dtFloor: ssm.dt_init_floor,
  };
}

/** A configuration with nothing left out. It makes the same model again. */
export function mamba3Json(c: Mamba3Config): Mamba3Json {
  return {
    d_model: c.width,
    d_intermediate: c.intermediate,
    n_layer: c.layers,
    vocab_size: c.vocabulary,
    ssm_cfg: {
      layer: "Mamba3",
      d_state: c.stateSize,
      expand: c.innerWidth / c.width,
      headdim: c.headSize,
      ngroups: c.groups,
      rope_fraction: c.ropeFraction,
      dt_min: c.dtRange[0],
      dt_max: c.dtRange[1],
      dt_init_floor: c.dtFloor,
      A_floor: c.aFloor,
      ...(c.softplusDecay && { A_softplus: true }),
      is_outproj_norm: c.outputNorm,
      is_mimo: c.mimo,
      ...(c.mimo && { mimo_rank: c.rank }),
      chunk_size: c.chunk,
    },
    attn_layer_idx: [],
    rms_norm: true,
    residual_in_fp32: true,
    pad_vocab_size_multiple: c.padMultiple,
    tie_embeddings: c.tieEmbeddings,
    norm_epsilon: c.normEps,
  };
}
