/**
 * Mamba-2 against golden values computed in float64 by another implementation (fixtures mamba2-tiny), and against the laws of every
 * sequence model.
 */
/// <reference types="vite/types/importMeta.d.ts" />
import {
  crossEntropy, type Device, type DeviceKind, type DType, devices, key, leaves, linear, mean, memorySource, open, openSafetensors,
  type Parameters, scope, slice, tensor, type Tensor, tokenTensor, valueAndGradient,
} from "@lenggen/kernels";
import { checkSequenceModel, SEQUENCE_MODEL_LAWS } from "@lenggen/kernels/laws";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { loadMamba2 } from "./files";
import { mamba2 } from "./model";

// As data URLs, which Node and browsers can read.
const FIXTURES = import.meta.glob<string>("../../test/fixtures/mamba2-tiny/*", { query: "?url&inline", import: "default" });
const fixture = async (file: string) =>
  new Uint8Array(await (await fetch(await FIXTURES[`../../test/fixtures/mamba2-tiny/${file}`]!())).arrayBuffer());

const listings = await devices({ fallback: true });
for (const { name, available, reason } of listings) if (!available) console.warn(`tests on device ${name} do not run: ${reason}`);

/** Largest deviation relative to the expected tensor's largest magnitude. */
async function deviation(actual: Tensor, expected: ArrayLike<number>): Promise<number> {
  const values = await actual.read();
  expect(values.length).toBe(expected.length);
  let scale = 0;
  let worst = 0;
  for (let i = 0; i < expected.length; i++) {
    scale = Math.max(scale, Math.abs(expected[i]!));
    worst = Math.max(worst, Math.abs(values[i]! - expected[i]!));
  }
  return worst / (scale || 1);
}

const cases: { name: DeviceKind; dtype: DType; tolerance: number }[] = listings.filter(({ available }) => available).map(({ name }) =>
  (name === "reference" ? { name, dtype: "f64", tolerance: 1e-9 } : { name, dtype: "f32", tolerance: 2e-4 }));

