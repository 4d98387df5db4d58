/** Models of every family by name, from a configuration and from a checkpoint. */
import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { TASKS } from "@lenggen/evals";
import { type Device, dispose, generate, leaves, open } from "@lenggen/kernels";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CONFIG } from "../test/trained";
import { MODELS } from "./families";
import { MEASURES } from "./measures";
import { findCheckpoint, loadCheckpoint, modelNamed } from "./models";
import { textOf } from "./text";
import { runTraining } from "./training";

const shared = { vocab_size: 256, hidden_size: 16, intermediate_size: 16, num_attention_heads: 2 };
const CONFIGS: Readonly<Record<string, object>> = {
  mamba2: CONFIG,
  drt: { model_type: "drt", ...shared, lower_layers: 1, upper_groups: [1], encoder_layers: 1, chunk_size: 8, window: 17, top_k: 2 },
  rwkv6: { model_type: "rwkv6", n_layer: 1, n_embd: 16, vocab_size: 256, head_size: 8, dim_ffn: 24, d_mix_lora: 2, d_decay_lora: 4 },
  rwkv7: { model_type: "rwkv7", n_layer: 2, n_embd: 16, vocab_size: 256, head_size: 8, dim_ffn: 24, d_decay_lora: 4, d_aaa_lora: 3,
    d_mv_lora: 2, d_gate_lora: 4 },
  transformer: { model_type: "transformer", ...shared, num_hidden_layers: 1, window: 17, position: "alibi" },
};

let device: Device;
let folder: string;
beforeAll(async () => {
  device = await open("reference");
  folder = await mkdtemp(join(tmpdir(), "lenggen-families-"));
  for (const [name, config] of Object.entries(CONFIGS)) await writeFile(join(folder, `${name}.json`), JSON.stringify(config));
});
afterAll(async () => {
  device.close();
  await rm(folder, { recursive: true, force: true });
});

describe("models by name", () => {
  it.each(MODELS.presets.map((name) => [name]))("preset %s", async (name) => {
    const model = await modelNamed(name);
    expect(Object.hasOwn(MODELS.families[model.family]!.presets, name)).toBe(true);
    expect(MODELS.make(JSON.parse(JSON.stringify(model.config))).config).toEqual(model.config);
  });

  it("a family's name means its first preset", async () => {
    expect((await modelNamed("drt")).config).toEqual((await modelNamed("drt-tiny")).config);
    expect((await modelNamed("mamba2")).config).toEqual((await modelNamed("tiny-byte")).config);
  });

  it.each(Object.keys(CONFIGS))("a config.json of family %s", async (family) => {
    expect((await modelNamed(join(folder, `${family}.json`))).family).toBe(family);
  });

  it("an unknown one is answered with the nearest and all there are", async () => {
    await expect(modelNamed("drt-tini")).rejects.toMatchObject({
      code: "E_UNKNOWN_NAME", message: expect.stringMatching(
        /did you mean "drt-tiny"\?\); there are tiny-byte, .*drt-tiny, .*sliding-window-tiny/) as string,
    });
    expect(() => MODELS.make({ model_type: "drd" }))
      .toThrow(/model_type "drd" \(did you mean "drt"\?\); there are .*mamba2, .*drt, transformer/);
    expect(() => MODELS.make({ model_type: 3 })).toThrow(expect.objectContaining({ code: "E_CONFIG" }));
    await expect(modelNamed("toString")).rejects.toMatchObject({ code: "E_UNKNOWN_NAME" });
  });
});

describe.each(Object.keys(CONFIGS))("family %s", (family) => {
  it("is trained on text and a task, saved, loaded, measured and asked to write", async () => {
    const model = await modelNamed(join(folder, `${family}.json`));
    const bytes = new TextEncoder().encode("It was the best of times, it was the worst of times. ".repeat(20));
    const run = join(folder, `run-${family}`);
    const { parameters } = await runTraining(device, {
      label: "train", model, text: textOf("here", [{ name: "here", tokens: bytes }]), method: "zero", batch: 2, context: 40,
      task: { task: TASKS["key-retrieval"], share: 0.5, shortest: 30 }, steps: 4, seed: 1, folder: run, resume: false,
    });
    const loaded = await loadCheckpoint(await findCheckpoint(run), device);
    expect(loaded.model.family).toBe(family);
    for (const { path, tensor } of leaves(loaded.parameters)) expect(await tensor.read()).toEqual(await parameters[path]!.read());
    const used = device.memory().used;
    const input = { model: loaded.model, parameters: loaded.parameters, text: bytes, trainLength: 40, seed: 1, count: 2 };
    const { result } = await MEASURES["key-retrieval"]!.run({ ...input, lengths: [60] });
    expect(result).toMatchObject({ cells: [{ length: 60, samples: 2 }] });
    const { result: asked } = await MEASURES["asked-from-one-stream"]!.run({ ...input, lengths: [80, 160], chunk: 32 });
    expect(asked).toMatchObject([{ length: 80, questions: [{}, {}] }, { length: 160 }]);
    const written: number[] = [];
    for await (const token of generate(loaded.model, loaded.parameters, bytes.subarray(0, 50),
      { maxTokens: 12, temperature: 0, chunk: 20 })) written.push(token);
    expect(written).toHaveLength(12);
    expect(device.memory().used).toBe(used);
    dispose([parameters, loaded.parameters]);
  });
});

it("loads a checkpoint in shards, and says which file is missing", async () => {
  const shards = fileURLToPath(new URL("../../recurrent/test/fixtures/mamba2-sharded", import.meta.url));
  const { model, parameters } = await loadCheckpoint(await findCheckpoint(shards), device);
  expect(Object.keys(parameters)).toEqual(Object.keys(model.parameterShapes()));
  dispose(parameters);
  const cut = join(folder, "cut");
  await cp(shards, cut, { recursive: true });
  await rm(join(cut, "model-00002-of-00002.safetensors"));
  await expect(loadCheckpoint(await findCheckpoint(cut), device)).rejects.toMatchObject({
    code: "E_MISSING", message: expect.stringMatching(
      /cut\/model\.safetensors\.index\.json: lists the file "model-00002-of-00002\.safetensors", which is not there/) as string,
  });
});
