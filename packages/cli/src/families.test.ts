/** Models of every family by name, from a configuration and from a checkpoint. */
import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { TASKS } from "@lenggen/evals";
import { INTERVENTIONS } from "@lenggen/interventions";
import {
  type Device, devices, dispose, generate, key, leaves, LenggenError, loadState, memorySource, open, saveState,
  type SequenceModel, type StreamPlace, type Tree,
} from "@lenggen/kernels";
import { Command } from "commander";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { reproduce } from "./commands/reproduce";
import { train } from "./commands/train";
import { MODELS } from "./families";
import { MEASURES } from "./measures";
import { findCheckpoint, loadCheckpoint } from "./checkpoints";
import { modelNamed } from "./models";
import { textOf } from "@lenggen/data/node";
import { runTraining, type TrainingOutcome } from "./training";

/** A family is tested by being registered, each by its first preset. */
const FAMILIES = Object.keys(MODELS.families);
const METHODS = Object.keys(INTERVENTIONS);
const firstPreset = (family: string): string => Object.keys(MODELS.families[family]!.presets)[0]!;

let device: Device;
let folder: string;
beforeAll(async () => {
  const cpu = (await devices()).find(({ name }) => name === "cpu")!;
  if (!cpu.available) console.warn(`tests of families on device cpu do not run: ${cpu.reason}`);
  device = await open(cpu.available ? "cpu" : "reference");
  folder = await mkdtemp(join(tmpdir(), "lenggen-families-"));
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

  it.each(FAMILIES)("%s means the family's first preset, and its config.json the family", async (family) => {
    const model = await modelNamed(family);
    expect(model.config).toEqual((await modelNamed(firstPreset(family))).config);
    expect([model.family, model.vocabulary]).toEqual([family, 256]);
    const file = join(folder, `${family}.json`);
    await writeFile(file, JSON.stringify(model.config));
    expect((await modelNamed(file)).config).toEqual(model.config);
  });

  it.each([train, reproduce])("the help of $name shows every family with its presets", (spec) => {
    let help = "";
    spec.define(new Command(spec.name)).configureOutput({ writeOut: (text) => { help += text; } }).outputHelp();
    for (const family of FAMILIES) expect(help).toContain(`\n  ${family}: ${Object.keys(MODELS.families[family]!.presets).join(", ")}\n`);
  });

  it("an unknown one is answered with the nearest and all there are", async () => {
    await expect(modelNamed("drt-tini")).rejects.toMatchObject({
      code: "E_UNKNOWN_NAME", message: expect.stringMatching(
        /did you mean "drt-tiny"\?\); there are .*mamba2: tiny-byte, .*; drt: drt-tiny.*; transformer: sliding-window-tiny/) as string,
    });
    await expect(modelNamed("mamba2-130m")).rejects.toThrow('no model preset is named "mamba2-130m" (did you mean "130m"?)');
    expect(() => MODELS.make({ model_type: "drd" }))
      .toThrow(/model_type "drd" \(did you mean "drt"\?\); there are .*mamba2, .*drt, transformer/);
    expect(() => MODELS.make({ model_type: 3 })).toThrow(expect.objectContaining({ code: "E_CONFIG" }));
    await expect(modelNamed("toString")).rejects.toMatchObject({ code: "E_UNKNOWN_NAME" });
  });
});

const TEXT = new TextEncoder().encode("It was the best of times, it was the worst of times. ".repeat(20));
const plan = { label: "train", text: textOf("here", [{ name: "here", tokens: TEXT }]), batch: 2, context: 24, seed: 1, resume: false };

/** Noise is for states that sum up the past, and not every state that grows can be carried from batch to batch. */
function mayRefuse(model: SequenceModel, method: string): boolean {
  if (method.endsWith("-noise")) return model.stateLeaves.every(({ kind }) => kind !== "recurrent");
  const state = model.initialState(1, device);
  dispose(state);
  return method !== "zero" && leaves(state).some(({ tensor }) => tensor.size === 0);
}

