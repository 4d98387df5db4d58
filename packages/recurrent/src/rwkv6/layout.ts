/** An RWKV-6's files in each of its layouts, and of what a program would compute something else. */
import { type CheckpointForm, concat, reshape, slice, type Tensor, transpose } from "@lenggen/kernels";
import { type Form, form, type ParameterSet, type Specs } from "@lenggen/kernels/nn";
import { pythonText, withKept } from "../layouts";
import { HEAD_NORM_EPS, NORM_EPS, type RwkvLayout } from "../rwkv/layouts";
import { ranksOfHub, type Rwkv6Config, rwkv6Json } from "./config";

/** The mixed inputs as the authors order them, and as flash-linear-attention does. */
export const MIXED = ["w", "k", "v", "r", "g"] as const;
const MIXED_OF_FLA = ["r", "w", "k", "v", "g"] as const;

/** The place of a mixed input in flash-linear-attention's files. */
export const placeInFla = (name: (typeof MIXED)[number]): number => MIXED_OF_FLA.indexOf(name);

/** Parts along an axis, one of each mixed input, from one order into the other. */
function reordered(t: Tensor, axis: number, from: readonly string[], to: readonly string[]): Tensor {
  return concat(to.map((name) => slice(t, axis, from.indexOf(name), from.indexOf(name) + 1)), axis);
}

/** time_maa_w1 [C,5D], which flash-linear-attention has as [5D,C]. */
export function mixDownForm(width: number, rank: number): Form {
  const rows = MIXED.length * rank;
  return form({
    shape: [rows, width],
    write: (t) => reshape(transpose(reordered(reshape(t, [width, 5, rank]), 1, MIXED, MIXED_OF_FLA), [1, 2, 0]), [rows, width]),
    read: (t) => reshape(transpose(reordered(reshape(t, [5, rank, width]), 0, MIXED_OF_FLA, MIXED), [2, 0, 1]), [width, rows]),
  });
}

/** time_maa_w2 [5,D,C], which flash-linear-attention has as [C,5D]. */
export function mixUpForm(width: number, rank: number): Form {
  return form({
    shape: [width, MIXED.length * rank],
    write: (t) => transpose(reshape(reordered(t, 0, MIXED, MIXED_OF_FLA), [MIXED.length * rank, width]), [1, 0]),
    read: (t) => reordered(reshape(transpose(t, [1, 0]), [MIXED.length, rank, width]), 0, MIXED_OF_FLA, MIXED),
  });
}

/** Why a layout's programs would not compute what this model does: settings that they have no field for. */
export function reasonAgainst(c: Rwkv6Config, layout: RwkvLayout): string | undefined {
  if (layout === "fla") {
    return c.headNormEps === c.normEps ? undefined
      : `all its norms have one epsilon, and this model's ${c.normEps}, behind the heads ${c.headNormEps}`;
  }
  if (layout === "rwkv" && c.normEps !== NORM_EPS) return `its norms have an epsilon of ${NORM_EPS}, and this model's ${c.normEps}`;
  if (c.headNormEps !== HEAD_NORM_EPS) {
    return `its norm behind the heads has an epsilon of ${HEAD_NORM_EPS}, and this model's ${c.headNormEps}`;
  }
  const { mix, decay } = ranksOfHub(c.width);
  return layout === "rwkv" || (c.mixRank === mix && c.decayRank === decay) ? undefined
    : `its low-rank matrices have the ranks ${mix} and ${decay} at a width of ${c.width}, and this model's ${c.mixRank} and ${c.decayRank}`;
}

/** Files in a layout. `kept`: fields of a configuration that nothing here depends on, and the program that wrote it does. */
export function checkpointForm<S extends Specs>(
  c: Rwkv6Config, parameters: ParameterSet<S>, layout: RwkvLayout, kept: Readonly<Record<string, unknown>>,
): CheckpointForm {
  const files = parameters.files(layout);
  if (layout === "rwkv") return { config: `${JSON.stringify(rwkv6Json(c), null, 2)}\n`, ...files };
  const shared = {
    model_type: "rwkv6",
    hidden_size: c.width,
    num_hidden_layers: c.layers,
    vocab_size: c.vocabulary,
    intermediate_size: c.innerWidth,
    tie_word_embeddings: false,
  };
  if (layout === "transformers") {
    const config = {
      architectures: ["Rwkv6ForCausalLM"], ...shared,
      attention_hidden_size: c.width, head_size: c.headSize, head_size_divisor: 8, layer_norm_epsilon: c.normEps,
      time_mix_extra_dim: c.mixRank, time_decay_extra_dim: c.decayRank, rescale_every: 6,
      ...(c.headNormEps !== HEAD_NORM_EPS && { head_norm_eps: c.headNormEps }),
    };
    const whole = withKept(config, { bos_token_id: 0, eos_token_id: 0, ...kept });
    return { config: pythonText(whole, ["layer_norm_epsilon", "head_norm_eps"]), ...files };
  }
  const config = {
    architectures: ["RWKV6ForCausalLM"], ...shared, expand_k: 1, expand_v: 1, num_heads: c.heads,
    proj_low_rank_dim: c.mixRank, gate_low_rank_dim: c.decayRank, hidden_ratio: c.innerWidth / c.width, hidden_act: "sqrelu",
    norm_first: true, norm_bias: true, norm_eps: c.normEps,
    ...(c.headNormEps !== c.normEps && { head_norm_eps: c.headNormEps }),
  };
  return { config: pythonText(withKept(config, kept), ["expand_k", "expand_v", "norm_eps", "head_norm_eps"]), ...files };
}
