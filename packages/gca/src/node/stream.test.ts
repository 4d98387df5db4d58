import { spawnSync } from "node:child_process";
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Device, dispose, encodeSafetensors, keep, key, open, type Parameters, scope, type Tensor } from "@lenggen/kernels";
import { writeWhole } from "@lenggen/kernels/node";
import { build } from "tsup";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { drt } from "../drt/model";
import { hostStore } from "../memory/hostStore";
import type { ChunkStore } from "../memory/store";
import { nodeFiles } from "./chunkFile";
import { diskStore } from "./diskStore";
import { resumeStream, saveStream } from "./stream";
import { CONFIG, go, model, parametersOn } from "./streams.fixture";

const [SAVED, TOTAL] = [50, 122];
let device: Device;
let parameters: Parameters;
let folder: string;
let saved: string;
beforeAll(async () => {
  device = await open("reference");
  parameters = parametersOn(device);
});
afterAll(() => device.close());
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "lenggen-stream-"));
  saved = join(folder, "saved");
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const numbers = async (t: Tensor) => [...(await t.read())];
const refused = (code: string, message: RegExp) =>
  expect.objectContaining({ name: "LenggenError", code, message: expect.stringMatching(message) });

/** Saves a stream after `SAVED` tokens and returns the hidden states of what follows, by going on. */
async function save(store: ChunkStore | null): Promise<number[]> {
  const on = store ? model.withMemory(store) : model;
  const { state } = await go(on, parameters, device, 0, SAVED, undefined, 9);
  await saveStream(saved, model, parameters, state, store);
  return numbers((await go(on, parameters, device, SAVED, TOTAL, state)).hidden);
}

const contents = () => Object.fromEntries(readdirSync(saved).map((name) => [name, readFileSync(join(saved, name)).toString("base64")]));

const stores: [string, () => Promise<ChunkStore | null>][] = [
  ["the device", () => Promise.resolve(null)],
  ["host memory", () => Promise.resolve(hostStore({ dtype: "f16" }))],
  ["a file", () => diskStore({ folder })],
];

