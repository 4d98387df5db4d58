/** The layouts of RWKV-6 and RWKV-7, rewritten as flash-linear-attention's and transformers' converters describe them. */
import { describeLayouts, type HostFile } from "../layouts.fixture";
import { loadRwkv6 } from "../rwkv6/files";
import { rwkv6 } from "../rwkv6/model";
import { rwkv6FromShapes } from "../rwkv6/shapes";
import { loadRwkv7 } from "../rwkv7/files";
import { rwkv7 } from "../rwkv7/model";
import { rwkv7FromShapes } from "../rwkv7/shapes";
import { rwkv6ToFla, rwkv6ToHub, rwkv7ToFla, rwkv7ToOldFla, rwkv7ToTransformers } from "./rewrite.fixture";

const same = (file: HostFile): HostFile => file;

const RWKV7 = { n_layer: 3, n_embd: 24, vocab_size: 30, head_size: 12, dim_ffn: 40,
  d_decay_lora: 5, d_aaa_lora: 4, d_mv_lora: 3, d_gate_lora: 6 };
const RWKV7_FLA = {
  model_type: "rwkv7", hidden_size: 24, num_hidden_layers: 3, vocab_size: 30, head_dim: 12, hidden_ratio: 4, intermediate_size: 40,
  decay_low_rank_dim: 5, a_low_rank_dim: 4, v_low_rank_dim: 3, gate_low_rank_dim: 6, value_dim: [24, 24, 24],
  norm_eps: 1e-5, fuse_norm: false, head_norm_eps: 64e-5, bos_token_id: 0, eos_token_id: 0, attn: null,
};

describeLayouts({
  label: "RWKV-7", config: RWKV7, make: rwkv7, load: loadRwkv7, fromShapes: rwkv7FromShapes,
  layouts: [
    { layout: "rwkv", config: RWKV7, rewrite: same },
    { layout: "fla", config: RWKV7_FLA, rewrite: rwkv7ToFla, untold: ["headNormEps", "lengthEps"] },
    { layout: "fla", config: RWKV7_FLA, rewrite: rwkv7ToOldFla, older: true },
  ],
});

describeLayouts({
  label: "RWKV-7 with what its first layer does not read", config: { ...RWKV7, first_layer_values: true }, make: rwkv7, load: loadRwkv7,
  fromShapes: rwkv7FromShapes,
  layouts: [
    { layout: "rwkv", config: RWKV7, rewrite: same },
    {
      layout: "transformers", rewrite: rwkv7ToTransformers, untold: ["headNormEps"],
      config: {
        architectures: ["Rwkv7ForCausalLM"], model_type: "rwkv7", hidden_size: 24, num_hidden_layers: 3, vocab_size: 30, head_dim: 12,
        num_heads: 2, intermediate_size: 40, decay_low_rank_dim: 5, a_low_rank_dim: 4, v_low_rank_dim: 3, gate_low_rank_dim: 6,
        head_norm_eps: 64e-5, wkv_state_dtype: "float32", bos_token_id: 0, eos_token_id: 0, pad_token_id: 0,
      },
    },
  ],
});

const RWKV6 = { n_layer: 2, n_embd: 24, vocab_size: 30, head_size: 12, dim_ffn: 40, d_mix_lora: 3, d_decay_lora: 5 };

describeLayouts({
  label: "RWKV-6", config: RWKV6, make: rwkv6, load: loadRwkv6, fromShapes: rwkv6FromShapes,
  layouts: [
    { layout: "rwkv", config: RWKV6, rewrite: same },
    {
      layout: "fla", rewrite: rwkv6ToFla, untold: ["headNormEps"],
      config: {
        model_type: "rwkv6", hidden_size: 24, num_hidden_layers: 2, vocab_size: 30, num_heads: 2, expand_k: 1, expand_v: 1,
        intermediate_size: 40, proj_low_rank_dim: 3, gate_low_rank_dim: 5, norm_eps: 1e-5, head_norm_eps: 64e-5, fuse_norm: true,
        bos_token_id: 0,
      },
    },
    {
      layout: "transformers", rewrite: rwkv6ToHub,
      config: {
        model_type: "rwkv6", hidden_size: 24, num_hidden_layers: 2, vocab_size: 30, attention_hidden_size: 24, head_size: 12,
        head_size_divisor: 8, intermediate_size: 40, layer_norm_epsilon: 1e-5, time_mix_extra_dim: 3, time_decay_extra_dim: 5,
        rescale_every: 6, model_version: "6_0", auto_map: { AutoConfig: "configuration_rwkv6.Rwkv6Config" },
      },
    },
  ],
});
