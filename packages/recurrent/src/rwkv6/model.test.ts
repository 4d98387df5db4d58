/** RWKV-6 against golden values of other programs (data/goldens, rwkv6-tiny), and against the laws of every sequence model. */
import { type Device, dispose, keep, key, leaves, open, scope, tensor, type Tensor, tokenTensor } from "@lenggen/kernels";
import { checkSequenceModel, SEQUENCE_MODEL_LAWS } from "@lenggen/kernels/laws";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { describeGolden, deviation, deviceCases } from "../golden.fixture";
import { mamba2 } from "../mamba2/model";
import { lossesOfTraining, stirred } from "../rwkv/rwkv.fixture";
import { parseRwkv6Config, rwkv6Json } from "./config";
import { loadRwkv6 } from "./files";
import { rwkv6, rwkv6ParameterCount } from "./model";
import { RWKV6_PRESETS } from "./presets";

describeGolden("rwkv6-tiny", {
  load: (config, weights, device, dtype) => loadRwkv6({ ...config, d_mix_lora: 8, d_decay_lora: 12 }, weights, device, dtype),
  states: { wkv: { name: "wkv" }, attShift: { name: "att_shift" }, ffnShift: { name: "ffn_shift" } },
});

const CONFIG = { model_type: "rwkv6", n_layer: 2, n_embd: 24, vocab_size: 30, head_size: 12, dim_ffn: 40, d_mix_lora: 3, d_decay_lora: 5 };

describe.each(deviceCases)("RWKV-6 on $name", ({ name, dtype, tolerance }) => {
  let device: Device;
  beforeAll(async () => {
    device = await open(name, { fallback: true });
  });
  afterAll(() => device.close());

  // Around the borders of the scan's chunks; fewer where every launch is slow.
  const CUTS = name === "webgpu" ? [[1, 2, 31, 33], Array<number>(6).fill(1)]
    : [[1, 2, 3, 15, 16, 33], [64, 1, 66], Array<number>(40).fill(1)];
  it.each(SEQUENCE_MODEL_LAWS)("keeps the law of %s", (law) =>
    checkSequenceModel(stirred(rwkv6(CONFIG)), { device, dtype, cuts: CUTS, tolerance, laws: [law] }));

  it.skipIf(dtype === "f64")("gives nearly the same with its matrices as f16, and those alone", async () => {
    const model = stirred(rwkv6(CONFIG), 0.1);
    const parameters = keep(scope(() => model.init(key(3), device)));
    const halves: Record<string, Tensor> = {};
    for (const [name, t] of Object.entries(parameters)) {
      expect([name, model.halves!(name)]).toEqual([name, model.decays(name)]);
      halves[name] = tensor(device, await t.read(), t.shape, model.halves!(name) ? "f16" : "f32");
    }
    const tokens = tokenTensor(device, Array.from({ length: 20 }, (_, i) => (i * 7) % 30), [1, 20], 30);
    const [full, half] = [parameters, halves].map((p) => scope(() => model.forward(p, tokens).hidden));
    expect(await deviation(half!, await full!.read())).toBeLessThan(1e-2);
    dispose([parameters, halves, tokens, full, half]);
  });

  it.skipIf(dtype === "f64")("learns a text that repeats itself", async () => {
    const losses = await lossesOfTraining(rwkv6({ ...CONFIG, vocab_size: 13 }), device, 40);
    expect(losses[0]).toBeCloseTo(Math.log(13), 0);
    expect(losses.at(-1)).toBeLessThan(0.5 * losses[0]!);
  });
});

