import { countElements, type Device, encodeSafetensors, key, leaves, memorySource, open, openSafetensors, type Parameters, tensor, zeros } from "@lenggen/kernels";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { loadMamba2, saveMamba2 } from "./files";
import { mamba2 } from "./model";

const CONFIG = { d_model: 16, n_layer: 2, vocab_size: 30, pad_vocab_size_multiple: 16, ssm_cfg: { layer: "Mamba2", d_state: 8, headdim: 8 } };

describe("checkpoints", () => {
  let device: Device;
  beforeAll(async () => {
    device = await open("reference");
  });
  afterAll(() => device.close());

  const write = (parameters: Parameters, name: string) => reopen(encodeSafetensors(parameters, { format: "pt" }), name);

  async function reopen(file: AsyncIterable<Uint8Array>, name: string) {
    const parts: Uint8Array<ArrayBuffer>[] = [];
    for await (const part of file) parts.push(part.slice());
    return openSafetensors(memorySource(new Uint8Array(await new Blob(parts).arrayBuffer()), name));
  }
  const fresh = () => mamba2(CONFIG).init(key(1), device);
  const refusal = (code: string, message: RegExp) => expect.objectContaining({ code, message: expect.stringMatching(message) });

  it("come back as they were saved, padding rows included", async () => {
    const model = mamba2(CONFIG);
    const parameters = fresh();
    const saved = saveMamba2(model, parameters);
    const loaded = await loadMamba2(JSON.parse(saved.config), await reopen(saved.weights, "model.safetensors"), device);
    expect(loaded.model.config).toEqual(model.config);
    expect(parameters["backbone.embedding.weight"]!.shape).toEqual([32, 16]);
    expect(countElements(loaded.parameters)).toBe(countElements(parameters));
    for (const { path: name, tensor: leaf } of leaves({ ...parameters }).filter((l) => l.path !== "")) {
      expect(await loaded.parameters[name]!.read()).toEqual(await leaf.read());
    }
  });

  it("with the names of transformers load too", async () => {
    const { "backbone.embedding.weight": embedding, ...rest } = fresh();
    const file = await write({ "backbone.embeddings.weight": embedding!, ...rest, "lm_head.weight": embedding! }, "transformers.safetensors");
    const { parameters } = await loadMamba2(CONFIG, file, device);
    expect(await parameters["backbone.embedding.weight"]!.read()).toEqual(await embedding!.read());
  });

  it("with a missing tensor are refused", async () => {
    const { "backbone.norm_f.weight": _, ...rest } = fresh();
    await expect(loadMamba2(CONFIG, await write(rest, "missing.safetensors"), device)).rejects.toThrowError(refusal("E_WEIGHTS", /asks for 1 tensor \(backbone.norm_f.weight\), not in the file/));
  });

  it("with an unknown tensor are refused", async () => {
    const file = await write({ ...fresh(), extra: zeros(device, [1]) }, "unknown.safetensors");
    await expect(loadMamba2(CONFIG, file, device)).rejects.toThrowError(refusal("E_WEIGHTS", /holds 1 tensor \(extra\), not asked for by the config/));
  });

  it("that fit another configuration are refused", async () => {
    const file = await write(fresh(), "other.safetensors");
    await expect(loadMamba2({ ...CONFIG, d_model: 24 }, file, device)).rejects.toThrowError(refusal("E_WEIGHTS", /has shape \[32, 16\], the config asks for \[32, 24\]/));
  });

  it("with NaN are refused", async () => {
    const bad = { ...fresh(), "backbone.norm_f.weight": tensor(device, Array.from({ length: 16 }, (_, i) => (i === 5 ? Number.NaN : 1))) };
    await expect(loadMamba2(CONFIG, await write(bad, "nan.safetensors"), device)).rejects.toThrowError(refusal("E_WEIGHTS", /norm_f.*1 number that is NaN/));
  });
});
