/** GLA against golden values, the laws of sequence models, and what the published files and code say of sizes and starting values. */
import { key, leaves, open, scope } from "@lenggen/kernels";
import { checkSequenceModel, SEQUENCE_MODEL_LAWS } from "@lenggen/kernels/laws";
import { describe, expect, it } from "vitest";
import { describeGolden, describeOnEachDevice } from "../golden.fixture";
import { glaJson, parseGlaConfig } from "./config";
import { gla, glaParameterCount, loadGla } from "./model";
import { GLA_PRESETS } from "./presets";

const CONFIG = {
  model_type: "gla", hidden_size: 24, num_hidden_layers: 2, num_heads: 3, intermediate_size: 32, vocab_size: 50, initializer_range: 0.2,
};

describeGolden("gla-tiny", { load: loadGla, states: { s: { name: "recurrent" } } });

describeOnEachDevice("GLA", (on) => {
  it.each(SEQUENCE_MODEL_LAWS)("keeps the law of %s", (law) =>
    checkSequenceModel(gla(CONFIG), { ...on, laws: [law] }));

  it("keeps the laws with short convolutions and a tied output matrix", () =>
    checkSequenceModel(gla({ ...CONFIG, use_short_conv: true, tie_word_embeddings: true }),
      { ...on, laws: ["description", "chunks", "gradients", "generation"] }));
});

describe("configurations of GLA", () => {
  it.each([
    ["gla-340m", 341_707_776],
    ["gla-1.3b", 1_365_514_240],
    ["gla-2.7b", 2_703_583_744],
  ] as const)("%s has %i parameters, as published", (preset, expected) => {
    expect(glaParameterCount(parseGlaConfig(GLA_PRESETS[preset]))).toBe(expected);
  });

  it("survive a round trip through config.json", () => {
    for (const preset of [...Object.values(GLA_PRESETS), { ...CONFIG, use_short_conv: true, conv_size: 3, expand_k: 0.625 }]) {
      const config = parseGlaConfig(preset);
      expect(parseGlaConfig(JSON.parse(JSON.stringify(glaJson(config))))).toEqual(config);
    }
  });

  it("of older files are read: another name of the epsilon, another kernel", () => {
    const older = {
      architectures: ["GLAForCausalLM"], attn_mode: "fused_chunk", bos_token_id: 1, clamp_min: null, eos_token_id: 2, expand_k: 0.5,
      expand_v: 1, fuse_cross_entropy: true, fuse_norm: true, hidden_act: "swish", hidden_ratio: 4, hidden_size: 2048,
      initializer_range: 0.02, intermediate_size: null, max_position_embeddings: 2048, model_type: "gla", num_heads: 4,
      num_hidden_layers: 24, rms_norm_eps: 1e-5, share_conv_kernel: true, tie_word_embeddings: false, torch_dtype: "bfloat16",
      transformers_version: "4.40.2", use_cache: true, use_gk: true, use_gv: false, use_short_conv: false, vocab_size: 32_000,
    };
    expect(parseGlaConfig(older)).toEqual({ ...parseGlaConfig(GLA_PRESETS["gla-1.3b"]), normEps: 1e-5 });
    expect(parseGlaConfig({ ...older, norm_eps: 1e-5 }).normEps).toBe(1e-5);
  });

  it.each([
    [{ ...CONFIG, num_heads: 5 }, /expand_k 0\.5 of hidden_size 24 makes a width of 12, which num_heads 5 must divide/],
    [{ ...CONFIG, num_heads: 24 }, /expand_k .* num_heads 24 must divide/],
    [{ ...CONFIG, num_kv_heads: 1 }, /num_kv_heads 1 must be num_heads 3 or null/],
    [{ ...CONFIG, norm_eps: 1e-5, rms_norm_eps: 1e-6 }, /two names of one number/],
    [{ ...CONFIG, attn: { layers: [1], num_heads: 2 } },
      /attn: expected null \(a stack with layers of attention .* "hybrid"\), got an object/],
    [{ ...CONFIG, attn_mode: "parallel" }, /attn_mode: expected "chunk" or "fused_chunk" or "fused_recurrent", got "parallel"/],
    [{ ...CONFIG, use_output_gate: false }, /use_output_gate: expected true/],
    [{ ...CONFIG, feature_map: "relu" }, /feature_map: expected null/],
    [{ ...CONFIG, use_short_conv: true, share_conv_kernel: true }, /share_conv_kernel/],
    [{ ...CONFIG, expand_q: 1 }, /there is no field expand_q \(did you mean "expand_k"\?\)/],
    [{ hidden_size: 24 }, /model_type is missing/],
  ])("%j is refused", (json, message) =>
    expect(() => gla(json)).toThrow(expect.objectContaining({ code: "E_CONFIG", message: expect.stringMatching(message) })));
});

describe("a fresh GLA", () => {
  it("begins as flash-linear-attention's: normal matrices, biases of 0, norms of 1", async () => {
    const device = await open("reference");
    const parameters = scope(() => gla({ ...CONFIG, hidden_size: 96, use_short_conv: true, initializer_range: 0.03 }).init(key(1), device));
    const all: number[] = [];
    for (const { path, tensor } of leaves({ ...parameters })) {
      const values = [...await tensor.read()];
      if (/norm|g_norm/.test(path)) expect([path, ...new Set(values)]).toEqual([path, 1]);
      else if (path.endsWith("bias")) expect([path, ...new Set(values)]).toEqual([path, 0]);
      else {
        const std = Math.sqrt(values.reduce((sum, x) => sum + x * x, 0) / values.length);
        expect([path, Math.abs(std / 0.03 - 1)]).toEqual([path, expect.toSatisfy((off: number) => off < 4 / Math.sqrt(2 * values.length))]);
        all.push(...values);
      }
    }
    expect(Math.abs(all.reduce((a, b) => a + b, 0) / all.length)).toBeLessThan((4 * 0.03) / Math.sqrt(all.length));
    device.close();
  });

  it("decays matrices and convolutions, and nothing else", () => {
    const model = gla({ ...CONFIG, num_hidden_layers: 1, use_short_conv: true });
    expect(Object.keys(model.parameterShapes()).filter((name) => !model.decays(name)).map((name) => name.replace("model.layers.0.", "")))
      .toEqual(["attn_norm.weight", "attn.gk_proj.1.bias", "attn.g_norm_swish_gate.weight", "mlp_norm.weight", "model.norm.weight"]);
  });
});
