/**
 * What is worked out from files is kept in a folder of the user's, by the content of those files, and may be removed at any time: it is
 * made again. An entry appears whole or not at all.
 */
import { createHash } from "node:crypto";
import { readFile, realpath, stat, statfs } from "node:fs/promises";
import { homedir } from "node:os";
import { join, resolve, sep } from "node:path";
import { check, LenggenError } from "@lenggen/kernels";
import { lockTarget, makeFolder, sweepTargets, writeWhole } from "@lenggen/kernels/node";
import { FileChunks } from "./fileChunks";

/** Where it is: `LENGGEN_CACHE`, or the folder `lenggen` where the system keeps what can be made again. */
export function cacheFolder(): string {
  const { LENGGEN_CACHE, XDG_CACHE_HOME, LOCALAPPDATA } = process.env;
  if (LENGGEN_CACHE) return LENGGEN_CACHE;
  return join(XDG_CACHE_HOME || LOCALAPPDATA || join(homedir(), ".cache"), "lenggen");
}

/** How far a long piece of work is. */
export interface CacheProgress {
  /** The file that is read. */
  readonly path: string;
  /** Its bytes that were read, and all of them. */
  readonly done: number;
  readonly total: number;
  readonly kind: "hash" | "work" | "wait";
  /** What is done, in words. */
  readonly note: string;
}

/** What every long piece of work takes. */
export interface CacheOptions {
  /** Stops with `E_INTERRUPTED`. */
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: CacheProgress) => void;
}

/** A file that changed so short ago may change again within the same tick of its clock, and look the same. */
const SETTLED_MS = 2_000;
/** Room that is left on a disk: this much, or this share of a small one. */
const LEFT = { bytes: 2 ** 30, share: 0.02 };
/** Bytes between two looks at the room. */
const LOOK = 1 << 26;
const OTHER_CACHE = "the environment variable LENGGEN_CACHE names another folder";
/** How often the cache may be removed while an entry is made. */
const TRIES = 4;
/** Milliseconds between two looks whether it was. */
const LOOK_MS = 1_000;

/** What a file holds, known by its SHA-256. */
export interface Content {
  readonly hash: string;
  readonly size: number;
  /** Throws `E_IO` when the file is another one by now. */
  checkUnchanged(): Promise<void>;
}

/**
 * The content of a file. Its hash, once worked out, is remembered beside the file's size, times and number, of which one changes with
 * every write: a file that is as it was needs no reading. Throws `E_IO` when it changes meanwhile.
 */
export async function contentOf(path: string, { signal, onProgress }: CacheOptions = {}): Promise<Content> {
  const begun = Date.now();
  const before = await identity(path);
  const checkUnchanged = async (): Promise<void> => {
    const { text } = await identity(path);
    check(text === before.text, "E_IO", () => `${path}: changed while it was read; try again when nothing writes to it`);
  };
  const remembered = `${sha256(await realpath(path))}.json`;
  const known = await readFile(join(await madeFolder("hashes"), remembered), "utf8").then(parseKnown, () => undefined);
  if (known?.identity === before.text) return { hash: known.hash, size: before.size, checkUnchanged };
  const hash = createHash("sha256");
  const file = new FileChunks(path, signal);
  for await (const bytes of file) {
    hash.update(bytes);
    onProgress?.({ path, done: file.read, total: before.size, kind: "hash", note: "looking whether it is known" });
  }
  await checkUnchanged();
  const digest = hash.digest("hex");
  if (begun - before.changed > SETTLED_MS) // into a folder that may have been removed meanwhile
    await writeWhole(join(await madeFolder("hashes"), remembered), [Buffer.from(JSON.stringify({ identity: before.text, hash: digest }))]);
  return { hash: digest, size: before.size, checkUnchanged };
}