describe.each(cases)("Mamba-2 on $name ($dtype)", ({ name, dtype, tolerance }) => {
  let device: Device;
  beforeAll(async () => {
    device = await open(name, { fallback: true });
  });
  afterAll(() => device.close());

  const opened = async (file: string) => openSafetensors(memorySource(await fixture(file), file));

  async function golden(as: DType = dtype, vocabulary = 256) {
    const weights = await opened("model.safetensors");
    const expected = await opened("expected.safetensors");
    const config = JSON.parse(new TextDecoder().decode(await fixture("config.json"))) as object;
    const { model, parameters } = await loadMamba2({ ...config, vocab_size: vocabulary }, weights, device, as);
    const reference = await open("reference");
    const read = async (tensorName: string) => (await expected.load(tensorName, reference, tensorName === "tokens" ? "i32" : "f64")).read();
    const tokens = await read("tokens"); // [2,193]
    const inputs = [...tokens.slice(0, 192), ...tokens.slice(193, 385)];
    const targets = [...tokens.slice(1, 193), ...tokens.slice(194, 386)];
    return {
      model, parameters, read,
      inputs: tokenTensor(device, inputs, [2, 192], 256),
      targets: tensor(device, targets, [2, 192], "i32"),
    };
  }

  it("gives the golden logits and states", async () => {
    const { model, parameters, read, inputs } = await golden();
    const { hidden, state } = model.forward(parameters, inputs);
    expect(await deviation(linear(hidden, model.head(parameters)), await read("logits"))).toBeLessThan(tolerance);
    for (const layer of [0, 1]) {
      expect(await deviation(state.layers[layer]!.ssm, await read(`state.${layer}.ssm`))).toBeLessThan(tolerance);
      const conv = await read(`state.${layer}.conv`); // [2,160,4]: channels first, one input more than needed
      const wanted = Array.from({ length: 2 * 3 * 160 }, (_, i) => {
        const [b, t, c] = [Math.floor(i / 480), Math.floor(i / 160) % 3, i % 160];
        return conv[(b * 160 + c) * 4 + t + 1]!;
      });
      expect(await deviation(state.layers[layer]!.conv, wanted)).toBeLessThan(tolerance);
    }
  });

  it("gives nearly the golden logits with its matrices as f16, and can't be trained then", async () => {
    const { model, parameters, read, inputs, targets } = await golden("f16");
    const types = Object.entries(parameters).map(([path, { dtype: type }]) => [path.split(".").slice(-2).join("."), type]);
    expect(new Map(types as [string, string][])).toEqual(new Map([
      ["embedding.weight", "f16"], ["norm.weight", "f32"], ["in_proj.weight", "f16"], ["conv1d.weight", "f32"], ["conv1d.bias", "f32"],
      ["mixer.dt_bias", "f32"],
      ["mixer.A_log", "f32"], ["mixer.D", "f32"], ["out_proj.weight", "f16"], ["norm_f.weight", "f32"],
    ]));
    const { hidden } = model.forward(parameters, inputs);
    const off = await deviation(linear(hidden, model.head(parameters)), await read("logits"));
    expect(off).toBeLessThan(3e-3);
    expect(off).toBeGreaterThan(1e-6);
    const losses = crossEntropy(hidden, model.head(parameters), targets);
    expect(Math.abs((await mean(losses).item()) - (await read("loss"))[0]!)).toBeLessThan(1e-3);
    expect(() => valueAndGradient(
      (p: Parameters) => ({ loss: mean(crossEntropy(model.forward(p, inputs).hidden, model.head(p), targets)) }), parameters))
      .toThrow(/f16, through which no gradient is taken; load the model as f32 to train it/);
  });

  it("gives the golden loss and the gradient of every parameter", async () => {
    const { model, parameters, read, inputs, targets } = await golden();
    const { loss, gradients } = valueAndGradient((p: Parameters) => {
      const { hidden } = model.forward(p, inputs);
      return { loss: mean(crossEntropy(hidden, model.head(p), targets)) };
    }, parameters);
    expect(Math.abs((await loss.item()) - (await read("loss"))[0]!)).toBeLessThan(tolerance);
    for (const { path, tensor: gradient } of leaves(gradients)) {
      expect([path, await deviation(gradient, await read(`grad.${path}`))]).toEqual([path, expect.toSatisfy((d: number) => d < tolerance)]);
    }
  });

  // The same weights as those of 250 tokens, padded to 256 rows.
  it.each(name === "reference" ? [dtype] : [dtype, "f16" as const])("knows no tokens but those of the vocabulary, in %s", async (as) => {
    const [vocabulary, close] = [250, as === "f16" ? 3e-3 : tolerance];
    const { model, parameters, read, inputs } = await golden(as, vocabulary);
    expect(model.parameterShapes()["backbone.embedding.weight"]).toEqual([256, 64]);
    const head = model.head(parameters);
    expect(head.shape).toEqual([vocabulary, 64]);
    const { hidden } = model.forward(parameters, inputs);
    const all = await read("logits"); // [2,192,256]
    const logits = Array.from(all).filter((_, i) => i % 256 < vocabulary);
    expect(await deviation(linear(hidden, head), logits)).toBeLessThan(close);
    const targets = Array.from(await read("tokens"), (id) => (id < vocabulary ? id : -1)).filter((_, i) => i % 193 !== 0);
    const losses = targets.map((target, row) => {
      const sum = logits.slice(row * vocabulary, (row + 1) * vocabulary).reduce((total, z) => total + Math.exp(z), 0);
      return target < 0 ? 0 : Math.log(sum) - logits[row * vocabulary + target]!;
    });
    expect(await deviation(crossEntropy(hidden, head, tensor(device, targets, [2, 192], "i32")), losses)).toBeLessThan(close);
  });

  it.each([true, false])("trains no padding of the vocabulary, the embedding tied: %s", async (tied) => {
    const sizes = { d_model: 16, n_layer: 1, ssm_cfg: { layer: "Mamba2", d_state: 8, headdim: 8 }, tie_embeddings: tied } as const;
    const gradientsOf = async (vocabulary: number) => {
      const model = mamba2({ ...sizes, vocab_size: vocabulary, pad_vocab_size_multiple: 16 });
      const tokens = tokenTensor(device, Array.from({ length: 40 }, (_, i) => (i * 7919) % 20), [2, 20], 20);
      const { loss, gradients } = valueAndGradient((p: Parameters) =>
        ({ loss: mean(crossEntropy(model.forward(p, tokens).hidden, slice(model.head(p), 0, 0, 20), tokens)) }),
          model.init(key(3), device, dtype));
      return [await loss.read(), ...(await Promise.all(leaves(gradients).map(({ tensor: t }) => t.read())))];
    };
    // 20 tokens in 32 rows, once as padding and once as tokens of which the loss takes the first 20.
    const [padded, cut] = [await gradientsOf(20), await gradientsOf(32)];
    expect(padded).toEqual(cut);
    const rows = padded.at(tied ? 1 : -1)!; // the output matrix: the embedding stands first, a matrix of its own last
    expect(rows).toHaveLength(32 * 16);
    expect(rows.subarray(0, 20 * 16).every((x) => x !== 0)).toBe(true);
    expect(rows.subarray(20 * 16).every((x) => x === 0)).toBe(true);
  });

  // Around the borders of the scan's chunks of 64.
  const CUTS = [[1, 2, 3, 63, 64, 65], [64, 64, 70], [65, 1, 1, 131], Array<number>(70).fill(1)];
  const GROUPED = { d_model: 24, n_layer: 2, vocab_size: 50,
    ssm_cfg: { layer: "Mamba2", d_state: 12, headdim: 8, ngroups: 2, chunk_size: 64 } };
  it.each(SEQUENCE_MODEL_LAWS)("keeps the law of %s", (law) =>
    checkSequenceModel(mamba2(GROUPED), { device, dtype, cuts: CUTS, tolerance, laws: [law] }));

  it("without gradients holds what lies inside one layer alone, however many there are", () => {
    const [batch, time] = [2, 64];
    const peakOf = (layers: number): number => {
      const model = mamba2({ d_model: 16, n_layer: layers, vocab_size: 50, ssm_cfg: { layer: "Mamba2", d_state: 16, headdim: 8 } });
      return scope(() => {
        const parameters = model.init(key(3), device, dtype);
        const tokens = tokenTensor(device, Array<number>(batch * time).fill(1), [batch, time], 50);
        device.resetPeak();
        const before = device.memory().used;
        scope(() => model.forward(parameters, tokens));
        return device.memory().peak - before;
      });
    };
    // A layer leaves its output, its residual sum and its state; inside it are eleven times as many numbers as in its output.
    const leaves = peakOf(6) - peakOf(5);
    expect(leaves).toBe(peakOf(5) - peakOf(4));
    expect(leaves).toBeLessThan(peakOf(1) / 2);
  });
});
