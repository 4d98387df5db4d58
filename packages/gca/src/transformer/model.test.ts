import { type Device, key, leaves, open, scope, slice, tokenTensor } from "@lenggen/kernels";
import { checkSequenceModel, SEQUENCE_MODEL_LAWS } from "@lenggen/kernels/laws";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { deviation, deviceCases } from "../devices.fixture";
import { transformer } from "./model";

const CONFIG = {
  model_type: "transformer", vocab_size: 30, hidden_size: 16, intermediate_size: 24, num_attention_heads: 2, num_hidden_layers: 2,
};

describe.each(deviceCases)("baselines on $name", ({ name, dtype, tolerance }) => {
  let device: Device;
  beforeAll(async () => {
    device = await open(name, { fallback: true });
  });
  afterAll(() => device.close());

  describe.each([
    ["a window with linear biases", { window: 5, position: "alibi" }],
    ["a window with rotation", { window: 5, position: "rope" }],
    ["full attention with rotation", { window: null, position: "rope" }],
  ])("with %s", (_, settings) => {
    const model = transformer({ ...CONFIG, ...settings });
    it.each(SEQUENCE_MODEL_LAWS)("keep the law of %s", (law) =>
      checkSequenceModel(model,
        { device, dtype, tolerance, key: key(2), cuts: [[1, 2, 5, 10, 1], Array<number>(9).fill(1)], laws: [law] }));

    it("hold as many keys and values as can still be seen", () => scope(() => {
      const { state } = model.forward(model.init(key(2), device, dtype), tokenTensor(device, Array<number>(38).fill(1), [2, 19], 30));
      for (const { tensor } of leaves(state)) expect(tensor.shape[1]).toBe(settings.window === null ? 19 : settings.window - 1);
    }));
  });
});

describe.each(deviceCases)("prefill of baselines on $name", ({ name, dtype, tolerance }) => {
  it("leaves out what no window reaches, and not a token more", async () => {
    const device = await open(name, { fallback: true });
    const model = transformer({ ...CONFIG, window: 5, position: "alibi" });
    expect(transformer({ ...CONFIG, window: null }).prefill).toBeUndefined();
    const { recent, read } = model.prefill!;
    expect(recent).toBe(8);
    const parameters = model.init(key(2), device, dtype);
    const tokens = tokenTensor(device, Array.from({ length: 40 }, (_, i) => (i * 7919 + (i >> 3)) % 30), [2, 20], 30);
    const full = model.forward(parameters, tokens).hidden;
    const behind = model.forward(parameters, slice(tokens, 1, 6, 20), await read(parameters, slice(tokens, 1, 0, 6))).hidden;
    expect(await deviation(slice(behind, 1, recent), slice(full, 1, 6 + recent))).toBeLessThan(tolerance);
    expect(await deviation(slice(behind, 1, recent - 1, recent), slice(full, 1, 5 + recent, 6 + recent))).toBeGreaterThan(10 * tolerance);
    await expect(read(parameters, slice(tokens, 1, 0, 0))).rejects.toMatchObject({ code: "E_SHAPE" });
    device.close();
  });
});

describe("configurations of baselines", () => {
  it.each([
    [{ ...CONFIG, num_attention_heads: 3 }, /num_attention_heads 3 must divide hidden_size 16/],
    [{ ...CONFIG, num_key_value_heads: 4 }, /num_key_value_heads 4 must divide/],
    [{ ...CONFIG, num_attention_heads: 16 }, /must be even/],
    [{ ...CONFIG, window: 1 }, /window 1/],
    [{ ...CONFIG, window: "all" }, /window/],
    [{ ...CONFIG, num_hidden_layers: 0 }, /num_hidden_layers/],
    [{ ...CONFIG, vocab_size: undefined }, /vocab_size is missing/],
    [[], /expected an object, got a list/],
  ])("%j is refused", (json, message) =>
    expect(() => transformer(json)).toThrow(expect.objectContaining({ code: "E_CONFIG", message: expect.stringMatching(message) })));

  it("come back as they were given", () => {
    const model = transformer({ ...CONFIG, window: 7 });
    expect(transformer(JSON.parse(JSON.stringify(model.config))).settings).toEqual(model.settings);
  });
});
