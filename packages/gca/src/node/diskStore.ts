/**
 * The chunk memory in a file. Memory does not grow with the stream: the file is written behind the running pass, and records used
 * last are kept for the next reads. The operating system frees the file with the process, whatever happens: where it can
 * be, its name is removed as soon as it is open.
 */
import { join } from "node:path";
import { check } from "@lenggen/kernels";
import { fileError } from "@lenggen/kernels/node";
import { RecordCache } from "../memory/cache";
import { checkStoreDType, recordBytes } from "../memory/records";
import type { ChunkStore, StoreDType, StreamFormat } from "../memory/store";
import { type ChunkFileHeader, encodeHeader, type FileSystem, freshName, nodeFiles, type OpenedFile, readAll, writeAll } from "./chunkFile";

const DEFAULT_CACHE_MIB = 16;

/** Options of {@link diskStore}. */
export interface DiskStoreOptions {
  /** Where the file is made. The system's temporary folder is often in memory: name one on a disk. */
  readonly folder: string;
  /** f32 unless given; half precision halves the file. */
  readonly dtype?: StoreDType;
  /** Host memory for records used last, in MiB; 16 unless given. Changes speed, not results. */
  readonly cacheMiB?: number;
  /** Leave the file behind when the store is closed. */
  readonly keep?: boolean;
  /** Node's unless given; for tests of failing disks. */
  readonly files?: FileSystem;
}

/** A {@link ChunkStore} in a file. */
export interface DiskStore extends ChunkStore {
  readonly tier: "disk";
  /** Of the file, whether it still has that name or not. */
  readonly path: string;
}

/** Records that a file holds already and that are only read: those before its own. */
export interface SavedRecords {
  readonly file: OpenedFile;
  readonly path: string;
  readonly header: ChunkFileHeader;
  readonly records: number;
}

/**
 * Makes a store with a file of its own. Throws `E_MISSING` when the folder does not exist, `E_IO` when the file can't be made, and
 * `E_ARGUMENT` for options out of range. Close it when done; where the system can't remove an open file's name (Windows), a process
 * that is killed leaves the file behind.
 */
export function diskStore(options: DiskStoreOptions): Promise<DiskStore> {
  return openDiskStore(options, null);
}

/** A store that goes on from saved records, which stay as they are; closing it closes their file. */
export async function openDiskStore(options: DiskStoreOptions, saved: SavedRecords | null): Promise<DiskStore> {
  const { folder, dtype = saved?.header.dtype ?? "f32", cacheMiB = DEFAULT_CACHE_MIB, keep = false, files = nodeFiles } = options;
  checkStoreDType(dtype);
  check(cacheMiB >= 0 && Number.isFinite(cacheMiB), "E_ARGUMENT", () => `disk store: cacheMiB ${cacheMiB} must be a number of at least 0`);
  const path = join(folder, freshName());
  try {
    const file = await files.open(path, "new");
    // Windows keeps the name of an open file; there it is removed at the end.
    const named = keep || !(await files.remove(path).then(() => true, () => false));
    return new FileStore(file, path, dtype, cacheMiB * 2 ** 20, { files, keep, named }, saved);
  } catch (error) {
    throw fileError("made", path, error);
  }
}

