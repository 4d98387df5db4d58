/**
 * A stream on disk, to be continued later or by another process with the same bits:
 *
 *   stream.json   state.safetensors   memory.chunks
 *
 * The last is there when keys and values lived in a store. The folder appears whole or not at all.
 */
import { mkdir, readFile, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import {
  check, dispose, isJsonObject, type LoadedState, loadState, type Parameters, parseJson, quote, saveState, type StreamPlace,
} from "@lenggen/kernels";
import { besideName, fileError, makeFolder, openFile, syncFolder, writeWhole } from "@lenggen/kernels/node";
import type { DrtConfig } from "../drt/config";
import { checkAllHere, chunksIn } from "../drt/memory";
import type { Drt } from "../drt/model";
import type { DrtState } from "../drt/state";
import { stateFiles } from "../drt/stateFiles";
import { streamFormat } from "../drt/stored";
import { hostStore } from "../memory/hostStore";
import { recordBytes } from "../memory/records";
import type { ChunkStore } from "../memory/store";
import { exclusively, placeOf, recordPlace } from "../memory/streams";
import { encodeHeader, type FileSystem, nodeFiles, readAll, readHeader } from "./chunkFile";
import { openDiskStore, type SavedRecords } from "./diskStore";

const FORMAT = "lenggen-stream";
const VERSION = 1;
const [ABOUT, STATE, MEMORY] = ["stream.json", "state.safetensors", "memory.chunks"] as const;
const START: StreamPlace = { read: 0, seed: 0, drawn: 0 };
/** Bytes of records that are copied at a time. */
const PIECE = 1 << 22;

/**
 * Saves a state, and the chunks that it stands behind, into a new folder; `store`: the one that the state was made with, null for a
 * memory on the device; `place`: where it stands, for who goes on generating. State and store stay as they are. Throws `E_EXISTS` when
 * there is something of that name, `E_ARGUMENT` for a state that is not the store's, `E_IO` when a file fails.
 */
export async function saveStream(
  folder: string, model: Drt, parameters: Parameters, state: DrtState, store: ChunkStore | null = null, place: StreamPlace = START,
): Promise<void> {
  const bytes = (): AsyncIterable<Uint8Array> => saveState(withChunksIn(model, store !== null), parameters, state, place);
  if (store) return exclusively(store, () => write(folder, model, state, store, bytes()));
  return write(folder, model, state, null, bytes());
}

async function write(folder: string, model: Drt, state: DrtState, store: ChunkStore | null,
  bytes: AsyncIterable<Uint8Array>): Promise<void> {
  const { lengths } = state.memory;
  if (store) placeOf(store, lengths);
  else checkAllHere(state.memory);
  check(!(await exists(folder)), "E_EXISTS", () => `${folder}: is there already; save the stream under another name`);
  const parent = dirname(folder);
  const partial = besideName(folder);
  await makeFolder(parent);
  try {
    await mkdir(partial);
    const about = { format: FORMAT, version: VERSION, config: model.config, memory: store ? "store" : "state" };
    await writeWhole(join(partial, ABOUT), [new TextEncoder().encode(`${JSON.stringify(about, null, 2)}\n`)]);
    await writeWhole(join(partial, STATE), bytes);
    if (store) await writeWhole(join(partial, MEMORY), memoryOf(store, model.settings, lengths.shape));
    await rename(partial, folder);
    await syncFolder(parent);
  } catch (error) {
    await rm(partial, { recursive: true, force: true }).catch(() => {}); // the first error is the one to tell
    throw fileError("written", folder, error);
  }
}

function exists(path: string): Promise<boolean> {
  return stat(path).then(() => true, () => false);
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
  /** Where it stands, as it was given to `saveStream`. */
  readonly place: StreamPlace;
  /** Null when the memory is on the device. */
  readonly store: ChunkStore | null;
}

/**
 * Loads a stream that {@link saveStream} saved; what was saved stays as it is, however the stream goes on. Throws `E_MISSING` when there
 * is none, `E_CONFIG` when it is another model's, `E_WEIGHTS` when that model had other parameters, `E_FORMAT` for damaged files, `E_IO`
 * when a file fails.
 */
export async function resumeStream(folder: string, model: Drt, parameters: Parameters,
  options: ResumeStreamOptions = {}): Promise<ResumedStream> {
  const stored = await readAbout(join(folder, ABOUT), model);
  const { state, place } = await loadPart(join(folder, STATE), withChunksIn(model, stored), parameters);
  try {
    if (!stored) return { model, state, place, store: null };
    const { lengths } = state.memory;
    const store = await reopen(join(folder, MEMORY), model, lengths.shape, { ...options, folder: options.folder ?? folder });
    const chunks = chunksIn(state.memory);
    let tokens = 0;
    for (const n of (await lengths.read()).subarray(0, chunks)) tokens += n; // those of the first row
    recordPlace(store, lengths, { chunks, tokens });
    return { model: model.withMemory(store), state, place, store };
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
  const [theirs, ours] = [saved, model.config]
    .map((config) => new Map(Object.entries(config).map(([name, value]) => [name, JSON.stringify(value)])));
  for (const name of new Set([...ours!.keys(), ...theirs!.keys()])) {
    check(ours!.get(name) === theirs!.get(name), "E_CONFIG", () =>
      `${path}: is of another model: its ${quote(name)} is ${theirs!.get(name) ?? "absent"}, that of this model `
        + (ours!.get(name) ?? "absent"));
  }
}

/** The model, as states that are with their chunks (or, when these are in a store, without) know it. */
function withChunksIn(model: Drt, stored: boolean): Drt {
  return { ...model, stateFiles: stateFiles(model.settings, stored) };
}

async function loadPart(path: string, model: Drt, parameters: Parameters): Promise<LoadedState<DrtState>> {
  const source = await openFile(path);
  try {
    return await loadState(model, parameters, source, { unnamed: true });
  } finally {
    await source.close();
  }
}

/** A store that begins with the records of a file. */
async function reopen(path: string, model: Drt, [batch, chunks]: readonly number[],
  options: ResumeStreamOptions & { folder: string }): Promise<ChunkStore> {
  const { tier = "disk", files = nodeFiles } = options;
  const file = await files.open(path, "read").catch((error: unknown) => Promise.reject(fileError("read", path, error)));
  let kept = false;
  try {
    const { size } = await file.stat();
    const header = await readHeader(file, path, size);
    checkModel(path, header.format.config, model);
    const format = streamFormat(model.settings, batch!);
    for (const name of ["batch", "chunk", "kvHeads", "headSize"] as const) {
      check(header.format[name] === format[name], "E_FORMAT",
        () => `${path}: header: ${name} is ${header.format[name]}, but the stream's is ${format[name]}`);
    }
    const bytes = recordBytes(format, header.dtype);
    const [records, wanted] = [batch! * chunks!, header.start + batch! * chunks! * bytes];
    check(size === wanted, "E_FORMAT", () =>
      `${path}: has ${size} bytes, but the stream's ${chunks} chunks take ${wanted}; the file was `
        + (size < wanted ? "cut short" : "changed"));
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
