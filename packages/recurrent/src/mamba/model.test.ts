/** Mamba-1 against golden values of another implementation (data/goldens, mamba1-tiny), and against the laws of every sequence model. */
import { type Device, encodeSafetensors, key, leaves, memorySource, open, openSafetensors, type Parameters, parseConfig, scope, slice,
  tokenTensor } from "@lenggen/kernels";
import { checkSequenceModel, SEQUENCE_MODEL_LAWS } from "@lenggen/kernels/laws";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { RECURRENT_FAMILIES } from "../families";
import { describeGolden, deviceCases } from "../golden.fixture";
import type { MambaLayouts } from "../mambaFiles";
import { lossesOfTraining } from "../training.fixture";
import { mambaJson, parseMambaConfig } from "./config";
import { loadMamba, saveMamba } from "./files";
import { mamba, mambaParameterCount } from "./model";
import { MAMBA_PRESETS } from "./presets";

// That implementation (mamba.py) rounds A and D to float32.
describeGolden("mamba1-tiny", { load: loadMamba, rounded: 1e-7 });

const CONFIG = { d_model: 24, n_layer: 2, vocab_size: 50, ssm_cfg: { d_state: 12 } };

describe.each(deviceCases)("Mamba-1 on $name", ({ name, dtype, tolerance }) => {
  let device: Device;
  beforeAll(async () => {
    device = await open(name, { fallback: true });
  });
  afterAll(() => device.close());

  // Around the borders of the scan's chunks of 32.
  const CUTS = [[1, 2, 3, 31, 32, 33], [64, 1, 37], Array<number>(40).fill(1)];
  it.each(SEQUENCE_MODEL_LAWS)("keeps the law of %s", (law) =>
    checkSequenceModel(mamba(CONFIG), { device, dtype, cuts: CUTS, tolerance, laws: [law] }));

  // Elsewhere the laws hold gradients, and forty steps take minutes without a GPU.
  it.runIf(name === "cpu")("learns a text that repeats itself", async () => {
    const losses = await lossesOfTraining(mamba({ ...CONFIG, vocab_size: 13 }), device, 40);
    expect(losses[0]).toBeCloseTo(Math.log(13), 0);
    expect(losses.at(-1)).toBeLessThan(0.5 * losses[0]!);
  });
});

describe("starting values of Mamba-1", () => {
  it("are the authors'", async () => {
    const device = await open("reference");
    const model = mamba({ d_model: 64, n_layer: 4, vocab_size: 256, ssm_cfg: { dt_rank: 16 } });
    const parameters = scope(() => model.init(key(1), device, "f64"));
    const read = async (parameter: string) => Array.from(await parameters[parameter]!.read());
    const uniform = async (parameter: string, bound: number) => {
      const values = await read(parameter);
      expect(Math.max(...values.map(Math.abs))).toBeLessThanOrEqual(bound);
      const variance = values.reduce((total, x) => total + x * x, 0) / values.length;
      expect([parameter, variance / (bound ** 2 / 3)]).toEqual([parameter, expect.closeTo(1, 1)]);
    };
    const embedding = await read("backbone.embedding.weight");
    expect(Math.sqrt(embedding.reduce((total, x) => total + x * x, 0) / embedding.length) / 0.02).toBeCloseTo(1, 1);
    const layer = (parameter: string) => `backbone.layers.2.mixer.${parameter}`;
    await uniform(layer("in_proj.weight"), 1 / 8);
    await uniform(layer("x_proj.weight"), 1 / Math.sqrt(128));
    await uniform(layer("dt_proj.weight"), 1 / 4);
    await uniform(layer("conv1d.weight"), 1 / 2);
    await uniform(layer("out_proj.weight"), 1 / Math.sqrt(128) / 2);
    expect(Math.max(...(await read(layer("conv1d.bias"))).map(Math.abs))).toBeLessThanOrEqual(1 / 2);
    expect(new Set(await read(layer("D")))).toEqual(new Set([1]));
    const rates = (await read(layer("A_log"))).map(Math.exp);
    rates.forEach((rate, i) => expect(rate).toBeCloseTo(1 + (i % 16), 5));
    const steps = (await read(layer("dt_proj.bias"))).map((x) => Math.log(Math.log1p(Math.exp(x)))).toSorted((a, b) => a - b);
    expect(steps[0]!).toBeGreaterThanOrEqual(Math.log(0.001) - 1e-5);
    expect(steps.at(-1)!).toBeLessThanOrEqual(Math.log(0.1) + 1e-5);
    // Evenly spread over the logarithm: the largest distance to the straight line (Kolmogorov-Smirnov, 1 % at 0.15).
    const off = steps.map((x, i) => Math.abs((x - Math.log(0.001)) / Math.log(100) - (i + 0.5) / steps.length));
    expect(Math.max(...off)).toBeLessThan(0.15);
    const constant = scope(() => mamba({ ...CONFIG, ssm_cfg: { dt_init: "constant", dt_scale: 0.5, dt_rank: 4 } }).init(key(1), device));
    expect(new Set(await constant["backbone.layers.0.mixer.dt_proj.weight"]!.read())).toEqual(new Set([0.25]));
    device.close();
  });

  it("decay in matrices and convolutions alone", () => {
    const model = mamba(CONFIG);
    const decaying = Object.keys(model.parameterShapes()).filter((name) => model.decays(name) && !name.includes("layers.1"));
    expect(decaying.map((name) => name.replace("backbone.", "").replace("layers.0.mixer.", ""))).toEqual(
      ["embedding.weight", "in_proj.weight", "conv1d.weight", "x_proj.weight", "dt_proj.weight", "out_proj.weight"]);
    expect(model.stateLeaves.slice(0, 2)).toEqual([
      { path: "layers.0.ssm", kind: "recurrent", layer: 0, headAxis: 1 }, { path: "layers.0.conv", kind: "window", layer: 0 }]);
  });
});

