/** Files in Node: reading by ranges, and writing that leaves a whole file or none. */
import { randomUUID } from "node:crypto";
import { type FileHandle, mkdir, open, rename, rm, stat, unlink } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { check, LenggenError } from "../errors";
import type { ByteSource } from "../source";

/** Most bytes that one call to the system is asked for: Node takes less than 2^31. */
const MOST_AT_ONCE = 1 << 30;

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file or folder",
  ENOTDIR: "a part of the path is not a folder",
  EACCES: "permission is denied",
  EPERM: "it is not permitted",
  EROFS: "the file system is read-only",
  EISDIR: "it is a folder",
  EEXIST: "there is a file of that name",
  ENOSPC: "the disk is full",
  EDQUOT: "the disk quota is used up",
  EMFILE: "too many files are open",
  ENAMETOOLONG: "the name is too long",
};

/** An error of the file system as a {@link LenggenError} that names the path and the reason in words; others as they are. */
export function fileError(action: string, path: string, error: unknown): unknown {
  const { code, message } = error as NodeJS.ErrnoException;
  if (error instanceof LenggenError || code === undefined) return error;
  const reason = Object.hasOwn(REASONS, code) ? `${REASONS[code]} (${code})` : message;
  return new LenggenError(code === "ENOENT" ? "E_MISSING" : "E_IO", `${path}: can't be ${action}: ${reason}`, { cause: error });
}

/** Opens a file for reading by ranges; close it when done. Throws `E_MISSING` or `E_IO`. */
export async function openFile(path: string): Promise<ByteSource> {
  let handle: FileHandle | undefined;
  try {
    // Before it is opened, as who opens a pipe waits for a writer, and no signal ends that.
    check((await stat(path)).isFile(), "E_IO", () => `${path}: can't be read: it is not a regular file`);
    handle = await open(path, "r");
    return sourceOf(handle, (await handle.stat()).size, path);
  } catch (error) {
    await handle?.close();
    throw fileError("read", path, error);
  }
}

function sourceOf(handle: FileHandle, size: number, path: string): ByteSource {
  return {
    name: path,
    size,
    async read(offset, length, into) {
      check(offset >= 0 && length >= 0 && offset + length <= size, "E_ARGUMENT", () =>
        `${path}: ${length} bytes from ${offset} are beyond the end at ${size}`);
      const bytes = into ?? new Uint8Array(length);
      let done = 0;
      try {
        while (done < length) {
          const { bytesRead } = await handle.read(bytes, done, Math.min(MOST_AT_ONCE, length - done), offset + done);
          if (bytesRead === 0) break; // the file has shrunk: the caller sees fewer bytes
          done += bytesRead;
        }
      } catch (error) {
        throw fileError("read", path, error);
      }
      return bytes.subarray(0, done);
    },
    async close() {
      await handle.close();
    },
  };
}

/** Puts the chunks into a file, whole, with `fsync`. */
async function writeChunks(path: string, chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<void> {
  const handle = await open(path, "wx");
  try {
    for await (const chunk of chunks) {
      for (let done = 0; done < chunk.length; )
        done += (await handle.write(chunk, done, Math.min(MOST_AT_ONCE, chunk.length - done))).bytesWritten;
    }
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Makes a rename in a folder survive a power cut. Windows can't open folders; there the rename itself is durable enough. */
export async function syncFolder(folder: string): Promise<void> {
  if (process.platform === "win32") return;
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/**
 * Makes a folder with all that leads to it; one that is there already stays as it is. Throws `E_IO` when it can't be made.
 * Step by step, since Node's own `recursive` never returns where a folder exists but takes no new ones, as in /proc.
 */
export async function makeFolder(path: string): Promise<void> {
  try {
    await makePath(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "ENOENT") throw fileError("made", path, error);
    const message = path === "" ? "a folder was asked for by an empty path"
      : `${path}: can't be made: nothing can be made in that place (ENOENT)`;
    throw new LenggenError("E_IO", message, { cause: error });
  }
}

async function makePath(path: string): Promise<void> {
  try {
    await makeOne(path);
  } catch (error) {
    const parent = dirname(path);
    if ((error as NodeJS.ErrnoException).code !== "ENOENT" || parent === path) throw error;
    if (!(await exists(parent))) await makePath(parent);
    await makeOne(path); // once more: somebody else may have made the folder that leads to it
  }
}

async function makeOne(path: string): Promise<void> {
  try {
    await mkdir(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST" || !(await stat(path)).isDirectory()) throw error;
  }
}

function exists(path: string): Promise<boolean> {
  return stat(path).then(() => true, () => false);
}

/** A name of its own beside a path, for what is to be renamed to it once it is whole. */
export function besideName(path: string): string {
  return join(dirname(path), `.${basename(path)}.${randomUUID()}.partial`);
}

/**
 * Makes sure that a file or folder can be put at a path whose folder is there: for who would else learn it after hours of work. Throws
 * `E_MISSING` or `E_IO`.
 */
export async function checkWritable(path: string): Promise<void> {
  const beside = besideName(path);
  try {
    await (await open(beside, "wx")).close();
    await rm(beside, { force: true }); // whoever writes there may have taken it for what a killed one left
  } catch (error) {
    throw fileError("written", path, error);
  }
}

/**
 * Writes a file whole or not at all: beside the target, to disk, then renamed over it. When anything fails
 * (also the source of the chunks), the target is as before and the temporary file is gone. Throws `E_MISSING`
 * when the folder does not exist, `E_IO` for other failures of the file system, and what `chunks` throws.
 */
export async function writeWhole(path: string, chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<void> {
  const beside = besideName(path);
  try {
    await writeChunks(beside, chunks);
    await rename(beside, path);
    await syncFolder(dirname(path));
  } catch (error) {
    await unlink(beside).catch(() => {}); // it may never have been made
    throw fileError("written", path, error);
  }
}