async function identity(path: string): Promise<{ text: string; size: number; changed: number }> {
  const { dev, ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
  const changed = Number((mtimeNs > ctimeNs ? mtimeNs : ctimeNs) / 1_000_000n);
  return { text: [dev, ino, size, mtimeNs, ctimeNs].join(" "), size: Number(size), changed };
}

function parseKnown(text: string): { identity: string; hash: string } | undefined {
  try {
    const { identity: of, hash } = JSON.parse(text) as Record<string, unknown>;
    return typeof of === "string" && typeof hash === "string" && /^[0-9a-f]{64}$/.test(hash) ? { identity: of, hash } : undefined;
  } catch {
    return undefined; // written by another version, or damaged: worked out again
  }
}

export const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");

/**
 * The entry of that name in a part of the cache: opened where there is one, else made. `open` gives undefined for one that is damaged.
 * Of several processes one makes it, and the others wait. Where somebody removes the cache meanwhile, it is made again. Throws what
 * `chunks` throws, and `E_IO` when the disk fills up.
 */
export async function cacheEntry<T>(
  part: string, name: string, open: (path: string) => Promise<T | undefined>, chunks: () => AsyncIterable<Uint8Array>,
  options: CacheOptions & { readonly onWait?: () => void } = {},
): Promise<T> {
  for (let tries = 0; tries < TRIES; tries++) {
    const folder = await madeFolder(part);
    try {
      const made = await entryIn(folder, name, open, chunks, options);
      if (made !== undefined) return made;
    } catch (error) {
      if (!isRemoved(error, folder)) throw error;
    }
  }
  throw new LenggenError("E_IO", `${cacheFolder()}: somebody removes it again and again while something is made there; ${OTHER_CACHE}`);
}

/** One attempt; undefined where what was made is gone at once. */
async function entryIn<T>(folder: string, name: string, open: (path: string) => Promise<T | undefined>,
  chunks: () => AsyncIterable<Uint8Array>, { signal, onWait }: CacheOptions & { readonly onWait?: () => void }): Promise<T | undefined> {
  const path = join(folder, name);
  const there = await open(path);
  if (there !== undefined) return there;
  const lock = await lockTarget(path, { wait: true, signal, onWait });
  try {
    const made = await open(path); // by who held the lock
    if (made !== undefined) return made;
    await sweepTargets(folder);
    await writeWhole(path, watched(folder, chunks()));
    return await open(path);
  } finally {
    await lock.release();
  }
}

/** Whether an error says that a folder of the cache, or what was being written in it, is not there any more. */
function isRemoved(error: unknown, folder: string): boolean {
  const { code, path } = ((error as Error).cause ?? {}) as NodeJS.ErrnoException;
  return code === "ENOENT" && path !== undefined && `${resolve(path)}${sep}`.startsWith(`${resolve(folder)}${sep}`);
}

async function madeFolder(part: string): Promise<string> {
  const folder = join(cacheFolder(), part);
  try {
    await makeFolder(folder);
  } catch (error) {
    if (!(error instanceof LenggenError)) throw error;
    throw new LenggenError(error.code, `${error.message}; ${OTHER_CACHE}`, { cause: error });
  }
  return folder;
}

/** Throws `E_IO` when a disk has not so many bytes of room beside what is to be left. */
export async function checkRoom(folder: string, needed: number): Promise<void> {
  const found = await statfs(folder).catch(() => undefined);
  if (!found || found.blocks === 0) return; // a file system that does not say: the write does
  const [free, left] = [found.bavail * found.bsize, Math.min(LEFT.bytes, found.blocks * found.bsize * LEFT.share)];
  check(free - left >= needed, "E_IO", () =>
    `${folder}: the disk has ${mebibytes(free)} free, of which ${mebibytes(left)} are left to others; this needs ${needed > 0
      ? mebibytes(needed) : "more"}. Make room, or name a folder on another disk with the environment variable LENGGEN_CACHE`);
}

const mebibytes = (bytes: number): string => `${Math.ceil(bytes / 2 ** 20).toLocaleString("en-GB")} MiB`;

/** Passes chunks on while the disk has room and the folder is there: a file that was removed can be written to for hours. */
async function* watched(folder: string, chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
  let unseen = Infinity;
  let looked = performance.now();
  for await (const chunk of chunks) {
    unseen += chunk.length;
    if (unseen > LOOK) {
      await checkRoom(folder, 0);
      unseen = 0;
    }
    if (performance.now() - looked > LOOK_MS) {
      await stat(folder);
      looked = performance.now();
    }
    yield chunk;
  }
}