/** As transformers 5 writes it for the published checkpoint of 130 million parameters, with what was left from its conversion. */
const TRANSFORMERS = {
  architectures: ["MambaForCausalLM"], bos_token_id: 0, conv_kernel: 4, d_inner: 1536, d_model: 768, eos_token_id: 0, expand: 2,
  fused_add_norm: true, hidden_act: "silu", hidden_size: 768, initializer_range: 0.1, intermediate_size: 1536, layer_norm_epsilon: 1e-5,
  model_type: "mamba", n_layer: 24, num_hidden_layers: 24, pad_token_id: 0, pad_vocab_size_multiple: 8, rescale_prenorm_residual: false,
  residual_in_fp32: true, rms_norm: true, ssm_cfg: {}, state_size: 16, time_step_floor: 1e-4, time_step_init_scheme: "random",
  time_step_max: 0.1, time_step_min: 0.001, time_step_rank: 48, time_step_scale: 1, torch_dtype: "float32", use_bias: false,
  use_cache: true, use_conv_bias: true, vocab_size: 50280,
};

describe("configurations of Mamba-1", () => {
  it.each([
    ["mamba-130m", 129_135_360, 589_824],
    ["mamba-370m", 371_516_416, 1_572_864],
    ["mamba-790m", 793_204_224, 2_359_296],
    ["mamba-1.4b", 1_372_178_432, 3_145_728],
    ["mamba-2.8b", 2_768_345_600, 5_242_880],
    ["mamba-tiny-byte", 499_328, 16_384],
  ] as const)("%s has %i parameters, and %i numbers in its sums over the past", (preset, parameters, sums) => {
    const c = parseMambaConfig(MAMBA_PRESETS[preset]);
    expect([mambaParameterCount(c), c.layers * c.innerWidth * c.stateSize]).toEqual([parameters, sums]);
  });

  it("come back as they were given, and are told from those of other layers", () => {
    for (const preset of Object.values(MAMBA_PRESETS)) {
      const config = parseMambaConfig(preset);
      const json = JSON.parse(JSON.stringify(mambaJson(config))) as object;
      expect(parseMambaConfig(json)).toEqual(config);
      for (const form of [preset, json]) {
        expect([RECURRENT_FAMILIES.mamba.untyped(form), RECURRENT_FAMILIES.mamba2.untyped(form)]).toEqual([true, false]);
      }
    }
    const message = /no layer "Mamba" \(did you mean "Mamba\d"\?\); it is one of Mamba1, Mamba2, Mamba3/;
    expect(() => RECURRENT_FAMILIES.mamba.untyped({ ...CONFIG, ssm_cfg: { layer: "Mamba" } }))
      .toThrow(expect.objectContaining({ code: "E_CONFIG", message: expect.stringMatching(message) }));
  });

  it("in the form of transformers make the same model", () => {
    expect(mamba(TRANSFORMERS).parameterShapes()).toEqual(mamba(MAMBA_PRESETS["mamba-130m"]).parameterShapes());
    expect(mamba(TRANSFORMERS).layout).toBe("transformers");
  });

  it.each([
    [{ n_layer: 2, vocab_size: 50, d_modle: 8 }, /no field d_modle \(did you mean "d_model"\?\)/],
    [{ ...CONFIG, ssm_cfg: { layer: "Mamba2" } }, /ssm_cfg.layer: expected "Mamba1", got "Mamba2"/],
    [{ ...CONFIG, ssm_cfg: { dt_rank: "all" } }, /dt_rank: expected a whole number from 1 to 1048576, or "auto", got "all"/],
    [{ ...CONFIG, ssm_cfg: { expand: 1.7 } }, /expand 1.7 times the model's width 24 must be a whole number, and is 40.8/],
    [{ ...CONFIG, ssm_cfg: { dt_min: 1 } }, /dt_min, dt_max: 1 must not be above 0.1/],
    [{ ...TRANSFORMERS, intermediate_size: 9 }, /intermediate_size 9 must be expand·hidden_size = 1536/],
    [{ ...TRANSFORMERS, use_bias: true }, /use_bias: expected false, got true/],
    [null, /expected an object/],
  ])("%j is refused", (json, message) =>
    expect(() => mamba(json)).toThrow(expect.objectContaining({ code: "E_CONFIG", message: expect.stringMatching(message) })));
});

describe("checkpoints of Mamba-1", () => {
  let device: Device;
  beforeAll(async () => {
    device = await open("reference");
  });
  afterAll(() => device.close());

  async function reopen(file: AsyncIterable<Uint8Array>) {
    const parts: Uint8Array<ArrayBuffer>[] = [];
    for await (const part of file) parts.push(part.slice());
    return openSafetensors(memorySource(new Uint8Array(await new Blob(parts).arrayBuffer()), "model.safetensors"));
  }

  it.each([
    [{ layout: "mamba_ssm" }, ["backbone.embedding.weight", "lm_head.weight"], []],
    [{ layout: "transformers" }, ["backbone.embeddings.weight"], ["backbone.embedding.weight", "lm_head.weight"]],
  ] as [MambaLayouts, string[], string[]][])("are for %j, and come back", async (options, names, absent) => {
    const model = mamba(CONFIG);
    const parameters = model.init(key(1), device);
    const { config, weights } = saveMamba(model, parameters, options);
    const file = await reopen(weights);
    expect(Object.keys(file.tensors)).toEqual(expect.arrayContaining(names));
    for (const name of absent) expect(Object.keys(file.tensors)).not.toContain(name);
    const loaded = await loadMamba(parseConfig(config), file, device);
    expect([loaded.model.layout, loaded.model.settings]).toEqual([options.layout, model.settings]);
    for (const { path, tensor } of leaves({ ...parameters })) expect(await loaded.parameters[path]!.read()).toEqual(await tensor.read());
  });

  it("have the fields that mamba_ssm and transformers know, floats with a point", () => {
    const fields = (layout: "mamba_ssm" | "transformers") => parseConfig(mamba(CONFIG, { layout }).checkpoint.config) as object;
    expect(Object.keys(fields("mamba_ssm")).toSorted()).toEqual(["attn_cfg", "attn_layer_idx", "d_intermediate", "d_model",
      "fused_add_norm", "n_layer", "pad_vocab_size_multiple", "residual_in_fp32", "rms_norm", "ssm_cfg", "tie_embeddings", "vocab_size"]);
    expect(fields("transformers")).toMatchObject({ model_type: "mamba", vocab_size: 56, unpadded_vocab_size: 50, time_step_rank: 2 });
    expect(mamba(CONFIG, { layout: "transformers" }).checkpoint.config).toContain('"time_step_scale": 1.0,');
    expect(() => mamba({ ...CONFIG, norm_epsilon: 1e-6 }, { layout: "mamba_ssm" })).toThrow(
      expect.objectContaining({ code: "E_CONFIG", message: expect.stringMatching(/an epsilon .*; it can for transformers and fla$/) }));
  });

  it("that fit another configuration, and states of one, are refused", async () => {
    const model = mamba(CONFIG);
    const parameters: Parameters = model.init(key(1), device);
    const file = await reopen(encodeSafetensors(parameters));
    await expect(loadMamba({ ...CONFIG, ssm_cfg: { d_state: 8 } }, file, device)).rejects.toMatchObject({ code: "E_WEIGHTS" });
    const tokens = tokenTensor(device, [1, 2, 3, 4], [1, 4], 50);
    const state = mamba({ ...CONFIG, ssm_cfg: { d_state: 8 } }).initialState(1, device);
    expect(() => model.forward(parameters, slice(tokens, 1, 0, 2), state)).toThrow(expect.objectContaining({ code: "E_SHAPE" }));
  });
});
