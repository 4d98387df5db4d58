/** Mamba-3 against golden values of mamba_ssm (data/goldens, mamba3-tiny), and against the laws of every sequence model. */
import { type Device, key, leaves, open, scope, tokenTensor } from "@lenggen/kernels";
import { checkSequenceModel, SEQUENCE_MODEL_LAWS } from "@lenggen/kernels/laws";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { RECURRENT_FAMILIES } from "../families";
import { describeGolden, deviceCases } from "../golden.fixture";
import { mamba2 } from "../mamba2/model";
import { lossesOfTraining, stirred } from "../training.fixture";
import { mamba3Json, parseMamba3Config } from "./config";
import { loadMamba3, mamba3, mamba3ParameterCount } from "./model";
import { MAMBA3_PRESETS } from "./presets";

describeGolden("mamba3-tiny", {
  // The expected logits and loss are those of all rows, of which 74 are tokens.
  load: (config, weights, device, dtype) => loadMamba3({ ...config, vocab_size: 80 }, weights, device, dtype),
  states: { angle: { name: "angle" }, ssm: { name: "ssm" }, k: { name: "k" }, v: { name: "v" } },
});

const SSM = { layer: "Mamba3", d_state: 12, headdim: 8, ngroups: 2, chunk_size: 8 } as const;
const CONFIG = { d_model: 16, n_layer: 2, vocab_size: 30, d_intermediate: 20, ssm_cfg: SSM };
const MIMO = { ...CONFIG, ssm_cfg: { ...SSM, is_mimo: true, mimo_rank: 3, rope_fraction: 1, chunk_size: 4 } } as const;

describe.each(deviceCases)("Mamba-3 on $name", ({ name, dtype, tolerance }) => {
  let device: Device;
  beforeAll(async () => {
    device = await open(name, { fallback: true });
  });
  afterAll(() => device.close());

  describe.each([
    ["one input a head", CONFIG],
    ["three inputs a head", MIMO],
    ["normed outputs of three inputs and no feed-forward part",
      { ...MIMO, d_intermediate: 0, ssm_cfg: { ...MIMO.ssm_cfg, is_outproj_norm: true } }],
  ])("with %s", (_, config) => {
    // Around the borders of the scan's chunks; fewer where every launch is slow without a GPU.
    const CUTS = name === "webgpu" ? [[1, 2, 9, 5], Array<number>(6).fill(1)] : [[1, 2, 7, 8, 9], [16, 1, 10], Array<number>(20).fill(1)];
    it.each(SEQUENCE_MODEL_LAWS)("keeps the law of %s", (law) =>
      checkSequenceModel(stirred(mamba3(config), 0.1), { device, dtype, cuts: CUTS, tolerance, laws: [law] }),
    // Without a GPU, compiling all kernels takes most of a minute.
    180_000);
  });

  // Elsewhere the laws hold gradients, and forty steps take minutes without a GPU.
  it.runIf(name === "cpu").each([["one input a head", CONFIG], ["three", MIMO]])("learns a text that repeats itself, with %s",
    async (_, config) => {
      const losses = await lossesOfTraining(mamba3({ ...config, vocab_size: 13 }), device, 40);
      expect(losses[0]).toBeCloseTo(Math.log(13), 0);
      expect(losses.at(-1)).toBeLessThan(0.5 * losses[0]!);
    });
});

