/** Golden models of RWKV-6, RWKV-7, Mamba-1 and 2, their files rewritten into other layouts: logits, states and gradients are the same. */
import { type Device, open, type Safetensors } from "@lenggen/kernels";
import { describe } from "vitest";
import { describeGolden, type GoldenModelOptions } from "./golden.fixture";
import { fileOf, type HostFile, readHost } from "./layouts.fixture";
import { loadMamba } from "./mamba/files";
import { loadMamba2 } from "./mamba2/files";
import { rwkv6ToFla, rwkv6ToHub, rwkv7ToFla, rwkv7ToTransformers } from "./rwkv/rewrite.fixture";
import { loadRwkv6 } from "./rwkv6/files";
import { loadRwkv7 } from "./rwkv7/files";

/** Loads a golden model from its file in another layout, with a configuration of that. */
const rewritten = (load: GoldenModelOptions["load"], config: object, rewrite: (file: HostFile) => HostFile): GoldenModelOptions["load"] =>
  async (_, weights: Safetensors, device: Device, dtype) => {
    const host = await open("reference");
    const file = await fileOf(rewrite(await readHost(weights, host)), host);
    return load(config, file, device, dtype).finally(() => host.close());
  };

/** [B,H,V,K] as the authors' program for single tokens has it -> [B,H,K,V]. */
function keyFirst(values: ArrayLike<number>, shape: readonly number[]): number[] {
  const [V, K] = shape.slice(-2) as [number, number];
  return Array.from({ length: values.length }, (_, i) => {
    const [v, k, matrix] = [i % V, Math.floor(i / V) % K, Math.floor(i / (V * K))];
    return values[(matrix * V + v) * K + k]!;
  });
}

const shifts = { attShift: { name: "att_shift" }, ffnShift: { name: "ffn_shift" } };

const RWKV7 = {
  model_type: "rwkv7", hidden_size: 48, num_hidden_layers: 3, vocab_size: 88, head_dim: 16, num_heads: 3, intermediate_size: 192,
  decay_low_rank_dim: 8, a_low_rank_dim: 6, v_low_rank_dim: 4, gate_low_rank_dim: 10, norm_eps: 1e-5,
  head_norm_eps: 64e-5, // as the golden values have it at this head size, and neither program would
};
const rwkv7States = { wkv7: { name: "wkv", as: keyFirst }, ...shifts };
describe("in flash-linear-attention's layout", () => {
  describeGolden("rwkv7-tiny", { load: rewritten(loadRwkv7, { ...RWKV7, fuse_norm: false }, rwkv7ToFla), states: rwkv7States });
  const config = { model_type: "rwkv6", hidden_size: 64, num_hidden_layers: 2, vocab_size: 88, num_heads: 4, expand_k: 1, expand_v: 1,
    intermediate_size: 224, proj_low_rank_dim: 8, gate_low_rank_dim: 12, norm_eps: 1e-5, head_norm_eps: 64e-5 };
  describeGolden("rwkv6-tiny", { load: rewritten(loadRwkv6, config, rwkv6ToFla), states: { wkv: { name: "wkv" }, ...shifts } });
});
describe("in transformers' layout", () => {
  describeGolden("rwkv7-tiny", {
    load: rewritten(loadRwkv7, { ...RWKV7, wkv_state_dtype: "float32" }, rwkv7ToTransformers), states: rwkv7States,
  });
  const config = { model_type: "rwkv6", hidden_size: 64, num_hidden_layers: 2, vocab_size: 88, head_size: 16, head_size_divisor: 8,
    intermediate_size: 224, layer_norm_epsilon: 1e-5, time_mix_extra_dim: 8, time_decay_extra_dim: 12 };
  describeGolden("rwkv6-tiny", { load: rewritten(loadRwkv6, config, rwkv6ToHub), states: { wkv: { name: "wkv" }, ...shifts } });
});

/** Without the output matrix, which is the embedding. */
const tied = (file: HostFile): HostFile => Object.fromEntries(Object.entries(file).flatMap(([name, t]) =>
  (name === "lm_head.weight" ? [] : [[name === "backbone.embedding.weight" ? "backbone.embeddings.weight" : name, t]])));
const MAMBA = { num_hidden_layers: 2, vocab_size: 256, state_size: 16, tie_word_embeddings: true, norm_eps: 1e-5, fuse_norm: true };
describe("in flash-linear-attention's layout", () => {
  // Its golden values have A and D rounded to float32, and no states.
  describeGolden("mamba1-tiny", { load: rewritten(loadMamba, { model_type: "mamba", ...MAMBA, hidden_size: 48 }, tied), rounded: 1e-7 });
  describeGolden("mamba2-tiny", {
    load: rewritten(loadMamba2, { model_type: "mamba2", ...MAMBA, hidden_size: 64, head_dim: 16, chunk_size: 64 }, tied),
  });
});
