import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Device, devices, dispose, leaves, open, type Parameters, type Tensor } from "@lenggen/kernels";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { DrtState } from "../drt/state";
import { hostStore } from "../memory/hostStore";
import type { ChunkStore } from "../memory/store";
import { type FileSystem, nodeFiles, type OpenedFile } from "./chunkFile";
import { diskStore } from "./diskStore";
import { resumeStream, saveStream } from "./stream";
import { go, model, parametersOn } from "./streams.fixture";

const TOTAL = 122;
let device: Device;
let parameters: Parameters;
let folder: string;
beforeAll(async () => {
  const cpu = (await devices()).find(({ name }) => name === "cpu")!;
  if (!cpu.available) console.warn(`tests of stores on device cpu do not run: ${cpu.reason}; they run on reference`);
  device = await open(cpu.available ? "cpu" : "reference");
  parameters = parametersOn(device);
});
afterAll(() => device.close());
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "lenggen-chunks-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const numbers = async (t: Tensor) => [...(await t.read())];

/** Node's files, with some calls replaced for files that are opened. */
function filesWith(change: (file: OpenedFile) => Partial<OpenedFile>): FileSystem {
  return {
    ...nodeFiles,
    async open(path, mode) {
      const file = await nodeFiles.open(path, mode);
      return { ...file, ...change(file) };
    },
  };
}

const failed = (code: string) => Promise.reject(Object.assign(new Error(`${code}: made by this test`), { code }));
const refused = (code: string, message: RegExp) =>
  expect.objectContaining({ name: "LenggenError", code, message: expect.stringMatching(message) });

/** The stream again, from files whose reads are counted and with nothing in the cache. */
async function resumedWith(store: ChunkStore, state: DrtState) {
  let count = 0;
  await saveStream(join(folder, "saved"), model, parameters, state, store);
  const resumed = await resumeStream(join(folder, "saved"), model, parameters, { files: filesWith((file) => ({
    read: (into, position) => (count++, file.read(into, position)),
  })) });
  return { ...resumed, store: resumed.store!, reads: () => count };
}