describe("starting values of Mamba-3", () => {
  it("are the authors'", async () => {
    const device = await open("reference");
    const model = mamba3({ d_model: 64, n_layer: 4, vocab_size: 256, d_intermediate: 200,
      ssm_cfg: { layer: "Mamba3", d_state: 32, headdim: 2, is_mimo: true, mimo_rank: 2, is_outproj_norm: true } });
    const parameters = scope(() => model.init(key(1), device, "f64"));
    const read = async (parameter: string) => Array.from(await parameters[parameter]!.read());
    const uniform = async (parameter: string, bound: number) => {
      const values = await read(parameter);
      expect(Math.max(...values.map(Math.abs))).toBeLessThanOrEqual(bound);
      const variance = values.reduce((total, x) => total + x * x, 0) / values.length;
      expect([parameter, variance / (bound ** 2 / 3)]).toEqual([parameter, expect.closeTo(1, 1)]);
    };
    const all = async (parameter: string, value: number) =>
      expect([parameter, ...new Set(await read(parameter))]).toEqual([parameter, value]);
    const embedding = await read("backbone.embedding.weight");
    expect(Math.sqrt(embedding.reduce((total, x) => total + x * x, 0) / embedding.length) / 0.02).toBeCloseTo(1, 1);
    const layer = (name: string) => `backbone.layers.2.${name}`;
    await uniform(layer("mixer.in_proj.weight"), 1 / 8);
    await uniform(layer("mixer.out_proj.weight"), 1 / Math.sqrt(128) / 2);
    await uniform(layer("mlp.fc1.weight"), 1 / 8);
    await uniform(layer("mlp.fc2.weight"), 1 / 16 / 2);
    for (const ones of ["D", "B_bias", "C_bias", "B_norm.weight", "C_norm.weight", "norm.weight", "mimo_z"]) {
      await all(layer(`mixer.${ones}`), 1);
    }
    for (const shares of ["mimo_x", "mimo_o"]) await all(layer(`mixer.${shares}`), 0.5);
    for (const norm of ["norm.weight", "norm2.weight"]) await all(layer(norm), 1);
    const steps = (await read(layer("mixer.dt_bias"))).map((x) => Math.log(Math.log1p(Math.exp(x)))).toSorted((a, b) => a - b);
    expect(steps).toHaveLength(64);
    expect(steps[0]!).toBeGreaterThanOrEqual(Math.log(0.001) - 1e-9);
    expect(steps.at(-1)!).toBeLessThanOrEqual(Math.log(0.1) + 1e-9);
    // Evenly spread over the logarithm: the largest distance to the straight line (Kolmogorov-Smirnov, 1 % at 0.2).
    const off = steps.map((x, i) => Math.abs((x - Math.log(0.001)) / Math.log(100) - (i + 0.5) / 64));
    expect(Math.max(...off)).toBeLessThan(0.2);
    for (const { tensor } of leaves({ ...parameters })) tensor.dispose();
    device.close();
  });

  it("decay in matrices alone", () => {
    for (const [name, shape] of Object.entries(mamba3(MIMO).parameterShapes())) {
      expect([name, mamba3(MIMO).decays(name)]).toEqual([name, shape.length === 2 && name !== "mixer.D"]);
    }
    expect(mamba3(CONFIG).tokenTables).toEqual(["backbone.embedding.weight"]);
    expect(mamba3(MIMO).stateLeaves.slice(0, 4)).toEqual([
      { path: "layers.0.angle", kind: "angle", layer: 0, headAxis: 1 },
      { path: "layers.0.ssm", kind: "recurrent", layer: 0, headAxis: 1 },
      { path: "layers.0.k", kind: "window", layer: 0, headAxis: 2 },
      { path: "layers.0.v", kind: "window", layer: 0, headAxis: 1 },
    ]);
  });
});

