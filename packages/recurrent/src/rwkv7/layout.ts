/** An RWKV-7's files in each of its layouts, and of what a program would compute something else. */
import type { CheckpointForm } from "@lenggen/kernels";
import { joinForms, type ParameterSet, type Specs } from "@lenggen/kernels/nn";
import { pythonText, withKept } from "../layouts";
import { HEAD_NORM_EPS, NORM_EPS, rowIn, type RwkvLayout } from "../rwkv/layouts";
import { FUSED_LENGTH_EPS, headNormEpsOf, type Rwkv7Config, rwkv7Json } from "./config";

/** Why a layout's programs would not compute what this model does: settings that they have no field for. */
export function reasonAgainst(c: Rwkv7Config, layout: RwkvLayout): string | undefined {
  if (layout === "rwkv") {
    if (c.normEps !== NORM_EPS) return `its norms have an epsilon of ${NORM_EPS}, and this model's ${c.normEps}`;
    return c.headNormEps === HEAD_NORM_EPS ? undefined
      : `its norm behind the heads has an epsilon of ${HEAD_NORM_EPS}, and this model's ${c.headNormEps}`;
  }
  const eps = headNormEpsOf(c.normEps, c.headSize);
  return c.headNormEps === eps ? undefined
    : `its norm behind heads of ${c.headSize} has an epsilon of ${eps}, and this model's ${c.headNormEps}`;
}

/** Files in a layout. `kept`: fields of a configuration that nothing here depends on, and the program that wrote it does. */
export function checkpointForm<S extends Specs>(
  c: Rwkv7Config, parameters: ParameterSet<S>, layout: RwkvLayout, kept: Readonly<Record<string, unknown>>,
): CheckpointForm {
  const files = parameters.files(layout);
  if (layout === "rwkv") return { config: `${JSON.stringify(rwkv7Json(c), null, 2)}\n`, ...files };
  const shared = {
    model_type: "rwkv7",
    hidden_size: c.width,
    num_hidden_layers: c.layers,
    vocab_size: c.vocabulary,
    intermediate_size: c.innerWidth,
    head_dim: c.headSize,
    num_heads: c.heads,
    decay_low_rank_dim: c.decayRank,
    a_low_rank_dim: c.rateRank,
    v_low_rank_dim: c.valueRank,
    gate_low_rank_dim: c.gateRank,
    norm_eps: c.normEps,
    norm_bias: true,
    tie_word_embeddings: false,
    ...(c.headNormEps !== headNormEpsOf(c.normEps, c.headSize) && { head_norm_eps: c.headNormEps }),
  };
  if (layout === "transformers") {
    const config = { architectures: ["Rwkv7ForCausalLM"], ...shared, use_deep_embed: false,
      ...(!c.firstLayerValues && { first_layer_values: false }) };
    return { config: pythonText(withKept(config, { wkv_state_dtype: "float32", ...kept }), ["norm_eps", "head_norm_eps"]), ...files };
  }
  const config = { architectures: ["RWKV7ForCausalLM"], ...shared, hidden_ratio: c.innerWidth / c.width, hidden_act: "sqrelu",
    norm_first: true, fuse_norm: c.lengthEps === FUSED_LENGTH_EPS };
  const rearranged = { ...files.rearranged, ...olderShares(c) };
  return { config: `${JSON.stringify(withKept(config, kept), null, 2)}\n`, ...files, rearranged };
}

/** The shares of the token before as flash-linear-attention had them at first: one tensor [6,D] for each layer. */
function olderShares({ layers, width }: Rwkv7Config): NonNullable<CheckpointForm["rearranged"]> {
  const parts = ["r", "w", "k", "v", "a", "g"];
  return Object.fromEntries(Array.from({ length: layers }, (_, layer) => {
    const name = `model.layers.${layer}.attn.x_x`;
    const joined = joinForms(name, parts.map((part, index) => ({
      parameter: `blocks.${layer}.att.x_${part}`, form: rowIn(index, parts.length, width),
    })));
    return [name, { ...joined, older: true as const }];
  }));
}