describe("a chunk memory on disk", () => {
  it.each([
    ["f32", 16], ["f32", 0], ["f32", 0.001], ["f16", 0], ["bf16", 16],
  ] as const)("of %s with a cache of %s MiB gives what one in host memory does, whatever the pieces", async (dtype, cacheMiB) => {
    const wanted = await numbers((await go(model.withMemory(hostStore({ dtype })), parameters, device, 0, TOTAL, undefined, 13)).hidden);
    const store = await diskStore({ folder, dtype, cacheMiB });
    const on = model.withMemory(store);
    const { hidden, state } = await go(on, parameters, device, 0, TOTAL, undefined, 13);
    expect(await numbers(hidden)).toEqual(wanted);
    expect([store.records, state.memory.lengths.shape]).toEqual([2 * 30, [2, 30]]);
    expect(store.size().host).toBeLessThanOrEqual(cacheMiB * 2 ** 20);
    // A new stream, and a question asked twice from one place of it.
    const at = (await go(on, parameters, device, 0, 90, undefined, 13)).state;
    const [first, second] = [await go(on, parameters, device, 90, TOTAL, at), await go(on, parameters, device, 90, TOTAL, at)];
    expect(await numbers(second.hidden)).toEqual(await numbers(first.hidden));
    expect(store.size().disk).toBeGreaterThan(60 * 2 * 4 * 8 * (dtype === "f32" ? 4 : 2));
    await store.close();
  });

  it.skipIf(process.platform === "win32")("has no name while it is used, and its file is gone with it", async () => {
    const store = await diskStore({ folder });
    await go(model.withMemory(store), parameters, device, 0, 20);
    expect(readdirSync(folder)).toEqual([]);
    await store.close();
    await store.close();
    expect(readdirSync(folder)).toEqual([]);
  });

  it("removes a file that has a name at the end, also after an error", async () => {
    const files: FileSystem = {
      ...filesWith((file) => ({ write: (bytes, position) => (position + bytes.length > 4000 ? failed("ENOSPC")
        : file.write(bytes, position)) })),
      remove: () => failed("EPERM"), // as Windows does with open files
    };
    const store = await diskStore({ folder, files });
    expect(readdirSync(folder)).toHaveLength(1);
    await expect(go(model.withMemory(store), parameters, device, 0, TOTAL)).rejects.toThrow(refused("E_IO", /the disk is full/));
    files.remove = nodeFiles.remove;
    await store.close();
    expect(readdirSync(folder)).toEqual([]);
  });

  it("keeps its file when asked to", async () => {
    const store = await diskStore({ folder, keep: true });
    await go(model.withMemory(store), parameters, device, 0, 20);
    const { disk } = store.size();
    await store.close();
    expect(readFileSync(store.path).length).toBe(disk);
  });

  it("says when a file that is to be kept is removed under it", async () => {
    const store = await diskStore({ folder, keep: true });
    const stored = model.withMemory(store);
    const { state } = await go(stored, parameters, device, 0, 20);
    rmSync(store.path);
    await expect(go(stored, parameters, device, 20, 40, state)).rejects.toThrow(
      refused("E_IO", /was removed while it was used, but is to be kept; the stream had reached chunk 5, token 20/));
    await expect(store.close()).rejects.toThrow(refused("E_IO", /was removed/));
  });

  it("says how far the stream had come when the disk is full, frees what the pass made, and goes on when there is room again", async () => {
    let full = false;
    const store = await diskStore({ folder, files: filesWith((file) => ({
      // A full disk takes what still fits.
      write: (bytes, position) => (full ? (bytes.length > 100 ? file.write(bytes.subarray(0, 100), position) : failed("ENOSPC"))
        : file.write(bytes, position)),
    })) });
    const stored = model.withMemory(store);
    const { state } = await go(stored, parameters, device, 0, 50);
    full = true;
    await device.synchronize();
    const used = device.memory().used;
    await expect(go(stored, parameters, device, 50, 60, state)).rejects.toThrow(
      refused("E_IO", /can't be written: the disk is full \(ENOSPC\); the stream had reached chunk 12, token 50/));
    await device.synchronize();
    expect(device.memory().used).toBeLessThanOrEqual(used); // less when what other tests left is found meanwhile
    full = false;
    const other = model.withMemory(hostStore());
    const half = await go(other, parameters, device, 0, 50);
    const wanted = await go(other, parameters, device, 50, TOTAL, half.state);
    expect(await numbers((await go(stored, parameters, device, 50, TOTAL, state)).hidden)).toEqual(await numbers(wanted.hidden));
    await store.close();
  });

  it("writes what a pass gave it, also when the disk takes its time", async () => {
    const late = filesWith((file) => ({
      write: async (bytes, position) => {
        await new Promise((resolve) => setTimeout(resolve, 3));
        return file.write(bytes, position);
      },
    }));
    const store = await diskStore({ folder, cacheMiB: 0, files: late });
    const wanted = await go(model.withMemory(hostStore()), parameters, device, 0, TOTAL, undefined, 13);
    const found = await go(model.withMemory(store), parameters, device, 0, TOTAL, undefined, 13);
    expect(await numbers(found.hidden)).toEqual(await numbers(wanted.hidden));
    await store.close();
  });

  it.each([
    ["ends early", (file: OpenedFile) => ({ read: (into: Uint8Array, at: number) =>
      file.read(into.subarray(0, Math.max(0, Math.min(into.length, 500 - at))), at) }), /ends early: \d+ of \d+ bytes/],
    ["can't be read", () => ({ read: () => failed("EIO") }), /can't be read: EIO/],
    ["holds something else", () => ({ read: async (into: Uint8Array) => into.fill(7).length }), /is not what was written there/],
  ])("says how far the stream had come when its file %s", async (_, change, message) => {
    const store = await diskStore({ folder, cacheMiB: 0, files: filesWith(change) });
    const stored = model.withMemory(store);
    const error = await go(stored, parameters, device, 0, TOTAL, undefined, 6).catch((e: unknown) => e);
    expect(error).toEqual(refused("E_IO", message));
    expect(error).toEqual(refused("E_IO", /; the stream had reached chunk \d+, token \d+$/));
    await store.close();
  });

  it.each([
    ["no folder", { folder: join(tmpdir(), "lenggen-nowhere", "x") }, "E_MISSING", /can't be made: there is no such file or folder/],
    ["an unknown type", { folder: tmpdir(), dtype: "f64" as "f32" }, "E_ARGUMENT", /dtype "f64" must be one of f32, f16, bf16/],
    ["a cache of less than nothing", { folder: tmpdir(), cacheMiB: -1 }, "E_ARGUMENT", /cacheMiB -1/],
    ["a disk that takes no file", { folder: tmpdir(), files: { ...nodeFiles, open: () => failed("EROFS") } }, "E_IO",
      /can't be made: the file system is read-only/],
  ] as const)("is refused with %s", async (_, options, code, message) =>
    expect(diskStore(options)).rejects.toThrow(refused(code, message)));

  it("refuses work after it has been closed", async () => {
    const store: ChunkStore = await diskStore({ folder });
    await store.close();
    await expect(go(model.withMemory(store), parameters, device, 0, 20)).rejects.toThrow(refused("E_ARGUMENT", /has been closed/));
  });

  it("does not go to the disk for each token", async () => {
    let reads = 0;
    const store = await diskStore({ folder,
      files: filesWith((file) => ({ read: (into, position) => (reads++, file.read(into, position)) })) });
    const stored = model.withMemory(store);
    let { state } = await go(stored, parameters, device, 0, 80, undefined, 20);
    expect(reads).toBe(0); // what has been written lately is there too
    const resumed = await resumedWith(store, state);
    ({ state } = await go(resumed.model, parameters, device, 80, 81, resumed.state));
    const first = resumed.reads();
    expect(first).toBeGreaterThan(0);
    ({ state } = await go(resumed.model, parameters, device, 81, 83, state, 1));
    expect(resumed.reads()).toBe(first);
    // The next chunk's are fetched when this one ends.
    ({ state } = await go(resumed.model, parameters, device, 83, 84, state));
    await resumed.store.read([], new Uint8Array(0)); // waits for that
    const second = resumed.reads();
    expect(second).toBeGreaterThan(first);
    await go(resumed.model, parameters, device, 84, 87, state, 1);
    expect(resumed.reads()).toBe(second);
    await resumed.store.close();
    await store.close();
  });

  it("needs no more memory for a long stream than for a short one, but for landmarks and lengths", async () => {
    const store = await diskStore({ folder, cacheMiB: 0.05 });
    const stored = model.withMemory(store);
    const short = await go(stored, parameters, device, 0, 1000, undefined, 500);
    /** What the device holds beside landmarks and lengths, which it may give an eighth more than they need. */
    const rest = async ({ memory }: typeof short.state) => {
      await device.synchronize();
      const own = leaves(memory).reduce((sum, { tensor }) => sum + tensor.byteLength, 0);
      return { most: device.memory().used - own, least: device.memory().used - 1.125 * own };
    };
    const [{ most }, host] = [await rest(short.state), store.size().host];
    expect(host).toBeGreaterThan(0.04 * 2 ** 20);
    const long = await go(stored, parameters, device, 1000, 16_000, short.state, 500);
    expect(long.state.memory.lengths.shape).toEqual([2, 4000]);
    expect(long.state.memory.landmarks.shape[1]).toBeLessThan(1.25 * 4000 + 500);
    expect(store.size()).toMatchObject({ host });
    dispose(short); // it shares its landmarks with no one any more
    expect((await rest(long.state)).least).toBeLessThanOrEqual(most);
    await store.close();
  });
});
