/** Files of GLA and Gated DeltaNet in flash-linear-attention's layout, which is their only one. */
import { gatedDeltaNet, loadGatedDeltaNet } from "../gatedDeltaNet/model";
import { gla, loadGla } from "../gla/model";
import { describeLayouts, type HostFile } from "../layouts.fixture";
import { gatedDeltaNetFromShapes, glaFromShapes } from "./shapes";

const same = (file: HostFile): HostFile => file;
/** Where norms are modules of their own. */
const unfused = (file: HostFile): HostFile =>
  Object.fromEntries(Object.entries(file).map(([name, t]) => [name.replace("g_norm_swish_gate", "g_norm"), t]));

const COMMON = { hidden_size: 24, num_hidden_layers: 2, vocab_size: 30, intermediate_size: 32 };
const GLA = { model_type: "gla", ...COMMON, num_heads: 3 };
// As the library writes it, with all its fields.
const WRITTEN = { ...GLA, expand_k: 0.5, expand_v: 1, bos_token_id: 1, eos_token_id: 2, use_cache: true, fuse_norm: true,
  attnres_block_size: null, max_position_embeddings: 2048, norm_eps: 1e-6, attn: null, feature_map: null };

const family = { label: "GLA", config: GLA, make: gla, load: loadGla, fromShapes: glaFromShapes };
describeLayouts({
  ...family,
  layouts: [
    { layout: "fla", config: WRITTEN, rewrite: same },
    { layout: "fla", config: { ...WRITTEN, fuse_norm: false }, rewrite: unfused },
  ],
});
describeLayouts({
  ...family, label: "GLA with short convolutions, tied", config: { ...GLA, use_short_conv: true, tie_word_embeddings: true },
  layouts: [{ layout: "fla", config: { ...WRITTEN, use_short_conv: true, conv_size: 4, tie_word_embeddings: true }, rewrite: same }],
});

const GDN = { model_type: "gated_deltanet", ...COMMON, num_heads: 2, head_dim: 8, expand_v: 1.5 };
describeLayouts({
  label: "Gated DeltaNet", config: GDN, make: gatedDeltaNet, load: loadGatedDeltaNet, fromShapes: gatedDeltaNetFromShapes,
  layouts: [{ layout: "fla", config: { ...GDN, num_v_heads: null, attn_mode: "chunk", eos_token_id: 2, norm_eps: 1e-6 }, rewrite: same }],
});
