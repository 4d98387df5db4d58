/**
 * Gated DeltaNet against golden values, the laws of sequence models, and what the published files and code say of sizes and starting
 * values.
 */
import { key, open, scope } from "@lenggen/kernels";
import { checkSequenceModel, SEQUENCE_MODEL_LAWS } from "@lenggen/kernels/laws";
import { describe, expect, it } from "vitest";
import { describeGolden, describeOnEachDevice, lastInputs } from "../golden.fixture";
import { gatedDeltaNetJson, parseGatedDeltaNetConfig } from "./config";
import { gatedDeltaNet, gatedDeltaNetParameterCount, loadGatedDeltaNet } from "./model";
import { GATED_DELTANET_PRESETS } from "./presets";

const CONFIG = {
  model_type: "gated_deltanet", hidden_size: 24, num_hidden_layers: 2, num_heads: 2, head_dim: 6, expand_v: 1.5, intermediate_size: 32,
  vocab_size: 50, initializer_range: 0.2,
};

describeGolden("gdn-tiny", {
  load: loadGatedDeltaNet,
  states: {
    s: { name: "recurrent" },
    convQ: { name: "conv_q", as: lastInputs }, convK: { name: "conv_k", as: lastInputs }, convV: { name: "conv_v", as: lastInputs },
  },
});

describeOnEachDevice("Gated DeltaNet", (on) => {
  it.each(SEQUENCE_MODEL_LAWS)("keeps the law of %s", (law) =>
    checkSequenceModel(gatedDeltaNet(CONFIG), { ...on, laws: [law] }));

  it.each([
    ["several value heads to one head of keys, and negative eigenvalues", { num_v_heads: 4, allow_neg_eigval: true }],
    ["neither convolutions nor a gate, and a tied output matrix", { use_short_conv: false, use_gate: false, tie_word_embeddings: true }],
  ])("keeps the laws with %s", (_, settings) =>
    checkSequenceModel(gatedDeltaNet({ ...CONFIG, ...settings }),
      { ...on, laws: ["description", "chunks", "gradients", "generation"] }));
});

describe("configurations of Gated DeltaNet", () => {
  it.each([
    ["gated-deltanet-340m", 512_272_124],
    ["gated-deltanet-1.3b", 1_207_880_920],
    ["gated-deltanet-1b", 1_387_348_732],
  ] as const)("%s has %i parameters, as published", (preset, expected) => {
    expect(gatedDeltaNetParameterCount(parseGatedDeltaNetConfig(GATED_DELTANET_PRESETS[preset]))).toBe(expected);
  });

  it("survive a round trip through config.json", () => {
    const odd = { ...CONFIG, num_v_heads: 4, allow_neg_eigval: true, use_gate: false, use_short_conv: false };
    for (const preset of [...Object.values(GATED_DELTANET_PRESETS), odd]) {
      const config = parseGatedDeltaNetConfig(preset);
      expect(parseGatedDeltaNetConfig(JSON.parse(JSON.stringify(gatedDeltaNetJson(config))))).toEqual(config);
    }
  });

  it("left out are flash-linear-attention's defaults", () =>
    expect(parseGatedDeltaNetConfig({ model_type: "gated_deltanet" }))
      .toEqual(parseGatedDeltaNetConfig(GATED_DELTANET_PRESETS["gated-deltanet-1b"])));

  it.each([
    [{ ...CONFIG, num_v_heads: 3 }, /num_v_heads 3 must be a multiple of num_heads 2/],
    [{ ...CONFIG, expand_v: 1.3 }, /expand_v 1\.3 times head_dim 6 is 7\.8\d*; it must be a whole number/],
    [{ ...CONFIG, attn: { layers: [1], num_heads: 2 } },
      /attn: expected null \(a stack with layers of attention .* "hybrid"\), got an object/],
    [{ ...CONFIG, attn_mode: "fused_chunk" }, /attn_mode: expected "chunk" or "fused_recurrent", got "fused_chunk"/],
    [{ ...CONFIG, expand_k: 1 }, /there is no field expand_k/],
    [{ ...CONFIG, num_v_head: 4 }, /no field num_v_head \(did you mean "num_v_heads"\?\)/],
  ])("%j is refused", (json, message) =>
    expect(() => gatedDeltaNet(json)).toThrow(expect.objectContaining({ code: "E_CONFIG", message: expect.stringMatching(message) })));
});

describe("a fresh Gated DeltaNet", () => {
  it("forgets and steps as flash-linear-attention's", async () => {
    const device = await open("reference");
    const model = gatedDeltaNet({ ...CONFIG, num_hidden_layers: 1, num_v_heads: 4000, head_dim: 2 });
    const parameters = scope(() => model.init(key(1), device, "f64"));
    const read = async (name: string) => [...await parameters[`model.layers.0.attn.${name}`]!.read()];
    // Uniform numbers have known quantiles: a share of 1/4 below the first quarter of the range, and so on.
    const expectUniform = (values: readonly number[], low: number, high: number) => {
      for (const quarter of [0.25, 0.5, 0.75]) {
        const share = values.filter((x) => x < low + quarter * (high - low)).length / values.length;
        expect(Math.abs(share - quarter)).toBeLessThan(0.03); // four standard deviations
      }
      expect([Math.min(...values) >= low, Math.max(...values) <= high]).toEqual([true, true]);
    };
    expectUniform((await read("A_log")).map(Math.exp), 0, 16 + 1e-9);
    expectUniform((await read("dt_bias")).map((x) => Math.log(Math.log1p(Math.exp(x)))), Math.log(1e-3) - 1e-9, Math.log(0.1) + 1e-9);
    const convolution = await read("q_conv1d.weight");
    const std = Math.sqrt(convolution.reduce((sum, x) => sum + x * x, 0) / convolution.length);
    expect(Math.abs(std / 0.2 - 1)).toBeLessThan(4 / Math.sqrt(2 * convolution.length));
    device.close();
  });

  it("decays matrices and convolutions, and nothing else", () => {
    const model = gatedDeltaNet({ ...CONFIG, num_hidden_layers: 1 });
    expect(Object.keys(model.parameterShapes()).filter((name) => !model.decays(name)).map((name) => name.replace("model.layers.0.", "")))
      .toEqual(["attn_norm.weight", "attn.A_log", "attn.dt_bias", "attn.o_norm.weight", "mlp_norm.weight", "model.norm.weight"]);
  });
});
