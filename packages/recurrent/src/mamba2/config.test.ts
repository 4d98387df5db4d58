import { describe, expect, it } from "vitest";
import { mamba2Json, parseMamba2Config } from "./config";
import { mamba2, mamba2ParameterCount } from "./model";
import { MAMBA2_PRESETS } from "./presets";

describe("configurations", () => {
  it.each([
    ["130m", 128_989_632],
    ["370m", 368_346_624],
    ["780m", 780_161_280],
    ["1.3b", 1_343_757_312],
  ] as const)("%s has %i parameters, as published", (preset, expected) => {
    expect(mamba2ParameterCount(parseMamba2Config(MAMBA2_PRESETS[preset]))).toBe(expected);
  });

  it("survives a round trip through config.json", () => {
    for (const preset of Object.values(MAMBA2_PRESETS)) {
      const config = parseMamba2Config(preset);
      expect(parseMamba2Config(JSON.parse(JSON.stringify(mamba2Json(config))))).toEqual(config);
    }
  });

  it("reads the transformers form as the same model", () => {
    const transformers = {
      model_type: "mamba2", hidden_size: 768, num_hidden_layers: 24, vocab_size: 50288, state_size: 128, head_dim: 64,
      num_heads: 24, expand: 2, n_groups: 1, conv_kernel: 4, chunk_size: 256, tie_word_embeddings: true,
      time_step_limit: [0, null],
    };
    expect(mamba2(transformers).parameterShapes()).toEqual(mamba2(MAMBA2_PRESETS["130m"]).parameterShapes());
  });

  it.each([
    ["as JSON has it", [0, null]],
    ["as a number", [0, Infinity]],
    ["as transformers 5 writes it", [0, { __float__: "Infinity" }]],
  ])("reads a limit that is none, %s", (_, dt_limit) => {
    const base = MAMBA2_PRESETS["130m"];
    expect(parseMamba2Config({ ...base, ssm_cfg: { ...base.ssm_cfg, dt_limit } })).toEqual(parseMamba2Config(base));
  });

  const TRANSFORMERS = { model_type: "mamba2", hidden_size: 16, num_hidden_layers: 1, vocab_size: 9, state_size: 8, head_dim: 8,
    n_groups: 1 };
  it.each([
    ["vocab_size", Infinity, /^config: vocab_size: expected .*, got Infinity/],
    ["layer_norm_epsilon", Infinity, /^config: layer_norm_epsilon: expected .*, got Infinity/],
    ["layer_norm_epsilon", Number.NaN, /^config: layer_norm_epsilon: expected a finite number above 0, got NaN/],
    ["layer_norm_epsilon", { __float__: "NaN" }, /^config: layer_norm_epsilon: expected a finite number above 0, got NaN/],
    ["time_step_limit", [-Infinity, 1], /^config: time_step_limit\.0: expected .*, got -Infinity/],
    ["time_step_limit", [Infinity, Infinity], /^config: time_step_limit\.0: expected .*, got Infinity/],
    ["time_step_limit", [0, -Infinity], /^config: time_step_limit\.1: expected .*, got -Infinity/],
    ["time_step_limit", [0, { __float__: "NaN" }], /^config: time_step_limit\.1: expected .*, got NaN/],
  ])("refuses a %s of %j, which makes no sense there", (field, value, message) => {
    expect(() => parseMamba2Config({ ...TRANSFORMERS, [field]: value })).toThrowError(
      expect.objectContaining({ code: "E_CONFIG", message: expect.stringMatching(message) }));
  });

  it.each([
    [{ ...MAMBA2_PRESETS["130m"], d_modle: 768 }, /^config: there is no field d_modle; correct or remove it$/],
    [{ n_layer: 2, vocab_size: 9, d_modle: 8, ssm_cfg: { layer: "Mamba2" } }, /no field d_modle \(did you mean "d_model"\?\)/],
    [{ ...MAMBA2_PRESETS["130m"], ssm_cfg: { layer: "Mamba2", head_dim: 32, n_groups: 2 } },
      /no fields ssm_cfg\.head_dim \(did you mean "headdim"\?\), ssm_cfg\.n_groups \(did you mean "ngroups"\?\)/],
    [{ ...TRANSFORMERS, tie_embeddings: true }, /no field tie_embeddings \(did you mean "tie_word_embeddings"\?\)/],
    [{ ...MAMBA2_PRESETS["130m"], ssm_cfg: { layer: "Mamba2", d_ssm: 768 } }, /d_ssm 768 must be expand·d_model = 1536/],
  ])("names the unknown field of %j", (json, message) => {
    expect(() => mamba2(json)).toThrowError(expect.objectContaining({ code: "E_CONFIG", message: expect.stringMatching(message) }));
  });

  it("reports an unknown field of a checkpoint, and goes on", () => {
    const reports: string[] = [];
    const options = { unknownFields: "report", warn: (message: string) => reports.push(message) } as const;
    expect(parseMamba2Config({ ...TRANSFORMERS, use_mambapy: false, transformers_version: "6.0.0" }, options))
      .toEqual(parseMamba2Config(TRANSFORMERS));
    expect(reports).toEqual(["config: ignored what lenggen does not know: use_mambapy"]);
  });

  it("does not mind such a number in a field that nothing depends on", () => {
    expect(parseMamba2Config({ ...TRANSFORMERS, initializer_range: Number.NaN })).toEqual(parseMamba2Config(TRANSFORMERS));
  });

  it.each([
    [null, /expected an object/],
    [[], /expected an object, got a list/],
    [{ n_layer: 2 }, /d_model is missing/],
    [{}, /d_model/],
    [{ ...MAMBA2_PRESETS["130m"], d_model: -3 }, /d_model/],
    [{ ...MAMBA2_PRESETS["130m"], n_layer: 1.5 }, /n_layer/],
    [{ ...MAMBA2_PRESETS["130m"], attn_layer_idx: [3] }, /attn_layer_idx/],
    [{ ...MAMBA2_PRESETS["130m"], ssm_cfg: { layer: "Mamba1" } }, /ssm_cfg\.layer.*Mamba2/],
    [{ ...MAMBA2_PRESETS["130m"], ssm_cfg: { layer: "Mamba2", headdim: 100 } }, /head size 100 must divide/],
    [{ ...MAMBA2_PRESETS["130m"], ssm_cfg: { layer: "Mamba2", ngroups: 7 } }, /groups 7 must divide/],
    [{ ...MAMBA2_PRESETS["130m"], ssm_cfg: { layer: "Mamba2", A_init_range: [2, 1] } }, /A_init_range: 2 must not be above 1/],
    [{ ...MAMBA2_PRESETS["130m"], ssm_cfg: { layer: "Mamba2", bias: true } }, /ssm_cfg\.bias/],
  ])("refuses %j", (json, message) => {
    expect(() => parseMamba2Config(json))
      .toThrowError(expect.objectContaining({ code: "E_CONFIG", message: expect.stringMatching(message) }));
  });
});
