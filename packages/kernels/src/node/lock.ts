/**
 * One process at a time in a folder, by a file in it that says who. It also holds on file systems that machines share:
 *
 *  * The file appears whole, by a hard link, which only one of several can make; NFS keeps that promise.
 *  * A holder on this machine is asked for by its process number and start, so that one that was killed is followed at once.
 *  * A holder elsewhere writes a beat into its file every ten seconds. Whoever comes waits for one, and follows it when none came for
 *    two minutes. Ages are differences of times that the file system gave, so that clocks need not agree.
 *  * A file whose holder is gone is replaced only by who holds a second lock, named after that very file: two that find it at the same
 *    time can't both follow.
 */
import { randomUUID } from "node:crypto";
import { link, open, readdir, readFile, rename, rm, stat, unlink, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { LenggenError } from "../errors";
import { isJsonObject, type JsonObject, parseJson } from "../strictJson";
import { fileError } from "./files";
import { isAlive, type Owner, parseOwner, thisProcess } from "./owner";

/** Options of {@link lockFolder}. */
export interface LockOptions {
  /** Name of the file; `.lock` unless given. */
  readonly name?: string;
  /** What is locked, for errors; the folder unless given. */
  readonly what?: string;
  /** Waits until whoever has it has ended, in the place of an error. */
  readonly wait?: boolean;
  /** Stops waiting: for that, or for the beat of a process on another machine. */
  readonly signal?: AbortSignal;
  /** Called once when there is a wait, with who holds the folder, in words. */
  readonly onWait?: (holder: string) => void;
  /** Milliseconds from beat to beat, and how long none came from a process that counts as gone; for tests. */
  readonly beat?: number;
  readonly expiry?: number;
}

/** A folder that this process alone works in, until it releases it. */
export interface FolderLock {
  /** Throws `E_LOCKED` when another process has followed, since this one was not heard of for too long. Looks at most once a second. */
  check(): Promise<void>;
  release(): Promise<void>;
}

/** What a lock's file says. */
interface Holder {
  readonly id: string;
  readonly owner: Owner | undefined;
  readonly since: string;
  /** Changes with every beat. */
  readonly text: string;
}

const BEAT_MS = 10_000;
const EXPIRY_MS = 120_000;
/** Where the count of beats stands, in bytes: at one place in all locks, so that a late beat harms none that came after. */
const BEAT_AT = 1024;
/** Between two looks while another process works. */
const POLL_MS = 250;
/** How old what is known of the own lock may be. */
const KNOWN_MS = 1_000;
/** Answers of file systems that have no hard links. */
const NO_LINKS: ReadonlySet<string> = new Set(["ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EPERM", "EINVAL"]);

/** Names in a folder that belong to the lock of that name, and say nothing about what is in the folder. */
export const isLockFile = (entry: string, name = ".lock"): boolean =>
  entry === name || (entry.startsWith(`${name}.`) && entry.endsWith(".partial"));

/**
 * Takes the lock of a folder that exists. Throws `E_LOCKED` with the process and host that hold it, `E_INTERRUPTED` when the signal comes
 * while it waits, and `E_MISSING` or `E_IO` when the file can't be made.
 */
export async function lockFolder(folder: string, options: LockOptions = {}): Promise<FolderLock> {
  const { name = ".lock", beat = BEAT_MS } = options;
  const path = join(folder, name);
  const id = randomUUID();
  const text = encode({ id, ...(await thisProcess()), since: new Date().toISOString() });
  let told = false;
  const onWait = (holder: string): void => {
    if (!told) options.onWait?.(holder);
    told = true;
  };
  try {
    await acquire(path, text, { what: folder, ...options, onWait });
    for (const entry of await readdir(folder)) {
      if (entry !== name && isLockFile(entry, name)) await rm(join(folder, entry), { force: true });
    }
  } catch (error) {
    throw fileError("locked", folder, error);
  }
  return held(path, folder, { id, text, beat });
}

function held(path: string, folder: string, { id, text, beat }: { id: string; text: string; beat: number }): FolderLock {
  let beats = 0;
  let beating = Promise.resolve();
  const next = async (before: Promise<void>): Promise<void> => {
    await before;
    const holder = await look(path);
    if (holder === undefined) await put(path, text); // somebody removed it
    else if (holder.id === id) await writeBeat(path, ++beats);
  };
  const timer = setInterval(() => {
    beating = next(beating).catch(() => {}); // a disk that fails is reported by what writes there
  }, beat);
  timer.unref();
  let looked = -Infinity;
  return {
    async check() {
      if (performance.now() - looked < KNOWN_MS) return;
      looked = performance.now();
      const holder = await look(path);
      if (holder === undefined || holder.id === id) return;
      looked = -Infinity;
      throw new LenggenError("E_LOCKED",
        `${folder}: ${words(holder)} has taken it over, as this process was not heard of for too long; nothing more is written there`);
    },
    async release() {
      clearInterval(timer);
      await beating;
      if ((await look(path))?.id === id) await unlink(path).catch(() => {});
    },
  };
}

/** Takes the lock at that path, which may stand for a lock of the folder or for the right to follow a holder that is gone. */
async function acquire(path: string, text: string, options: LockOptions): Promise<void> {
  while (!(await put(path, text))) {
    const holder = await look(path);
    if (holder === undefined) continue; // it was released just now
    if (!(await isGone(path, holder, options))) {
      const { what, wait, onWait } = options;
      if (!wait) {
        throw new LenggenError("E_LOCKED",
          `${what} is in use: ${words(holder)} works there since ${holder.since}; wait until it has ended, or choose another place`);
      }
      onWait?.(words(holder));
      await pause(POLL_MS, options);
      continue;
    }
    const right = `${path}.${holder.id}.partial`;
    await acquire(right, text, options);
    try {
      if ((await look(path))?.id !== holder.id) continue; // somebody else has followed, and may be done
      await replace(path, text);
      return;
    } finally {
      await rm(right, { force: true });
    }
  }
}

/** Makes the file, unless there is one. */
async function put(path: string, text: string): Promise<boolean> {
  const partial = await writePartial(path, text);
  try {
    await link(partial, path);
    return true;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? "";
    // Two names: NFS did make it, but its answer was lost and asked for again.
    if (code === "EEXIST") return await stat(partial).then(({ nlink }) => nlink > 1, () => false);
    if (code === "ENOENT") return false; // a holder has tidied up
    if (NO_LINKS.has(code)) return await putWithoutLinks(path, text);
    throw error;
  } finally {
    await rm(partial, { force: true });
  }
}

async function putWithoutLinks(path: string, text: string): Promise<boolean> {
  return writeFile(path, text, { flag: "wx" }).then(() => true, (error: NodeJS.ErrnoException) => {
    if (error.code === "EEXIST") return false;
    throw error;
  });
}

async function replace(path: string, text: string): Promise<void> {
  await rename(await writePartial(path, text), path);
}

/** A file beside the lock, whose time is the file system's now. */
async function writePartial(path: string, text: string): Promise<string> {
  const partial = join(dirname(path), `${basename(path)}.${randomUUID()}.partial`);
  await writeFile(partial, text, { flag: "wx" });
  return partial;
}

async function writeBeat(path: string, beats: number): Promise<void> {
  const handle = await open(path, "r+");
  try {
    await handle.write(String(beats).padStart(10), BEAT_AT);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function encode(about: Owner & { readonly id: string; readonly since: string }): string {
  const padding = BEAT_AT - Buffer.byteLength(JSON.stringify(about));
  return `${JSON.stringify(about)}${" ".repeat(Math.max(0, padding))}`;
}

/** What the file says; undefined when there is none. One that says nothing sensible is known by its place on the disk. */
async function look(path: string): Promise<Holder | undefined> {
  try {
    const text = await readFile(path, "utf8");
    const { id, since, ...owner } = parsed(text.slice(0, BEAT_AT));
    if (typeof id === "string" && typeof since === "string") return { id: basename(id), owner: parseOwner(owner), since, text };
    const { ino, birthtimeMs } = await stat(path);
    return { id: `${ino}-${Math.round(birthtimeMs)}`, owner: undefined, since: new Date(birthtimeMs).toISOString(), text };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

function parsed(text: string): JsonObject {
  try {
    const about = parseJson(text, "lock");
    return isJsonObject(about) ? about : {};
  } catch {
    return {};
  }
}

function words({ owner }: Holder): string {
  return owner === undefined ? "a process that can't be told" : `process ${owner.process} on ${owner.host}`;
}

/** Whether a holder is gone; where only its beats can tell, waits for the next one, or for too long. */
async function isGone(path: string, holder: Holder, options: LockOptions): Promise<boolean> {
  const alive = holder.owner && (await isAlive(holder.owner));
  if (alive !== undefined) return !alive;
  const { onWait, expiry = EXPIRY_MS } = options;
  const [from, left] = [performance.now(), expiry - (await silence(path))];
  for (let waited = 0; waited < left; waited = performance.now() - from) {
    const now = await look(path);
    if (now === undefined || now.id !== holder.id) return true; // to be seen anew
    if (now.text !== holder.text) return false;
    if (waited === 0) onWait?.(words(holder));
    await pause(Math.min(500, expiry / 10), options);
  }
  return true;
}

async function pause(milliseconds: number, { signal }: LockOptions): Promise<void> {
  if (signal?.aborted) throw new LenggenError("E_INTERRUPTED", "interrupted");
  await new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** Milliseconds since the last beat, by the file system's own clock. */
async function silence(path: string): Promise<number> {
  const partial = await writePartial(path, "");
  try {
    const [now, then] = [await stat(partial), await stat(path)];
    return now.mtimeMs - then.mtimeMs;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return 0;
    throw error;
  } finally {
    await rm(partial, { force: true });
  }
}