describe.each(FAMILIES)("family %s", (family) => {
  it.each(METHODS)("trains with %s, or says why it can't", async (method) => {
    const model = await modelNamed(family);
    const outcome = await runTraining(device, { ...plan, model, method, steps: 3, folder: join(folder, family, method) })
      .catch((error: unknown) => error);
    if (mayRefuse(model, method) && outcome instanceof LenggenError) {
      expect([outcome.code, outcome.message]).toEqual(["E_CONFIG", expect.stringMatching(new RegExp(`^${method}: .{30}`))]);
      return;
    }
    const { loss, parameters, skipped } = outcome as TrainingOutcome;
    expect([loss, skipped]).toEqual([expect.toSatisfy((nats: number) => nats > 1 && nats < 6.5), 0]); // ln 256 = 5.5: nothing known
    dispose(parameters);
  });

  it("is trained on text and a task, saved, loaded, measured and asked to write", async () => {
    const model = await modelNamed(family);
    const run = join(folder, family, "task");
    const { parameters } = await runTraining(device, {
      ...plan, model, method: "zero", context: 40, task: { task: TASKS["key-retrieval"], share: 0.5, shortest: 30 }, steps: 3, folder: run,
    });
    const loaded = await loadCheckpoint(await findCheckpoint(run), device);
    expect(loaded.model.family).toBe(family);
    for (const { path, tensor } of leaves(loaded.parameters)) expect(await tensor.read()).toEqual(await parameters[path]!.read());
    const used = device.memory().used;
    const input = { model: loaded.model, parameters: loaded.parameters, text: TEXT, trainLength: 40, seed: 1, count: 2 };
    const { result } = await MEASURES["key-retrieval"]!.run({ ...input, lengths: [60] });
    expect(result).toMatchObject({ cells: [{ length: 60, samples: 2 }] });
    for (const name of ["loss-by-position", "effective-remembrance", "state-statistics"]) {
      const measuring = MEASURES[name]!.run({ ...input, lengths: [60] });
      if (name === "state-statistics" && model.stateLeaves.every(({ kind }) => kind !== "recurrent"))
        await expect(measuring).rejects.toThrow(`a model of family ${family} has no recurrent state to measure`);
      else expect((await measuring).read).toEqual({ sequences: 2, tokens: expect.toSatisfy((bytes: number) => bytes >= 120) });
    }
    const { result: asked } = await MEASURES["asked-from-one-stream"]!.run({ ...input, lengths: [80, 160], chunk: 32 });
    expect(asked).toMatchObject([{ length: 80, questions: [{}, {}] }, { length: 160 }]);
    expect(device.memory().used).toBe(used);
    dispose([parameters, loaded.parameters]);
  });

  it("writes on from a saved state as in one go", async () => {
    const model = await modelNamed(family);
    const parameters = model.init(key(3), device);
    const used = device.memory().used;
    const write = async (prompt: Uint8Array, options: Parameters<typeof generate>[3]) => {
      const written: number[] = [];
      let ended: { state: Tree; place: StreamPlace } | undefined;
      const onEnd = (state: Tree, place: StreamPlace) => (ended = { state, place });
      for await (const token of generate(model, parameters, prompt, { temperature: 0, chunk: 20, onEnd, ...options })) written.push(token);
      const file = await bytesOf(saveState(model, parameters, ended!.state, ended!.place));
      dispose(ended!.state);
      return { written, file };
    };
    const whole = await write(TEXT.subarray(0, 50), { maxTokens: 12 });
    const first = await write(TEXT.subarray(0, 50), { maxTokens: 5 });
    const loaded = await loadState(model, parameters, memorySource(first.file, "saved"), { batch: 1 });
    const second = await write(new Uint8Array(), { maxTokens: 7, ...loaded });
    expect([...first.written, ...second.written]).toEqual(whole.written);
    dispose(loaded.state);
    expect(device.memory().used).toBe(used);
    dispose(parameters);
  });
});

async function bytesOf(pieces: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const piece of pieces) parts.push(piece.slice());
  return Buffer.concat(parts);
}

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
