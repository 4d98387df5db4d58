/** States of streams in files, as `generate --state` and `--save-state` use them: a file, or a folder where old chunks lie in a store. */
import { stat } from "node:fs/promises";
import { dirname } from "node:path";
import type { ChunkStore, DrtState } from "@lenggen/gca";
import { resumeStream, saveStream } from "@lenggen/gca/node";
import {
  type ByteSource, check, dispose, isSavedState, loadState, type Parameters, saveState, type SequenceModel, type StreamPlace, type Tree,
} from "@lenggen/kernels";
import { checkWritable, makeFolder, openFile, writeWhole } from "@lenggen/kernels/node";
import type { Tokenizer } from "@lenggen/data";
import { hasChunks, keepingChunks, type Tier } from "./chunks";

/** What a generation begins with. */
export interface Beginning {
  /** The model, with its chunks where they are to live. */
  readonly model: SequenceModel;
  /** Undefined when chunks live on the device, or there are none. */
  readonly store?: ChunkStore;
  /** Absent when nothing has been read. */
  readonly state?: Tree;
  readonly place?: StreamPlace;
}

/**
 * Makes sure that a state goes on in the ids of the tokenizer that it was made with: those of another mean other texts. States of before
 * this was recorded are taken as they are. Throws `E_CONFIG`.
 */
export function checkStateTokenizer(
  path: string, { tokenizer: made }: StreamPlace, { hash, name }: Pick<Tokenizer, "hash" | "name">,
): void {
  check(made === undefined || made === hash, "E_CONFIG", () =>
    `--state ${path}: was made with another tokenizer (${made!.slice(0, 12)}) than ${name} (${hash.slice(0, 12)}), whose ids mean other `
      + "texts; go on with the one that it was made with: leave --tokenizer out, or name that one by it");
}

/** What a generation ends with. */
export interface Ending {
  readonly state: Tree;
  readonly place: StreamPlace;
}

/**
 * Runs a body from a saved state, or from nothing without a path. State and store are freed afterwards. Throws `E_MISSING`, and for what
 * does not belong to this model and tier `E_CONFIG`, `E_WEIGHTS`, `E_SHAPE`, `E_FORMAT` or `E_ARGUMENT`.
 */
export async function beginningAt<R>(
  path: string | undefined, model: SequenceModel, parameters: Parameters, tier: Tier, body: (beginning: Beginning) => Promise<R>,
): Promise<R> {
  if (path === undefined) return keepingChunks(model, tier, ".", (writer, store) => body({ model: writer, store }));
  if (await isFolder(path)) return fromStream(path, model, parameters, tier, body);
  check(tier === "device", "E_ARGUMENT", () =>
    `--memory ${tier}: ${path} holds all that its model remembers, for the device; leave --memory out`);
  const loaded = await reading(path, (source) => loadState(model, parameters, source, { batch: 1 }));
  try {
    return await body({ model, ...loaded });
  } finally {
    dispose(loaded.state);
  }
}

async function fromStream<R>(
  path: string, model: SequenceModel, parameters: Parameters, tier: Tier, body: (beginning: Beginning) => Promise<R>,
): Promise<R> {
  check(hasChunks(model), "E_CONFIG", () =>
    `${path}: is a folder, as streams of models that retrieve are; give the file of a state of this ${model.family}`);
  const { model: writer, state, place, store } = await resumeStream(path, model, parameters,
    { tier: tier === "host" ? tier : "disk", folder: "." });
  try {
    const rows = state.memory.lengths.shape[0];
    check(rows === 1, "E_SHAPE", () => `${path}: holds ${rows} streams side by side; 1 was expected`);
    check((store === null) === (tier === "device"), "E_ARGUMENT", () =>
      `--memory ${tier}: the chunks of ${path} ${store ? "lie in a store; give host or disk" : "are for the device; leave --memory out"}`);
    return await body({ model: writer, store: store ?? undefined, state, place });
  } finally {
    dispose(state);
    await store?.close();
  }
}

/**
 * Makes sure, before the work, that a state can be saved there: what stands there is replaced only when it is a saved state too, and a
 * folder never. Throws `E_EXISTS`, or `E_IO` where nothing can be written.
 */
export async function checkSavePlace(path: string, tier: Tier): Promise<void> {
  if (await exists(path)) {
    check(tier === "device" && !(await isFolder(path)), "E_EXISTS", () =>
      `--save-state ${path}: is there already; save it under another name`);
    check(await reading(path, isSavedState), "E_EXISTS", () =>
      `--save-state ${path}: is there already and no saved state; it is not written over`);
  }
  await makeFolder(dirname(path));
  await checkWritable(path);
}

/** Saves where a generation ended. */
export async function saveEnding(
  path: string, { model, store }: Beginning, parameters: Parameters, { state, place }: Ending,
): Promise<void> {
  if (store && hasChunks(model)) await saveStream(path, model, parameters, state as DrtState, store, place);
  else await writeWhole(path, saveState(model, parameters, state, place));
}

async function reading<R>(path: string, body: (source: ByteSource) => Promise<R>): Promise<R> {
  const source = await openFile(path);
  try {
    return await body(source);
  } finally {
    await source.close();
  }
}

const exists = (path: string): Promise<boolean> => stat(path).then(() => true, () => false);
const isFolder = (path: string): Promise<boolean> => stat(path).then((found) => found.isDirectory(), () => false);
