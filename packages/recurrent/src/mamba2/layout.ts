/** `config.json` of a Mamba-2 as each program reads it (../mambaFiles.ts), and what they would not compute. */
import { type MambaForms, type MambaLayout, NORM_EPS, transformersPadding } from "../mambaFiles";
import { type Mamba2Config, mamba2Json } from "./config";

/** What all of them draw -A from when they make a model, unless their configuration says otherwise. */
const A_RANGE = [1, 16];

/** What each program reads. */
export function formsOf(c: Mamba2Config): MambaForms {
  return {
    mambaSsm: mambaSsmJson(c),
    transformers: transformersJson(c),
    fla: flaJson(c),
    floats: [
      "norm_eps", "dt_min", "dt_max", "dt_init_floor", "dt_limit", "layer_norm_epsilon", "time_step_min", "time_step_max",
      "time_step_floor", "time_step_limit", "A_init_range",
    ],
  };
}

/** Why a program would not compute what this model does: settings that it has no field for, or does something else with. */
export function reasonAgainst(c: Mamba2Config, layout: MambaLayout): string | undefined {
  const expand = c.innerWidth / c.width;
  if (layout === "fla") return undefined;
  if (!Number.isInteger(expand)) return `its expand must be a whole number, and is ${expand}`;
  if (layout === "transformers") {
    return c.groups === 1 ? undefined : `it norms the gated output over its whole width, not in the ${c.groups} groups that this model has`;
  }
  if (c.normEps !== NORM_EPS) return `its norms have an epsilon of ${NORM_EPS}, and this model's ${c.normEps}`;
  if (hasLimit(c)) return `it takes no notice of the limits of dt, ${c.dtLimit.join(" to ")}, when it generates token by token`;
  return undefined;
}

const hasLimit = ({ dtLimit: [low, high] }: Mamba2Config): boolean => low > 0 || high !== Infinity;

/** The fields of mamba_ssm's `MambaConfig`, and of its `Mamba2` below `ssm_cfg`; others only for what it has none for. */
function mambaSsmJson(c: Mamba2Config): Readonly<Record<string, unknown>> {
  const { norm_epsilon: eps, ssm_cfg: { dt_limit: limit, ...ssm }, ...rest } = mamba2Json(c);
  return {
    ...rest,
    ssm_cfg: hasLimit(c) ? { ...ssm, dt_limit: limit } : ssm,
    attn_cfg: {},
    fused_add_norm: true,
    ...(eps === NORM_EPS ? {} : { norm_epsilon: eps }),
  };
}

/** Fields of flash-linear-attention's `Mamba2Config`. It keeps those that it does not know, as transformers does. */
function flaJson(c: Mamba2Config): Readonly<Record<string, unknown>> {
  return {
    ...sharedJson(c),
    rmsnorm: true,
    norm_before_gate: false,
    norm_eps: c.normEps,
    dt_min: c.dtRange[0],
    dt_max: c.dtRange[1],
    dt_init_floor: c.dtFloor,
    ...(hasLimit(c) ? { dt_limit: [...c.dtLimit] } : {}),
    ...transformersPadding(c),
    A_init_range: [...c.aRange],
  };
}

/** Fields of transformers' `Mamba2Config`. It keeps those that it does not know (the last three), and so they come back to us. */
function transformersJson(c: Mamba2Config): Readonly<Record<string, unknown>> {
  return {
    ...sharedJson(c),
    layer_norm_epsilon: c.normEps,
    time_step_min: c.dtRange[0],
    time_step_max: c.dtRange[1],
    time_step_floor: c.dtFloor,
    // No limit is its default; versions 4 and 5 write infinity in different ways.
    ...(hasLimit(c) ? { time_step_limit: [...c.dtLimit] } : {}),
    ...transformersPadding(c),
    ...(c.aRange.every((a, i) => a === A_RANGE[i]) ? {} : { A_init_range: [...c.aRange] }),
  };
}

/** What both call alike. */
function sharedJson(c: Mamba2Config): Readonly<Record<string, unknown>> {
  return {
    architectures: ["Mamba2ForCausalLM"],
    model_type: "mamba2",
    vocab_size: c.paddedVocabulary,
    hidden_size: c.width,
    num_hidden_layers: c.layers,
    num_heads: c.heads,
    head_dim: c.headSize,
    state_size: c.stateSize,
    n_groups: c.groups,
    expand: c.innerWidth / c.width,
    conv_kernel: c.convolution,
    chunk_size: c.chunk,
    hidden_act: "silu",
    use_bias: false,
    use_conv_bias: true,
    residual_in_fp32: true,
    tie_word_embeddings: c.tieEmbeddings,
  };
}
