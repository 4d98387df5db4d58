import {
  check, countElements, type Device, encodeSafetensors, key, leaves, memorySource, open, openSafetensors, openWeights, type Parameters,
  parseConfig, tensor, zeros,
} from "@lenggen/kernels";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { mamba2Json } from "./config";
import { loadMamba2, saveMamba2 } from "./files";
import { mamba2 } from "./model";

const CONFIG = { d_model: 16, n_layer: 2, vocab_size: 30, pad_vocab_size_multiple: 16,
  ssm_cfg: { layer: "Mamba2", d_state: 8, headdim: 8 } };

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

  it("of earlier versions load: every field, null for no limit, the embedding for both matrices", async () => {
    const parameters = fresh();
    const { settings } = mamba2(CONFIG);
    expect(mamba2Json(settings)).toMatchObject({ norm_epsilon: 1e-5, ssm_cfg: { dt_limit: [0, null] } });
    const loaded = await loadMamba2(JSON.parse(JSON.stringify(mamba2Json(settings))), await write(parameters, "model.safetensors"), device);
    expect(loaded.model.settings).toEqual(settings);
    expect(await loaded.parameters["backbone.embedding.weight"]!.read()).toEqual(await parameters["backbone.embedding.weight"]!.read());
    expect(await loaded.model.head(loaded.parameters).read())
      .toEqual((await parameters["backbone.embedding.weight"]!.read()).subarray(0, 30 * 16));
  });

  it("with the names of transformers load too", async () => {
    const { "backbone.embedding.weight": embedding, ...rest } = fresh();
    const file = await write({ "backbone.embeddings.weight": embedding!, ...rest, "lm_head.weight": embedding! },
      "transformers.safetensors");
    const { parameters } = await loadMamba2(CONFIG, file, device);
    expect(await parameters["backbone.embedding.weight"]!.read()).toEqual(await embedding!.read());
  });

  it("with a missing tensor are refused", async () => {
    const { "backbone.norm_f.weight": _, ...rest } = fresh();
    await expect(loadMamba2(CONFIG, await write(rest, "missing.safetensors"), device)).rejects.toThrowError(refusal("E_WEIGHTS",
      /asks for 1 tensor \(backbone.norm_f.weight\), not in the file/));
  });

  it("with an unknown tensor are refused", async () => {
    const file = await write({ ...fresh(), extra: zeros(device, [1]) }, "unknown.safetensors");
    await expect(loadMamba2(CONFIG, file, device)).rejects.toThrowError(refusal("E_WEIGHTS",
      /holds 1 tensor \(extra\), not asked for by the config/));
  });

  it("that fit another configuration are refused", async () => {
    const file = await write(fresh(), "other.safetensors");
    await expect(loadMamba2({ ...CONFIG, d_model: 24 }, file, device)).rejects.toThrowError(refusal("E_WEIGHTS",
      /has shape \[32, 16\], the config asks for \[32, 24\]/));
  });

  it("with NaN are refused", async () => {
    const bad = { ...fresh(), "backbone.norm_f.weight": tensor(device, Array.from({ length: 16 }, (_, i) => (i === 5 ? Number.NaN : 1))) };
    await expect(loadMamba2(CONFIG, await write(bad, "nan.safetensors"), device)).rejects.toThrowError(refusal("E_WEIGHTS",
      /norm_f.*1 number that is NaN/));
  });

  it("with whole numbers are refused, as those of a quantised file", async () => {
    const bad = { ...fresh(), "backbone.norm_f.weight": tensor(device, Array.from({ length: 16 }, () => 1), [16], "i32") };
    await expect(loadMamba2(CONFIG, await write(bad, "i32.safetensors"), device)).rejects.toThrowError(refusal("E_WEIGHTS",
      /backbone\.norm_f\.weight holds I32 numbers; parameters must be F32, F16, BF16 or F64/));
    const file = await write(fresh(), "typed.safetensors");
    const name = "backbone.layers.1.norm.weight";
    for (const dtype of ["I8", "U8", "I16", "U16", "U32", "I64", "U64", "BOOL", "F8_E4M3"]) {
      const typed = { ...file, tensors: { ...file.tensors, [name]: { ...file.tensors[name]!, dtype } } };
      await expect(loadMamba2(CONFIG, typed, device)).rejects.toThrowError(refusal("E_WEIGHTS", new RegExp(`layers.1.*holds ${dtype} `)));
    }
  });

  it("that have no room are refused before any is loaded", async () => {
    const file = await write(fresh(), "large.safetensors");
    const small = await open("reference", { memoryLimit: 4096 });
    const unread = { ...file, load: () => expect.fail("loaded one") };
    await expect(loadMamba2(CONFIG, unread, small)).rejects.toThrowError(refusal("E_MEMORY",
      /^weights: the model's, as f32, take 0\.\d+ MB, and tensors may hold 0\.0041 MB/));
    small.close();
  });

  it("in shards load as those in one file do", async () => {
    const FIXTURES = import.meta.glob<string>("../../test/fixtures/mamba2-{tiny,sharded}/*", { query: "?url&inline", import: "default" });
    const openIn = (folder: string) => async (name: string) => {
      const found = FIXTURES[`../../test/fixtures/${folder}/${name}`];
      check(found, "E_MISSING", () => `${folder}/${name}: there is no such file`);
      return memorySource(new Uint8Array(await (await fetch(await found())).arrayBuffer()), `${folder}/${name}`);
    };
    const [tiny, sharded] = await Promise.all(["mamba2-tiny", "mamba2-sharded"].map(async (folder) => {
      const config = await openIn(folder)("config.json");
      return loadMamba2(parseConfig(await config.read(0, config.size)), await openWeights(openIn(folder)), device);
    }));
    for (const [name, leaf] of Object.entries(tiny!.parameters)) expect(await sharded!.parameters[name]!.read()).toEqual(await leaf.read());
  });

  const ODD = { d_model: 15, n_layer: 1, vocab_size: 31, pad_vocab_size_multiple: 1, ssm_cfg: { layer: "Mamba2", d_state: 7, headdim: 6 } };
  it("with matrices of odd numbers of elements load as f16, to the last number", async () => {
    const parameters = mamba2(ODD).init(key(1), device);
    expect(parameters["backbone.embedding.weight"]!.size % 2).toBe(1);
    const { parameters: half } = await loadMamba2(ODD, await write(parameters, "odd.safetensors"), device, "f16");
    const embedding = half["backbone.embedding.weight"]!;
    expect([embedding.dtype, await embedding.read()])
      .toEqual(["f16", await tensor(device, await parameters["backbone.embedding.weight"]!.read(), [31, 15], "f16").read()]);
    const large = { ...parameters, "backbone.embedding.weight": tensor(device,
      Array.from({ length: 31 * 15 }, (_, i) => (i === 31 * 15 - 1 ? 7e4 : 1)), [31, 15]) };
    await expect(loadMamba2(ODD, await write(large, "odd.safetensors"), device, "f16")).rejects.toThrowError(
      refusal("E_WEIGHTS", /embedding.weight holds 1 number that is NaN or infinite as f16/));
  });
});
