/**
 * Mamba-1's configuration, read from any published form of `config.json`: that of state-spaces (`d_model`, `ssm_cfg`, ...), of
 * transformers (`hidden_size`, `state_size`, ...) or of flash-linear-attention (`hidden_size`, `norm_eps`, ...).
 *
 * Glossary (Gu & Dao 2023 -> here): D -> `width`, L -> `layers`, N -> `stateSize`, E·D -> `innerWidth`, R -> `stepRank` (of the projection
 * to step sizes), K -> `convolution` (kernel width).
 */
import { check } from "@lenggen/kernels";
import {
  choiceField, type ConfigInput, type ConfigOptions, type ConfigOutput, type Field, flagField, nullableField, optionalField, readConfig,
  sectionField, TRANSFORMERS_FIELDS,
} from "@lenggen/kernels/nn";
import { checkRanges } from "../init";
import {
  count, expansion, FLA_MAMBA_FIELDS, FLA_MAMBA_IGNORED, kernel, MAMBA_SSM_FIELDS, MAMBA_SSM_IGNORED, positive, range, STEP_SIZES,
  TRANSFORMERS_MAMBA_FIELDS,
} from "../mambaFields";
import { layoutOf, padded, transformersVocabulary } from "../mambaFiles";

/** A configuration with everything derived; made by {@link parseMambaConfig}. */
export interface MambaConfig {
  readonly width: number;
  readonly layers: number;
  /** Tokens that exist; `paddedVocabulary` rows are stored: the next multiple of `padMultiple`. */
  readonly vocabulary: number;
  readonly padMultiple: number;
  readonly paddedVocabulary: number;
  readonly innerWidth: number;
  readonly stateSize: number;
  readonly convolution: number;
  readonly stepRank: number;
  readonly normEps: number;
  readonly tieEmbeddings: boolean;
  /** Range of the step size dt at the start (log-uniform), and its floor. */
  readonly dtRange: readonly [number, number];
  readonly dtFloor: number;
  /** How dt_proj.weight begins: uniform in ±dtScale/√R, or that number everywhere. */
  readonly dtInit: "random" | "constant";
  readonly dtScale: number;
  /** What -A begins between, evenly spread over the logarithm, the same in each channel; null: 1, 2, ... N, as published. */
  readonly aRange: readonly [number, number] | null;
}

/** A number, or "auto" for a sixteenth of the width, rounded up. */
const rank: Field<number | "auto"> = {
  expected: `${count.expected}, or "auto"`,
  read: (value, path, unknown) => (value === "auto" ? value : count.read(value, path, unknown)),
};
const inits = choiceField("random", "constant");

/** Fields of one mixer. */
export const MAMBA_MIXER = {
  d_state: optionalField(count, 16),
  d_conv: optionalField(kernel, 4),
  expand: optionalField(expansion, 2),
  dt_rank: optionalField(rank, "auto"),
  ...STEP_SIZES,
  dt_init: optionalField(inits, "random"),
  dt_scale: optionalField(positive, 1),
  /** lenggen's own, named as Mamba-2's. */
  A_init_range: optionalField(nullableField(range, null), null),
};

/** Arguments of mamba_ssm's `Mamba`. */
const SSM_CFG = {
  layer: optionalField(choiceField("Mamba1"), "Mamba1"),
  ...MAMBA_MIXER,
  conv_bias: optionalField(choiceField(true), true),
  bias: optionalField(choiceField(false), false),
};

/** Fields of `MambaConfig` and of `Mamba`, and `norm_epsilon`, which mamba_ssm has no field for. */
const STATE_SPACES = {
  fields: {
    model_type: optionalField(choiceField("mamba"), "mamba"),
    ...MAMBA_SSM_FIELDS,
    d_intermediate: optionalField(choiceField(0), 0),
    ssm_cfg: optionalField(sectionField(SSM_CFG, ["use_fast_path"]), readConfig({ fields: SSM_CFG }, {})),
  },
  ignored: MAMBA_SSM_IGNORED,
};

/**
 * Fields of transformers' `MambaConfig`, and two that it has none for and leaves alone: see mambaFiles.ts. The published files
 * have those of mamba_ssm beside them, as they were converted.
 */
const TRANSFORMERS = {
  fields: {
    model_type: choiceField("mamba"),
    ...TRANSFORMERS_MAMBA_FIELDS,
    state_size: optionalField(count, 16),
    intermediate_size: optionalField(nullableField(count, null), null),
    tie_word_embeddings: optionalField(flagField(), true),
    time_step_rank: optionalField(rank, "auto"),
    time_step_scale: optionalField(positive, 1),
    time_step_init_scheme: optionalField(inits, "random"),
  },
  ignored: [
    ...TRANSFORMERS_FIELDS, "rescale_prenorm_residual", "residual_in_fp32", "rms_norm", "use_mambapy", "use_associative_scan",
    "d_inner", "d_model", "n_layer", "ssm_cfg", "fused_add_norm",
  ],
};

/** Fields of flash-linear-attention's `MambaConfig`. */
const FLA = {
  fields: {
    model_type: choiceField("mamba"),
    ...FLA_MAMBA_FIELDS,
    state_size: optionalField(count, 16),
    intermediate_size: optionalField(nullableField(count, null), null),
    conv_kernel: optionalField(kernel, 4),
    use_conv_bias: optionalField(choiceField(true), true),
    dt_rank: optionalField(rank, "auto"),
    dt_scale: optionalField(positive, 1),
    dt_init_scheme: optionalField(inits, "random"),
  },
  ignored: FLA_MAMBA_IGNORED,
};

