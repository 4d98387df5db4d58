/** `config.json` of a Mamba-1 as each program reads it (../mambaFiles.ts), and what they would not compute. */
import { type MambaForms, type MambaLayout, NORM_EPS, transformersPadding } from "../mambaFiles";
import { type MambaConfig, mambaJson } from "./config";

/** What each program reads. */
export function formsOf(c: MambaConfig): MambaForms {
  // What a fresh model begins with says nothing about a trained one, and mamba_ssm takes no argument of that name.
  const { norm_epsilon: eps, ...json } = mambaJson({ ...c, aRange: null });
  const shared = {
    architectures: ["MambaForCausalLM"],
    model_type: "mamba",
    vocab_size: c.paddedVocabulary,
    hidden_size: c.width,
    num_hidden_layers: c.layers,
    state_size: c.stateSize,
    expand: c.innerWidth / c.width,
    intermediate_size: c.innerWidth,
    conv_kernel: c.convolution,
    hidden_act: "silu",
    use_bias: false,
    use_conv_bias: true,
    residual_in_fp32: true,
    tie_word_embeddings: c.tieEmbeddings,
  };
  return {
    mambaSsm: { ...json, attn_cfg: {}, fused_add_norm: true, ...(eps === NORM_EPS ? {} : { norm_epsilon: eps }) },
    transformers: {
      ...shared,
      layer_norm_epsilon: c.normEps,
      time_step_rank: c.stepRank,
      time_step_scale: c.dtScale,
      time_step_min: c.dtRange[0],
      time_step_max: c.dtRange[1],
      time_step_init_scheme: c.dtInit,
      time_step_floor: c.dtFloor,
      ...transformersPadding(c),
    },
    fla: {
      ...shared,
      norm_eps: c.normEps,
      dt_rank: c.stepRank,
      dt_scale: c.dtScale,
      dt_min: c.dtRange[0],
      dt_max: c.dtRange[1],
      dt_init_scheme: c.dtInit,
      dt_init_floor: c.dtFloor,
      ...transformersPadding(c),
    },
    floats: [
      "norm_eps", "dt_scale", "dt_min", "dt_max", "dt_init_floor", "layer_norm_epsilon", "time_step_scale", "time_step_min",
      "time_step_max", "time_step_floor",
    ],
  };
}

/** Why a program would not compute what this model does: settings that it has no field for. */
export function reasonAgainst(c: MambaConfig, layout: MambaLayout): string | undefined {
  const expand = c.innerWidth / c.width;
  if (layout !== "fla" && !Number.isInteger(expand)) return `its expand must be a whole number, and is ${expand}`;
  if (layout === "mamba_ssm" && c.normEps !== NORM_EPS) return `its norms have an epsilon of ${NORM_EPS}, and this model's ${c.normEps}`;
  return undefined;
}