describe("configurations of Mamba-3", () => {
  it.each([
    ["mamba3-siso-187m", 186_849_600],
    ["mamba3-siso-443m", 443_015_680],
    ["mamba3-siso-893m", 892_782_336],
    ["mamba3-siso-1.5b", 1_494_723_584],
    ["mamba3-mimo-187m", 187_291_968],
    ["mamba3-mimo-444m", 444_195_328],
    ["mamba3-mimo-894m", 894_551_808],
    ["mamba3-mimo-1.5b", 1_497_082_880],
    ["mamba3-tiny-byte", 459_920],
  ] as const)("%s has %i parameters", (preset, expected) => {
    expect(mamba3ParameterCount(parseMamba3Config(MAMBA3_PRESETS[preset]))).toBe(expected);
  });

  it("come back as they were given, and as mamba_ssm reads them", () => {
    for (const preset of Object.values(MAMBA3_PRESETS)) {
      const config = parseMamba3Config(preset);
      expect(parseMamba3Config(JSON.parse(JSON.stringify(mamba3Json(config))))).toEqual(config);
      const { checkpoint } = mamba3(preset);
      const written = JSON.parse(checkpoint.config) as object;
      expect(parseMamba3Config(written)).toEqual(config);
      expect(Object.keys(written).toSorted()).toEqual(["attn_cfg", "attn_layer_idx", "d_intermediate", "d_model", "fused_add_norm",
        "n_layer", "pad_vocab_size_multiple", "residual_in_fp32", "rms_norm", "ssm_cfg", "tie_embeddings", "vocab_size"]);
      expect(checkpoint.written["lm_head.weight"]).toBe("backbone.embedding.weight");
      expect(RECURRENT_FAMILIES.mamba3.untyped(written)).toBe(true);
      expect(RECURRENT_FAMILIES.mamba2.untyped(written)).toBe(false);
    }
    expect(mamba3({ ...CONFIG, model_type: "mamba3" }).settings).toEqual(mamba3(CONFIG).settings);
  });

  it.each([
    [{ ...CONFIG, ssm_cfg: { ...SSM, d_conv: 4 } }, /no field ssm_cfg.d_conv/],
    [{ ...CONFIG, ssm_cfg: { ...SSM, layer: "Mamba2" } }, /ssm_cfg.layer: expected "Mamba3", got "Mamba2"/],
    [{ ...CONFIG, ssm_cfg: { ...SSM, headdim: 5 } }, /headdim 5 must divide the inner width 32/],
    [{ ...CONFIG, ssm_cfg: { ...SSM, ngroups: 3 } }, /ngroups 3 must divide the 4 heads/],
    [{ ...CONFIG, ssm_cfg: { ...SSM, d_state: 7 } }, /d_state 7 must be even/],
    [{ ...CONFIG, ssm_cfg: { ...SSM, d_state: 2 } }, /d_state 2 is too small/],
    [{ ...CONFIG, ssm_cfg: { ...SSM, rope_fraction: 0.25 } }, /rope_fraction: expected 0.5 or 1, got 0.25/],
    [{ ...CONFIG, ssm_cfg: { ...SSM, dt_min: 1 } }, /dt_min, dt_max: 1 must not be above 0.1/],
    [{ ...CONFIG, attn_layer_idx: [1] }, /attn_layer_idx: expected an empty list/],
    [{ ...CONFIG, vocab_size: undefined }, /vocab_size is missing/],
    [{ ...CONFIG, model_type: "mamba" }, /model_type: expected "mamba3", got "mamba"/],
    [[], /expected an object, got a list/],
  ])("%j is refused", (json, message) =>
    expect(() => mamba3(json)).toThrow(expect.objectContaining({ code: "E_CONFIG", message: expect.stringMatching(message) })));

  it("a state of another family is refused", async () => {
    const device = await open("reference");
    const other = mamba2({ d_model: 16, n_layer: 2, vocab_size: 30, ssm_cfg: { layer: "Mamba2", d_state: 12, headdim: 8 } });
    const model = mamba3(CONFIG);
    scope(() => {
      const [parameters, tokens] = [model.init(key(1), device), tokenTensor(device, [1, 2, 3], [1, 3], 30)];
      expect(() => model.forward(parameters, tokens, other.initialState(1, device) as never))
        .toThrow(expect.objectContaining({ code: "E_ARGUMENT", message: expect.stringMatching(/layers\.0\.angle is missing/) }));
      expect(() => model.forward(parameters, tokens, mamba3(MIMO).initialState(1, device)))
        .toThrow(expect.objectContaining({ code: "E_SHAPE" }));
    });
    device.close();
  });
});
