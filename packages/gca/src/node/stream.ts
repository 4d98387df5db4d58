/**
 * A stream on disk, to be continued later or by another process with the same bits:
 *
 *   stream.json   state.safetensors   memory.chunks
 *
 * The last is there when keys and values lived in a store. The folder appears whole or not at all.
 */
import { randomUUID } from "node:crypto";
import { mkdir, readFile, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import {
  check, type Device, dispose, disposeExcept, encodeSafetensors, isJsonObject, keep, mapTree, openSafetensors, parseJson, quote, type Safetensors, scope,
  showShape, slice, type Tensor, withoutGradient,
} from "@lenggen/kernels";
import { fileError, makeFolder, openFile, syncFolder, writeWhole } from "@lenggen/kernels/node";
import { decoderLayers, type DrtConfig } from "../drt/config";
import { checkAllHere, chunksIn } from "../drt/memory";
import type { Drt } from "../drt/model";
import { type DrtState, emptyState } from "../drt/state";
import { streamFormat } from "../drt/stored";
import { hostStore } from "../memory/hostStore";
import { recordBytes } from "../memory/records";
import type { ChunkStore } from "../memory/store";
import { alone, placeOf, standsAt } from "../memory/streams";
import { encodeHeader, type FileSystem, nodeFiles, readAll, readHeader } from "./chunkFile";
import { openDiskStore, type SavedRecords } from "./diskStore";

const FORMAT = "lenggen-stream";
const VERSION = 1;
const [ABOUT, STATE, MEMORY] = ["stream.json", "state.safetensors", "memory.chunks"] as const;
/** Bytes of records that are copied at a time. */
const PIECE = 1 << 22;

/**
 * Saves a state, and the chunks that it stands behind, into a new folder; `store`: the one that the state was made with, null for a
 * memory on the device. State and store stay as they are. Throws `E_EXISTS` when there is something of that name, `E_ARGUMENT` for
 * a state that is not the store's, `E_IO` when a file fails.
 */
export async function saveStream(folder: string, model: Drt, state: DrtState, store: ChunkStore | null = null): Promise<void> {
  if (store) return alone(store, () => write(folder, model, state, store));
  return write(folder, model, state, null);
}

async function write(folder: string, model: Drt, state: DrtState, store: ChunkStore | null): Promise<void> {
  const { lengths } = state.memory;
  if (store) placeOf(store, lengths);
  else checkAllHere(state.memory);
  check(!(await exists(folder)), "E_EXISTS", () => `${folder}: is there already; save the stream under another name`);
  const parent = dirname(folder);
  const partial = join(parent, `.${basename(folder)}.${randomUUID()}.partial`);
  await makeFolder(parent);
  const held = withoutGradient(() => keep(scope(() => withoutSpareRoom(state))));
  try {
    await mkdir(partial);
    const about = { format: FORMAT, version: VERSION, config: model.config, memory: store ? "store" : "state" };
    await writeWhole(join(partial, ABOUT), [new TextEncoder().encode(`${JSON.stringify(about, null, 2)}\n`)]);
    await writeWhole(join(partial, STATE), encodeSafetensors(held));
    if (store) await writeWhole(join(partial, MEMORY), memoryOf(store, model.settings, lengths.shape));
    await rename(partial, folder);
    await syncFolder(parent);
  } catch (error) {
    await rm(partial, { recursive: true, force: true }).catch(() => {}); // the first error is the one to tell
    throw fileError("written", folder, error);
  } finally {
    disposeExcept(held, state);
  }
}

function exists(path: string): Promise<boolean> {
  return stat(path).then(() => true, () => false);
}

/** The state with nothing in its memory but chunks. */
function withoutSpareRoom(state: DrtState): DrtState {
  const { memory } = state;
  const count = chunksIn(memory);
  const cut = (t: Tensor) => (t.shape[1]! <= count ? t : slice(t, 1, 0, count));
  return { ...state, memory: { lengths: memory.lengths, landmarks: cut(memory.landmarks), keys: cut(memory.keys), values: cut(memory.values) } };
}

/** The file of the chunks that lengths [B,M] tell of. */
async function* memoryOf(store: ChunkStore, c: DrtConfig, [batch, chunks]: readonly number[]): AsyncGenerator<Uint8Array> {
  const format = streamFormat(c, batch!);
  const bytes = recordBytes(format, store.dtype);
  yield encodeHeader(format, store.dtype);
  const [total, most] = [batch! * chunks!, Math.max(1, Math.floor(PIECE / bytes))];
  for (let from = 0; from < total; from += most) {
    const piece = new Uint8Array(Math.min(most, total - from) * bytes);
    await store.read(Array.from({ length: piece.length / bytes }, (_, i) => from + i), piece);
    yield piece;
  }
}

/** Options of {@link resumeStream}; they are for streams whose keys and values lived in a store. */
export interface ResumeStreamOptions {
  /** Where keys and values live from now on; `disk` unless given. On disk, those that were saved stay where they are. */
  readonly tier?: "host" | "disk";
  /** Of the file with what comes; the saved stream's folder unless given. */
  readonly folder?: string;
  /** As in `diskStore`. */
  readonly cacheMiB?: number;
  /** Node's unless given; for tests of failing disks. */
  readonly files?: FileSystem;
}

/** What {@link resumeStream} gives; the state is the caller's to dispose, and the store to close. */
export interface ResumedStream {
  /** The model to go on with. */
  readonly model: Drt;
  readonly state: DrtState;
  /** Null when the memory is on the device. */
  readonly store: ChunkStore | null;
}

/**
 * Loads a stream that {@link saveStream} saved; what was saved stays as it is, however the stream goes on. Throws `E_MISSING` when there
 * is none, `E_CONFIG` when it is another model's, `E_FORMAT` for damaged files, `E_IO` when a file fails.
 */
export async function resumeStream(folder: string, model: Drt, device: Device, options: ResumeStreamOptions = {}): Promise<ResumedStream> {
  const stored = await readAbout(join(folder, ABOUT), model);
  const state = await loadState(join(folder, STATE), model, device, stored);
  try {
    if (!stored) return { model, state, store: null };
    const { lengths } = state.memory;
    const store = await reopen(join(folder, MEMORY), model, lengths.shape, { ...options, folder: options.folder ?? folder });
    const chunks = chunksIn(state.memory);
    let tokens = 0;
    for (const n of (await lengths.read()).subarray(0, chunks)) tokens += n; // those of the first row
    standsAt(store, lengths, { chunks, tokens });
    return { model: model.withMemory(store), state, store };
  } catch (error) {
    dispose(state);
    throw error;
  }
}

/** Whether keys and values lived in a store. */
async function readAbout(path: string, model: Drt): Promise<boolean> {
  const text = await readFile(path, "utf8").catch((error: unknown) => Promise.reject(fileError("read", path, error)));
  const about = parseJson(text, path);
  check(isJsonObject(about) && about["format"] === FORMAT && about["version"] === VERSION, "E_FORMAT", () =>
    `${path}: does not describe a saved stream of version ${VERSION}`);
  const { config, memory } = about;
  check(isJsonObject(config ?? null) && (memory === "store" || memory === "state"), "E_FORMAT", () => `${path}: lacks config or memory`);
  checkModel(path, config as object, model);
  return memory === "store";
}

/** Throws `E_CONFIG` naming the first field that differs. */
function checkModel(path: string, saved: object, model: Drt): void {
  const [theirs, ours] = [saved, model.config].map((config) => new Map(Object.entries(config).map(([name, value]) => [name, JSON.stringify(value)])));
  for (const name of new Set([...ours!.keys(), ...theirs!.keys()])) {
    check(ours!.get(name) === theirs!.get(name), "E_CONFIG", () =>
      `${path}: is of another model: its ${quote(name)} is ${theirs!.get(name) ?? "absent"}, that of this model ${ours!.get(name) ?? "absent"}`);
  }
}

async function loadState(path: string, model: Drt, device: Device, stored: boolean): Promise<DrtState> {
  const source = await openFile(path);
  try {
    const file = await openSafetensors(source);
    checkShapes(path, file, model.settings, stored);
    const loaded = await file.loadAll(device);
    try {
      const chunks = loaded["memory.lengths"]!.shape[1]!;
      await checkRange(path, "memory.lengths", loaded, 0, model.settings.chunk);
      for (const group of model.settings.groups.keys()) await checkRange(path, `retrieved.${group}.indices`, loaded, -1, chunks - 1);
    } catch (error) {
      dispose(loaded);
      throw error;
    }
    return scope(() => mapTree(emptyState(model.settings, 1, device, "f32"), (_, name) => loaded[name]!));
  } finally {
    await source.close();
  }
}

/** Throws `E_FORMAT` unless the file holds the tensors of a state, in shapes that fit each other. */
function checkShapes(path: string, { tensors }: Safetensors, c: DrtConfig, stored: boolean): void {
  const of = (name: string): readonly number[] => (Object.hasOwn(tensors, name) ? tensors[name]!.shape : []);
  const [batch = 0, chunks = 0] = of("memory.lengths");
  const heads = [c.keyHeads, c.headSize];
  const window = [batch, of("windows.0.k")[1] ?? 0, ...heads];
  const contents = [batch, stored ? 0 : chunks, c.chunk, ...heads];
  const wanted: Record<string, readonly number[]> = {};
  for (let i = 0; i < decoderLayers(c); i++) wanted[`windows.${i}.k`] = wanted[`windows.${i}.v`] = window;
  wanted["pending"] = [batch, Math.min(of("pending")[1] ?? 0, c.chunk - 1), c.width];
  for (const group of c.groups.keys()) wanted[`retrieved.${group}.indices`] = wanted[`retrieved.${group}.weights`] = [batch, 1, c.topK];
  Object.assign(wanted, {
    "memory.lengths": [batch, chunks], "memory.landmarks": [batch, chunks, c.width], "memory.keys": contents, "memory.values": contents,
  });
  check(window[1]! < c.window, "E_FORMAT", () => `${path}: its windows have ${window[1]} positions; at most ${c.window - 1} were expected`);
  for (const [name, shape] of Object.entries(wanted)) {
    check(Object.hasOwn(tensors, name) && showShape(of(name)) === showShape(shape), "E_FORMAT", () =>
      `${path}: tensor ${name} should have shape ${showShape(shape)}, but ${Object.hasOwn(tensors, name) ? `has ${showShape(of(name))}` : "is missing"}`);
    const whole = name === "memory.lengths" || name.endsWith("indices");
    check(/^[IU]/.test(tensors[name]!.dtype) === whole, "E_FORMAT", () => `${path}: tensor ${name} can't be ${tensors[name]!.dtype}`);
  }
  const unknown = Object.keys(tensors).find((name) => !Object.hasOwn(wanted, name));
  check(unknown === undefined, "E_FORMAT", () => `${path}: holds ${quote(unknown!)}, which is not part of a state of this model`);
}

async function checkRange(path: string, name: string, loaded: Record<string, Tensor>, least: number, most: number): Promise<void> {
  for (const value of await loaded[name]!.read()) {
    check(value >= least && value <= most, "E_FORMAT", () => `${path}: tensor ${name} holds ${value}; it must lie in ${least} ... ${most}`);
  }
}

/** A store that begins with the records of a file. */
async function reopen(path: string, model: Drt, [batch, chunks]: readonly number[], options: ResumeStreamOptions & { folder: string }): Promise<ChunkStore> {
  const { tier = "disk", files = nodeFiles } = options;
  const file = await files.open(path, "read").catch((error: unknown) => Promise.reject(fileError("read", path, error)));
  let kept = false;
  try {
    const { size } = await file.stat();
    const header = await readHeader(file, path, size);
    checkModel(path, header.format.config, model);
    const format = streamFormat(model.settings, batch!);
    for (const name of ["batch", "chunk", "keyHeads", "headSize"] as const) {
      check(header.format[name] === format[name], "E_FORMAT", () => `${path}: header: ${name} is ${header.format[name]}, but the stream's is ${format[name]}`);
    }
    const bytes = recordBytes(format, header.dtype);
    const [records, wanted] = [batch! * chunks!, header.start + batch! * chunks! * bytes];
    check(size === wanted, "E_FORMAT", () =>
      `${path}: has ${size} bytes, but the stream's ${chunks} chunks take ${wanted}; the file was ${size < wanted ? "cut short" : "changed"}`);
    if (tier === "host") return await toHost({ file, path, header, records });
    const store = await openDiskStore(options, { file, path, header, records });
    kept = true;
    return store;
  } finally {
    if (!kept) await file.close();
  }
}

async function toHost({ file, path, header: { format, dtype, start }, records }: SavedRecords): Promise<ChunkStore> {
  const store = hostStore({ dtype });
  await store.begin(format);
  const bytes = recordBytes(format, dtype);
  const most = Math.max(1, Math.floor(PIECE / bytes));
  for (let from = 0; from < records; from += most) {
    const piece = new Uint8Array(Math.min(most, records - from) * bytes);
    await readAll(file, path, piece, start + from * bytes);
    store.append(piece);
  }
  return store;
}
