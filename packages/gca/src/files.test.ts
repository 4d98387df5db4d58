/** Checkpoints loaded with matrices of f16: nearly the same numbers, with the memory on the device and in a store. */
import {
  advance, type Device, dispose, type ForwardResult, key, mean, memorySource, open, openSafetensors, type Parameters, saveModel,
  type SequenceModel, tensor, tokenTensor, valueAndGradient,
} from "@lenggen/kernels";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { deviation, deviceCases } from "./devices.fixture";
import { drt } from "./drt/model";
import type { DrtState } from "./drt/state";
import { loadDrt, loadTransformer } from "./files";
import { hostStore } from "./memory/hostStore";
import { transformer } from "./transformer/model";

const SIZES = { vocab_size: 30, hidden_size: 16, intermediate_size: 24, num_attention_heads: 2 };
const DRT = { ...SIZES, model_type: "drt", lower_layers: 1, upper_groups: [1, 1], encoder_layers: 1, chunk_size: 4, window: 5, top_k: 2 };
const TRANSFORMER = { ...SIZES, model_type: "transformer", num_hidden_layers: 2, window: 5 };

describe.each(deviceCases)("matrices of f16 on $name", ({ name, tolerance }) => {
  let device: Device;
  beforeAll(async () => {
    device = await open(name, { fallback: true });
  });
  afterAll(() => device.close());

  async function saved(model: SequenceModel, parameters: Parameters) {
    const bytes: number[] = [];
    for await (const piece of saveModel(model, parameters).weights) bytes.push(...piece);
    return openSafetensors(memorySource(Uint8Array.from(bytes), "model.safetensors"));
  }
  const tokensOf = () => tokenTensor(device, Array.from({ length: 46 }, (_, i) => (i * 7919 + (i >> 3)) % 30), [2, 23], 30);

  it("give a baseline nearly the same numbers", async () => {
    const model = transformer(TRANSFORMER);
    const parameters = model.init(key(2), device);
    const half = await loadTransformer(TRANSFORMER, await saved(model, parameters), device, "f16");
    expect([...new Set(Object.entries(half.parameters).map(([path, { dtype }]) =>
      `${path.endsWith("norm.weight") ? "norm" : "matrix"} ${dtype}`))].sort()).toEqual(["matrix f16", "norm f32"]);
    const tokens = tokensOf();
    const off = await deviation(half.model.forward(half.parameters, tokens).hidden, model.forward(parameters, tokens).hidden);
    expect(off).toBeLessThan(1e-2);
    expect(off).toBeGreaterThan(1e-6);
  });

  it("are refused numbers that are too large for f16", async () => {
    const model = transformer(TRANSFORMER);
    const parameters = { ...model.init(key(2), device), "layers.0.mlp.out.weight": tensor(device,
      Array.from({ length: 16 * 24 }, (_, i) => (i === 7 ? 7e4 : 0)), [16, 24]) };
    await expect(loadTransformer(TRANSFORMER, await saved(model, parameters), device, "f16")).rejects.toMatchObject({
      code: "E_WEIGHTS", message: "weights: layers.0.mlp.out.weight holds 1 number that is NaN or infinite as f16, whose largest number "
        + "is 65,504",
    });
  });

  it("give a DRT nearly the same numbers, and the same in passes with a store as at once", async () => {
    const model = drt(DRT);
    const parameters = model.init(key(2), device);
    const half = await loadDrt(DRT, await saved(model, parameters), device, "f16");
    const tokens = tokensOf();
    const whole = half.model.forward(half.parameters, tokens);
    expect(await deviation(whole.hidden, model.forward(parameters, tokens).hidden)).toBeLessThan(3e-2);
    const store = hostStore();
    const reader = half.model.withMemory(store);
    let state: DrtState | undefined;
    for (const [from, to] of [[0, 9], [9, 10], [10, 23]] as const) {
      const ids = await tokens.read();
      const piece = tokenTensor(device, [...ids.slice(from, to), ...ids.slice(23 + from, 23 + to)], [2, to - from], 30);
      const part: ForwardResult<DrtState> = await advance(reader, half.parameters, piece, state);
      if (to === 23) {
        using last = whole.hidden.window([1, 1, 16], 22 * 16);
        using own = part.hidden.window([1, 1, 16], 12 * 16);
        expect(await deviation(own, last)).toBeLessThan(Math.max(tolerance, 1e-5));
      }
      ({ state } = part);
    }
    expect(() => valueAndGradient((p: Parameters) => ({ loss: mean(half.model.forward(p, tokens).hidden) }), half.parameters))
      .toThrow(/load the model as f32 to train it/);
    await store.close();
    dispose([half.parameters, parameters]);
  });
});