/** `config.json` in the state-spaces form; fields left out have the published defaults. */
export type MambaJson = ConfigInput<typeof STATE_SPACES.fields>;

/** Reads any published form. Throws `E_CONFIG` naming the field, its value and what it may be, or the field that there is none of. */
export function parseMambaConfig(json: unknown, options: ConfigOptions = {}): MambaConfig {
  const layout = layoutOf(json);
  if (layout === "transformers") return fromTransformers(readConfig(TRANSFORMERS, json, options));
  return layout === "fla" ? fromFla(readConfig(FLA, json, options)) : fromStateSpaces(readConfig(STATE_SPACES, json, options));
}

function fromStateSpaces(json: ConfigOutput<typeof STATE_SPACES.fields>): MambaConfig {
  const { ssm_cfg: ssm } = json;
  return derive({
    width: json.d_model,
    layers: json.n_layer,
    vocabulary: json.vocab_size,
    padMultiple: json.pad_vocab_size_multiple,
    innerWidth: ssm.expand * json.d_model,
    stateSize: ssm.d_state,
    convolution: ssm.d_conv,
    normEps: json.norm_epsilon,
    tieEmbeddings: json.tie_embeddings,
    dtRange: [ssm.dt_min, ssm.dt_max],
    dtFloor: ssm.dt_init_floor,
    dtInit: ssm.dt_init,
    dtScale: ssm.dt_scale,
    aRange: ssm.A_init_range,
  }, ssm.dt_rank);
}

function fromFla(json: ConfigOutput<typeof FLA.fields>): MambaConfig {
  return derive({
    ...namedAlike(json),
    normEps: json.norm_eps,
    dtRange: [json.dt_min, json.dt_max],
    dtFloor: json.dt_init_floor,
    dtInit: json.dt_init_scheme,
    dtScale: json.dt_scale,
  }, json.dt_rank);
}

function fromTransformers(json: ConfigOutput<typeof TRANSFORMERS.fields>): MambaConfig {
  return derive({
    ...namedAlike(json),
    normEps: json.layer_norm_epsilon,
    dtRange: [json.time_step_min, json.time_step_max],
    dtFloor: json.time_step_floor,
    dtInit: json.time_step_init_scheme,
    dtScale: json.time_step_scale,
  }, json.time_step_rank);
}

/** What transformers and flash-linear-attention call by the same names. */
function namedAlike(json: ConfigOutput<typeof FLA.fields> | ConfigOutput<typeof TRANSFORMERS.fields>) {
  const innerWidth = json.expand * json.hidden_size;
  check(json.intermediate_size === null || json.intermediate_size === innerWidth, "E_CONFIG", () =>
    `config: intermediate_size ${json.intermediate_size} must be expand·hidden_size = ${innerWidth}`);
  return {
    width: json.hidden_size,
    layers: json.num_hidden_layers,
    ...transformersVocabulary(json),
    innerWidth,
    stateSize: json.state_size,
    convolution: json.conv_kernel,
    tieEmbeddings: json.tie_word_embeddings,
    aRange: null,
  };
}

/** R where a configuration says "auto". */
const autoRank = (width: number): number => Math.ceil(width / 16);

function derive(given: Omit<MambaConfig, "paddedVocabulary" | "stepRank">, stepRank: number | "auto"): MambaConfig {
  const { innerWidth, width, dtRange } = given;
  check(Number.isInteger(innerWidth), "E_CONFIG", () =>
    `config: expand ${innerWidth / width} times the model's width ${width} must be a whole number, and is ${innerWidth}`);
  checkRanges({ "dt_min, dt_max": dtRange });
  return {
    ...given,
    stepRank: stepRank === "auto" ? autoRank(width) : stepRank,
    paddedVocabulary: padded(given.vocabulary, given.padMultiple),
  };
}

/**
 * A configuration with nothing left out, in the state-spaces form and with one field more than mamba_ssm's own `config.json` has
 * (`norm_epsilon`). It makes the same model again; see mambaFiles.ts for what other programs read.
 */
export function mambaJson(c: MambaConfig): MambaJson {
  return {
    d_model: c.width,
    d_intermediate: 0,
    n_layer: c.layers,
    vocab_size: c.vocabulary,
    ssm_cfg: {
      layer: "Mamba1",
      d_state: c.stateSize,
      d_conv: c.convolution,
      expand: c.innerWidth / c.width,
      dt_rank: c.stepRank === autoRank(c.width) ? "auto" : c.stepRank,
      dt_min: c.dtRange[0],
      dt_max: c.dtRange[1],
      dt_init: c.dtInit,
      dt_scale: c.dtScale,
      dt_init_floor: c.dtFloor,
      ...(c.aRange && { A_init_range: [...c.aRange] }),
    },
    attn_layer_idx: [],
    rms_norm: true,
    residual_in_fp32: true,
    pad_vocab_size_multiple: c.padMultiple,
    tie_embeddings: c.tieEmbeddings,
    norm_epsilon: c.normEps,
  };
}
