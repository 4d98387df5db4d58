/** A Mamba-3's files as mamba_ssm and flash-linear-attention read them, and what these would not compute. */
import type { CheckpointForm } from "@lenggen/kernels";
import type { ParameterSet, Specs } from "@lenggen/kernels/nn";
import { keptFields, pythonText, withKept } from "../layouts";
import { NORM_EPS, transformersPadding } from "../mambaFiles";
import { type Mamba3Config, mamba3Json, type Mamba3Layout } from "./config";

/** Why a program would not compute what this model does: settings that it has no field for, or does something else with. */
export function reasonAgainst(c: Mamba3Config, layout: Mamba3Layout): string | undefined {
  if (c.normEps !== NORM_EPS) return `its norms have an epsilon of ${NORM_EPS}, and this model's ${c.normEps}`;
  if (layout === "mamba_ssm") {
    return c.softplusDecay ? "its rates of decay are 1 + x above 0 and 1 / (1 - x) below, and this model's a softplus" : undefined;
  }
  if (!c.softplusDecay) return "its rates of decay are a softplus, and this model's 1 + x above 0 and 1 / (1 - x) below";
  return c.intermediateSize === 0 ? undefined : "its layers have no feed-forward part, as this model's do";
}

/** The files of a model for one of the programs. `json`: a configuration in its form, whose special tokens and the like are kept. */
export function checkpointForm<S extends Specs>(
  c: Mamba3Config, parameters: ParameterSet<S>, layout: Mamba3Layout, json?: unknown,
): CheckpointForm {
  const isOwn = layout === "mamba_ssm";
  // mamba_ssm wants the output matrix also where it is the embedding.
  return { config: isOwn ? mambaSsmText(c) : flaText(c, json), ...parameters.files(layout, { copies: isOwn }) };
}

/** `MambaConfig(**json)` takes the fields of its dataclass and no others. */
function mambaSsmText(c: Mamba3Config): string {
  const { norm_epsilon: eps, ...json } = mamba3Json(c);
  const whole = { ...json, attn_cfg: {}, fused_add_norm: true, ...(eps === NORM_EPS ? {} : { norm_epsilon: eps }) };
  return `${JSON.stringify(whole, null, 2)}\n`;
}

function flaText(c: Mamba3Config, json: unknown): string {
  const fields = {
    architectures: ["Mamba3ForCausalLM"],
    model_type: "mamba3",
    vocab_size: c.paddedVocabulary,
    hidden_size: c.width,
    num_hidden_layers: c.layers,
    state_size: c.stateSize,
    head_dim: c.headSize,
    num_heads: c.heads,
    n_groups: c.groups,
    expand: c.innerWidth / c.width,
    rope_fraction: c.ropeFraction,
    A_floor: c.aFloor,
    is_outproj_norm: c.outputNorm,
    is_mimo: c.mimo,
    ...(c.mimo && { mimo_rank: c.rank }),
    chunk_size: c.chunk,
    norm_eps: c.normEps,
    use_bias: false,
    tie_word_embeddings: c.tieEmbeddings,
    dt_min: c.dtRange[0],
    dt_max: c.dtRange[1],
    dt_init_floor: c.dtFloor,
    ...transformersPadding(c),
  };
  return pythonText(withKept(fields, keptFields(json)), ["rope_fraction", "A_floor", "norm_eps", "dt_min", "dt_max", "dt_init_floor"]);
}
