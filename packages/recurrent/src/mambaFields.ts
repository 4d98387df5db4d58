/** Fields that the configurations of Mamba-1, 2 and 3 have in common, and what their values may be. */
import {
  choiceField, type Fields, flagField, listField, nullableField, numberField, optionalField, TRANSFORMERS_FIELDS, wholeField,
} from "@lenggen/kernels/nn";
import { rangeField } from "./init";

// Bounds are far above any published model; they keep a hostile file from asking for endless tables.
export const count = wholeField({ to: 2 ** 20 });
const [layers, vocabulary] = [wholeField({ to: 2 ** 12 }), wholeField({ to: 2 ** 24 })];
export const kernel = wholeField({ from: 2, to: 16 });
export const positive = numberField({ above: 0 });
export const expansion = numberField({ above: 0, to: 64 });
export const range = rangeField(positive);

/** How step sizes begin: between two, evenly over their logarithm, and above a floor. */
export const STEP_SIZES = {
  dt_min: optionalField(positive, 1e-3),
  dt_max: optionalField(positive, 0.1),
  dt_init_floor: optionalField(positive, 1e-4),
};

/** Fields of mamba_ssm's `MambaConfig` but for `ssm_cfg`, and `norm_epsilon`, which it has no field for. */
export const MAMBA_SSM_FIELDS = {
  d_model: count,
  n_layer: layers,
  vocab_size: vocabulary,
  attn_layer_idx: optionalField(listField(count, { to: 0 }), []),
  rms_norm: optionalField(choiceField(true), true),
  residual_in_fp32: optionalField(flagField(), true),
  pad_vocab_size_multiple: optionalField(count, 8),
  tie_embeddings: optionalField(flagField(), true),
  norm_epsilon: optionalField(positive, 1e-5),
} satisfies Fields;

/** Fields that flash-linear-attention's configurations of Mamba-1, 2 and 3 share, and two of lenggen's that it leaves alone. */
export const FLA_MAMBA_FIELDS = {
  hidden_size: optionalField(count, 2048),
  num_hidden_layers: optionalField(layers, 48),
  vocab_size: optionalField(vocabulary, 32_000),
  state_size: optionalField(count, 128),
  expand: optionalField(expansion, 2),
  norm_eps: optionalField(positive, 1e-5),
  dt_min: optionalField(positive, 1e-3),
  dt_max: optionalField(positive, 0.1),
  dt_init_floor: optionalField(positive, 1e-4),
  use_bias: optionalField(choiceField(false), false),
  hidden_act: optionalField(choiceField("silu", "swish"), "silu"),
  tie_word_embeddings: optionalField(flagField(), false),
  unpadded_vocab_size: optionalField(nullableField(vocabulary, null), null),
  pad_vocab_size_multiple: optionalField(count, 1),
} satisfies Fields;

/** What says nothing about the function there. */
export const FLA_MAMBA_IGNORED: readonly string[] = [
  ...TRANSFORMERS_FIELDS, "rescale_prenorm_residual", "residual_in_fp32", "fuse_norm", "fuse_cross_entropy", "fuse_linear_cross_entropy",
  "use_l2warp",
];

/** Fields of `MambaConfig` that say nothing about the model. */
export const MAMBA_SSM_IGNORED: readonly string[] = ["attn_cfg", "fused_add_norm"];

/** Fields that transformers' configurations of Mamba-1 and 2 share, and two of lenggen's that it leaves alone: see mambaFiles.ts. */
export const TRANSFORMERS_MAMBA_FIELDS = {
  hidden_size: count,
  num_hidden_layers: layers,
  vocab_size: vocabulary,
  expand: optionalField(expansion, 2),
  conv_kernel: optionalField(kernel, 4),
  layer_norm_epsilon: optionalField(positive, 1e-5),
  time_step_min: optionalField(positive, 1e-3),
  time_step_max: optionalField(positive, 0.1),
  time_step_floor: optionalField(positive, 1e-4),
  use_bias: optionalField(choiceField(false), false),
  use_conv_bias: optionalField(choiceField(true), true),
  hidden_act: optionalField(choiceField("silu", "swish"), "silu"),
  unpadded_vocab_size: optionalField(nullableField(vocabulary, null), null),
  pad_vocab_size_multiple: optionalField(count, 1),
} satisfies Fields;