class FileStore implements DiskStore {
  readonly tier = "disk";
  format: StreamFormat | null = null;
  records = 0;
  #bytes = 0;
  /** Bytes of the header. */
  #start = 0;
  /** Number of the first record in the own file; those before are saved ones. */
  #ownFrom = 0;
  #cache = new RecordCache(0, 1);
  #writing: Promise<void> = Promise.resolve();
  #prefetching: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(
    private readonly file: OpenedFile, readonly path: string, readonly dtype: StoreDType, private readonly cacheBytes: number,
    private readonly how: { readonly files: FileSystem; readonly keep: boolean; readonly named: boolean },
    private readonly saved: SavedRecords | null,
  ) {
    if (saved) this.#prepare(saved.header.format, saved.records);
  }

  #prepare(format: StreamFormat, ownFrom: number): Uint8Array {
    const header = encodeHeader(format, this.dtype);
    this.format = format;
    this.#bytes = recordBytes(format, this.dtype);
    this.#start = header.length;
    this.#ownFrom = this.records = ownFrom;
    this.#cache = new RecordCache(this.cacheBytes, this.#bytes);
    return header;
  }

  size(): { host: number; disk: number } {
    const saved = this.#ownFrom === 0 ? 0 : this.saved!.header.start + this.#ownFrom * this.#bytes;
    return { host: this.#cache.size, disk: saved + this.#start + (this.records - this.#ownFrom) * this.#bytes };
  }

  async begin(format: StreamFormat): Promise<void> {
    await this.#quiet();
    const header = this.#prepare(format, 0);
    await this.#truncate(0);
    await writeAll(this.file, this.path, header, 0);
  }

  async cut(records: number): Promise<void> {
    await this.#quiet();
    if (records >= this.records) return;
    this.records = records;
    this.#ownFrom = Math.min(this.#ownFrom, records);
    this.#cache.cut(records);
    await this.#truncate(this.#start + (records - this.#ownFrom) * this.#bytes);
  }

  append(records: Uint8Array): void {
    this.#checkOpen();
    const at = this.#start + (this.records - this.#ownFrom) * this.#bytes;
    for (let from = 0; from < records.length; from += this.#bytes) {
      this.#cache.put(this.records++, records.subarray(from, from + this.#bytes));
    }
    this.#writing = this.#write(records, at, this.#writing);
    this.#writing.catch(() => {}); // settled() tells
  }

  async #write(records: Uint8Array, position: number, before: Promise<void>): Promise<void> {
    await before;
    await writeAll(this.file, this.path, records, position);
    if (this.how.keep) await this.#checkNamed();
  }

  async settled(): Promise<void> {
    this.#checkOpen();
    const done = this.#writing;
    this.#writing = done.catch(() => {});
    await done;
  }

  async read(numbers: readonly number[], into: Uint8Array): Promise<void> {
    await this.#prefetching;
    this.#checkOpen();
    await this.#load(numbers, into);
  }

  prefetch(numbers: readonly number[]): void {
    const missing = numbers.filter((number) => !this.#cache.has(number));
    if (missing.length === 0 || missing.length * this.#bytes > this.cacheBytes || this.#closed) return;
    this.#prefetching = this.#load(missing, new Uint8Array(missing.length * this.#bytes)).catch(() => {});
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const { files, keep, named } = this.how;
    await this.#prefetching;
    const problem = await this.#last().catch((error: unknown) => error);
    this.#cache = new RecordCache(0, 1);
    await Promise.all([this.file.close(), this.saved?.file.close()]);
    if (named && !keep) await files.remove(this.path).catch((error: unknown) => Promise.reject(fileError("removed", this.path, error)));
    if (keep && problem !== undefined) throw problem; // otherwise nobody wants what could not be written
  }

  /** What is left to write, and a last look whether the file is there. */
  async #last(): Promise<void> {
    await this.#writing;
    if (this.how.keep) await this.#checkNamed();
  }

  #checkOpen(): void {
    check(!this.#closed, "E_ARGUMENT", () => "disk store: it has been closed");
  }

  /** Nothing is under way any more; what failed has been reported, or does not matter to what comes. */
  async #quiet(): Promise<void> {
    this.#checkOpen();
    await Promise.all([this.#prefetching, this.#writing.catch(() => {})]);
  }

  async #truncate(length: number): Promise<void> {
    try {
      await this.file.truncate(length);
    } catch (error) {
      throw fileError("cut", this.path, error);
    }
  }

  async #checkNamed(): Promise<void> {
    const { links } = await this.file.stat();
    check(links > 0, "E_IO", () => `${this.path}: was removed while it was used, but is to be kept`);
  }

  /** Copies records (ascending numbers) into `into`, from the cache or else the files, and keeps them in the cache. */
  async #load(numbers: readonly number[], into: Uint8Array): Promise<void> {
    const runs: { first: number; at: number; count: number }[] = [];
    numbers.forEach((number, i) => {
      const cached = this.#cache.get(number);
      const last = runs.at(-1);
      if (cached) into.set(cached, i * this.#bytes);
      else if (last && last.first + last.count === number && last.at + last.count === i && number !== this.#ownFrom) last.count++;
      else runs.push({ first: number, at: i, count: 1 });
    });
    if (runs.length === 0) return;
    await this.#writing; // what is read may have been written just now
    await Promise.all(runs.map(async ({ first, at, count }) => {
      const part = into.subarray(at * this.#bytes, (at + count) * this.#bytes);
      const own = first >= this.#ownFrom;
      const { file, path, start, from } = own
        ? { file: this.file, path: this.path, start: this.#start, from: this.#ownFrom }
        : { file: this.saved!.file, path: this.saved!.path, start: this.saved!.header.start, from: 0 };
      await readAll(file, path, part, start + (first - from) * this.#bytes);
    }));
    for (const { first, at, count } of runs) {
      for (let i = 0; i < count; i++) this.#cache.put(first + i, into.subarray((at + i) * this.#bytes, (at + i + 1) * this.#bytes));
    }
  }
}