describe("starting values of RWKV-6", () => {
  it("are the authors'", async () => {
    const device = await open("reference");
    const model = rwkv6({ ...CONFIG, n_layer: 3, n_embd: 64, head_size: 16, vocab_size: 256, d_mix_lora: 32, d_decay_lora: 32 });
    const parameters = scope(() => model.init(key(1), device, "f64"));
    const read = async (parameter: string) => Array.from(await parameters[parameter]!.read());
    const every = async (parameter: string, value: (n: number) => number) => {
      for (const [n, x] of (await read(parameter)).entries()) {
        expect([parameter, n, x]).toEqual([parameter, n, expect.closeTo(value(n), 12)]);
      }
    };
    const uniform = async (parameter: string, bound: number) => {
      const values = await read(parameter);
      expect(Math.max(...values.map(Math.abs))).toBeLessThanOrEqual(bound);
      const variance = values.reduce((total, x) => total + x * x, 0) / values.length;
      expect(variance / (bound ** 2 / 3)).toBeCloseTo(1, 1);
    };
    const orthogonal = async (parameter: string, gain: number, short: number) => {
      const values = await read(parameter);
      expect(values.reduce((total, x) => total + x * x, 0) / short).toBeCloseTo(gain ** 2, 10);
    };
    await uniform("emb.weight", 1e-4);
    await orthogonal("head.weight", 1, 64); // 0.5 √(256/64)
    for (const layer of [0, 1, 2]) {
      const [down, left] = [layer / 2, 1 - layer / 3];
      const att = (part: string) => `blocks.${layer}.att.${part}`;
      for (const part of ["x", "w", "k"]) await every(att(`time_maa_${part}`), (n) => 1 - (n / 64) ** left);
      await every(att("time_maa_v"), (n) => 1 - ((n / 64) ** left + 0.3 * down));
      for (const part of ["r", "g"]) await every(att(`time_maa_${part}`), (n) => 1 - (n / 64) ** (0.5 * left));
      await every(att("time_maa_w1"), () => 0);
      await uniform(att("time_maa_w2"), 0.01);
      await every(att("time_decay"), (n) => -6 + 5 * (n / 63) ** (0.7 + 1.3 * down));
      await every(att("time_decay_w1"), () => 0);
      await uniform(att("time_decay_w2"), 0.01);
      await every(att("time_faaaa"), (n) => down * (1 - n / 63) + 0.1 * (((n + 1) % 3) - 1));
      for (const part of ["receptance", "value"]) await orthogonal(att(`${part}.weight`), 1, 64);
      for (const part of ["key", "gate"]) await orthogonal(att(`${part}.weight`), 0.1, 64);
      await every(att("output.weight"), () => 0);
      await every(att("ln_x.weight"), () => ((layer + 1) / 3) ** 0.7);
      await every(att("ln_x.bias"), () => 0);
      for (const part of ["k", "r"]) await every(`blocks.${layer}.ffn.time_maa_${part}`, (n) => 1 - (n / 64) ** (left ** 3));
      await orthogonal(`blocks.${layer}.ffn.key.weight`, 1, 40);
      for (const part of ["receptance", "value"]) await every(`blocks.${layer}.ffn.${part}.weight`, () => 0);
      for (const norm of ["ln1", "ln2"]) await every(`blocks.${layer}.${norm}.weight`, () => 1);
    }
    await every("blocks.0.ln0.weight", () => 1);
    for (const { tensor } of leaves({ ...parameters })) tensor.dispose();
    device.close();
  });

  it("decay where the authors' do: in matrices called weight", () => {
    const model = rwkv6(CONFIG);
    for (const [name, shape] of Object.entries(model.parameterShapes())) {
      const is2d = shape.filter((size) => size > 1).length >= 2;
      expect([name, model.decays(name)]).toEqual([name, name.endsWith(".weight") && is2d]);
    }
    expect(model.tokenTables).toEqual(["emb.weight", "head.weight"]);
    expect(model.stateLeaves.slice(0, 3)).toEqual([
      { path: "layers.0.wkv", kind: "recurrent", layer: 0, headAxis: 1 },
      { path: "layers.0.attShift", kind: "window", layer: 0 },
      { path: "layers.0.ffnShift", kind: "window", layer: 0 },
    ]);
  });
});

describe("configurations of RWKV-6", () => {
  it.each([
    ["rwkv6-1.6b", 1_599_873_024],
    ["rwkv6-3b", 3_099_863_040],
    ["rwkv6-7b", 7_635_746_816],
    ["rwkv6-14b", 14_069_088_256],
    ["rwkv6-tiny-byte", 565_632],
  ] as const)("%s has %i parameters", (preset, expected) => {
    expect(rwkv6ParameterCount(parseRwkv6Config(RWKV6_PRESETS[preset]))).toBe(expected);
  });

  it("come back as they were given", () => {
    for (const preset of Object.values(RWKV6_PRESETS)) {
      const config = parseRwkv6Config(preset);
      expect(parseRwkv6Config(JSON.parse(JSON.stringify(rwkv6Json(config))))).toEqual(config);
    }
  });

  it.each([
    [{ ...CONFIG, n_embed: 24 }, /no field n_embed/],
    [{ n_layer: 2, n_embed: 24, vocab_size: 30 }, /no field n_embed \(did you mean "n_embd"\?\)/],
    [{ ...CONFIG, head_size: 10 }, /head_size 10 must divide n_embd 24/],
    [{ n_layer: 1, n_embd: 8, vocab_size: 9, head_size: 4 }, /dim_ffn must be given/],
    [{ ...CONFIG, model_type: "rwkv7" }, /model_type: expected "rwkv6", got "rwkv7"/],
    [{ ...CONFIG, format: "rwkv-x070" }, /format: expected "rwkv-x060"/],
    [{ ...CONFIG, d_mix_lora: 0 }, /d_mix_lora/],
    [{ ...CONFIG, vocab_size: undefined }, /vocab_size is missing/],
    [[], /expected an object, got a list/],
  ])("%j is refused", (json, message) =>
    expect(() => rwkv6(json)).toThrow(expect.objectContaining({ code: "E_CONFIG", message: expect.stringMatching(message) })));

  it("a state of another family is refused", async () => {
    const device = await open("reference");
    const other = mamba2({ d_model: 24, n_layer: 2, vocab_size: 30, ssm_cfg: { layer: "Mamba2", d_state: 8, headdim: 8 } });
    const model = rwkv6(CONFIG);
    scope(() => {
      const [parameters, tokens] = [model.init(key(1), device), tokenTensor(device, [1, 2, 3], [1, 3], 30)];
      expect(() => model.forward(parameters, tokens, other.initialState(1, device) as never))
        .toThrow(expect.objectContaining({ code: "E_ARGUMENT", message: expect.stringMatching(/layers\.0\.wkv is missing/) }));
      const smaller = rwkv6({ ...CONFIG, head_size: 6 }).initialState(1, device);
      expect(() => model.forward(parameters, tokens, smaller)).toThrow(expect.objectContaining({ code: "E_SHAPE" }));
    });
    device.close();
  });
});