describe("a saved stream", () => {
  let bundle: string;
  beforeAll(async () => {
    bundle = mkdtempSync(join(tmpdir(), "lenggen-continue-"));
    const source = (path: string) => fileURLToPath(new URL(`../../../${path}`, import.meta.url));
    // The child runs as plain JavaScript, made from the sources under test.
    await build({
      entry: { child: source("gca/test/continueChild.ts") },
      outDir: bundle, format: ["esm"], target: "es2022", platform: "node", config: false, silent: true, noExternal: [/.*/],
      esbuildOptions(options) {
        options.alias = {
          "@lenggen/kernels/node": source("kernels/src/node/index.ts"),
          "@lenggen/kernels/nn": source("kernels/src/nn/index.ts"),
          "@lenggen/kernels": source("kernels/src/index.ts"),
        };
      },
    });
  });
  afterAll(() => rmSync(bundle, { recursive: true }));

  it.each(stores)("with its memory in %s goes on in another process with the same bits", async (_, make) => {
    const store = await make();
    const wanted = await save(store);
    const child = spawnSync(process.execPath, [join(bundle, "child.js"), saved, String(SAVED), String(TOTAL)], { encoding: "utf8" });
    expect(child.stderr).toBe("");
    expect(JSON.parse(child.stdout)).toEqual(wanted);
    await store?.close();
  });

  it.each(["host", "disk"] as const)("stays as it is, however often and from where it is gone on with, on tier %s", async (tier) => {
    const store = hostStore({ dtype: "bf16" });
    const wanted = await save(store);
    const before = contents();
    for (let time = 0; time < 2; time++) {
      const resumed = await resumeStream(saved, model, parameters, { tier });
      expect([resumed.store!.tier, resumed.store!.dtype]).toEqual([tier, "bf16"]);
      // Two continuations, then a new stream in the same store.
      await go(resumed.model, parameters, device, SAVED, TOTAL, resumed.state, 9);
      expect(await numbers((await go(resumed.model, parameters, device, SAVED, TOTAL, resumed.state)).hidden)).toEqual(wanted);
      const anew = await go(resumed.model, parameters, device, 0, TOTAL);
      const control = await go(model.withMemory(hostStore({ dtype: "bf16" })), parameters, device, 0, TOTAL);
      expect(await numbers(anew.hidden)).toEqual(await numbers(control.hidden));
      await expect(go(resumed.model, parameters, device, SAVED, TOTAL, resumed.state)).rejects.toThrow(refused("E_ARGUMENT",
        /has only 0 left/));
      await resumed.store!.close();
    }
    expect(contents()).toEqual(before);
  });

  it("of the first format, whose state says nothing of its model, goes on", async () => {
    const store = hostStore();
    const { state } = await go(model.withMemory(store), parameters, device, 0, SAVED, undefined, 9);
    await saveStream(saved, model, parameters, state, store);
    const part = keep(scope(() => model.withMemory(store).stateFiles!.trimmed!(state)));
    await writeWhole(join(saved, "state.safetensors"), encodeSafetensors(part));
    const wanted = await numbers((await go(model.withMemory(store), parameters, device, SAVED, TOTAL, state)).hidden);
    const resumed = await resumeStream(saved, model, parameters);
    expect(resumed.place).toEqual({ read: 0, seed: 0, drawn: 0 });
    expect(await numbers((await go(resumed.model, parameters, device, SAVED, TOTAL, resumed.state)).hidden)).toEqual(wanted);
    await resumed.store!.close();
  });

  it("can be saved again when it has gone on, from its file and what came after", async () => {
    await save(hostStore());
    const resumed = await resumeStream(saved, model, parameters, { cacheMiB: 0 });
    const further = await go(resumed.model, parameters, device, SAVED, 90, resumed.state);
    const again = join(folder, "again");
    await saveStream(again, model, parameters, further.state, resumed.store);
    const wanted = await numbers((await go(resumed.model, parameters, device, 90, TOTAL, further.state)).hidden);
    await resumed.store!.close();
    const second = await resumeStream(again, model, parameters);
    expect(await numbers((await go(second.model, parameters, device, 90, TOTAL, second.state)).hidden)).toEqual(wanted);
    await second.store!.close();
  });

  it("says how far the stream had come when its file is cut while it is used", async () => {
    await save(hostStore());
    const resumed = await resumeStream(saved, model, parameters);
    truncateSync(join(saved, "memory.chunks"), 700);
    const error = await go(resumed.model, parameters, device, SAVED, TOTAL, resumed.state).catch((e: unknown) => e);
    expect(error).toEqual(refused("E_IO", /memory\.chunks: ends early.*the stream had reached chunk 12, token 50$/));
    await resumed.store!.close();
  });

  it("is not written over, nor left in pieces when it can't be written", async () => {
    await save(null);
    const { state } = await go(model, parameters, device, 0, 8);
    await expect(saveStream(saved, model, parameters, state)).rejects.toThrow(refused("E_EXISTS", /is there already/));
    const failing = { ...nodeFiles, open: async (path: string, mode: "new" | "read") => ({
      ...(await nodeFiles.open(path, mode)),
      read: () => Promise.reject(Object.assign(new Error("EIO: made by this test"), { code: "EIO" })),
    }) };
    const store = await diskStore({ folder, cacheMiB: 0, files: failing });
    const first = await go(model.withMemory(store), parameters, device, 0, 4);
    await expect(saveStream(join(folder, "other"), model, parameters, first.state, store)).rejects.toThrow(refused("E_IO",
      /can't be read: EIO/));
    await store.close();
    expect(readdirSync(folder)).toEqual(["saved"]);
    await expect(saveStream(join(folder, "other"), model, parameters, first.state, hostStore())).rejects.toThrow(refused("E_ARGUMENT",
      /not in this host store/));
    await expect(saveStream(join(folder, "other"), model, parameters, first.state)).rejects.toThrow(refused("E_ARGUMENT",
      /are in a store/));
  });
});

describe("what is no saved stream of this model", () => {
  const file = (name: string) => join(saved, name);
  /** Replaces some bytes from a position on. */
  const put = (name: string, at: number, text: string) => {
    const bytes = readFileSync(file(name));
    bytes.write(text, at, "latin1");
    writeFileSync(file(name), bytes);
  };
  const replace = (name: string, from: string, to: string) => put(name, readFileSync(file(name)).indexOf(from), to);

  it.each([
    ["a folder that is not there", () => rmSync(saved, { recursive: true }), "E_MISSING", /stream\.json: can't be read/],
    ["a folder without the memory", () => rmSync(file("memory.chunks")), "E_MISSING", /memory\.chunks: can't be read/],
    ["a description that is no JSON", () => writeFileSync(file("stream.json"), "{"), "E_FORMAT", /stream\.json: not valid JSON/],
    ["a description of something else", () => replace("stream.json", "lenggen-stream", "lenggen-string"), "E_FORMAT",
      /does not describe a saved stream/],
    ["a description without a model", () => replace("stream.json", "\"config\"", "\"confix\""), "E_FORMAT", /lacks config/],
    ["a memory with bytes less", () => truncateSync(file("memory.chunks"), statSync(file("memory.chunks")).size - 1),
      "E_FORMAT", /cut short/],
    ["a memory with bytes more", () => writeFileSync(file("memory.chunks"), "x", { flag: "a" }), "E_FORMAT", /was changed/],
    ["a memory without a header", () => truncateSync(file("memory.chunks"), 5), "E_FORMAT", /has 5 bytes/],
    ["a memory with a header of any length", () => put("memory.chunks", 0, "\xff\xff\xff"), "E_FORMAT",
      /claims a header of 16777215 bytes/],
    ["a memory of another format", () => replace("memory.chunks", "lenggen-chunk", "lenggen-chalk"), "E_FORMAT", /is no chunk memory/],
    ["a memory of another version", () => replace("memory.chunks", "\"version\":1", "\"version\":2"), "E_FORMAT", /has version 2/],
    ["a memory of another type", () => replace("memory.chunks", "\"f32\"", "\"f64\""), "E_FORMAT", /dtype "f64" must be/],
    ["a memory of nothing", () => replace("memory.chunks", "\"batch\":2", "\"batch\":0"), "E_FORMAT", /batch 0 must be a whole number/],
    ["a memory of another batch", () => replace("memory.chunks", "\"batch\":2", "\"batch\":3"), "E_FORMAT",
      /batch is 3, but the stream's is 2/],
    ["a memory of another model", () => replace("memory.chunks", "\"top_k\":3", "\"top_k\":4"), "E_CONFIG",
      /memory\.chunks: is of another model: its "top_k" is 4, that of this model 3/],
    ["a state with a tensor renamed", () => replace("state.safetensors", "memory.lengths", "memory.breadth"), "E_FORMAT", /./],
    ["a state of another shape", () => replace("state.safetensors", "[2,5,1,8]", "[2,5,8,1]"), "E_FORMAT",
      /windows\.0\.k should have shape/],
  ] as const)("%s is refused", async (_, damage, code, message) => {
    await save(hostStore());
    damage();
    const empty = await open("reference");
    const there = parametersOn(empty);
    const before = empty.memory().used;
    await expect(resumeStream(saved, model, there)).rejects.toThrow(refused(code, message));
    expect(empty.memory().used).toBe(before);
    dispose(there);
    empty.close();
    expect(readdirSync(folder).filter((name) => name !== "saved")).toEqual([]);
  });

  it("a stream of the same model with other parameters is refused", async () => {
    await save(hostStore());
    const others = model.init(key(4), device);
    await expect(resumeStream(saved, model, others)).rejects.toThrow(refused("E_WEIGHTS",
      /state\.safetensors: is the state of a drt with other parameters/));
    dispose(others);
  });

  it("a stream of another model, or a memory of one, is refused", async () => {
    await save(hostStore());
    const other = drt({ ...CONFIG, chunk_size: 5 });
    const otherParameters = other.init(key(3), device);
    await expect(resumeStream(saved, other, otherParameters)).rejects.toThrow(
      refused("E_CONFIG", /stream\.json: is of another model: its "chunk_size" is 4, that of this model 5/));
    const [mine, theirs] = [saved, join(folder, "theirs")];
    const store = hostStore();
    const { state } = await go(other.withMemory(store), otherParameters, device, 0, 60);
    await saveStream(theirs, other, otherParameters, state, store);
    copyFileSync(join(theirs, "memory.chunks"), join(mine, "memory.chunks"));
    await expect(resumeStream(saved, model, parameters)).rejects.toThrow(refused("E_CONFIG",
      /memory\.chunks: is of another model: its "chunk_size" is 5/));
  });
});
