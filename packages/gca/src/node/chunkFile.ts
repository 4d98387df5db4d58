/**
 * A file of chunk records:
 *
 *   length of the header (u64, little-endian)   header (JSON, padded with spaces to a multiple of 8)   records (memory/records.ts)
 *
 * The header says what the records are. Nothing in it is trusted.
 */
import { randomUUID } from "node:crypto";
import { read } from "node:fs";
import { type FileHandle, open, unlink } from "node:fs/promises";
import { check, isJsonObject, type Json, type JsonObject, parseJsonBytes } from "@lenggen/kernels";
import { fileError } from "@lenggen/kernels/node";
import type { StoreDType, StreamFormat } from "../memory/store";

const FORMAT = "lenggen-chunk-memory";
const VERSION = 1;
const MAX_HEADER = 1 << 20;

/** What is done with an open file; tests give ones that fail. */
export interface OpenedFile {
  /** Bytes read, at most `into.length`; fewer at the end of the file. */
  read(into: Uint8Array, position: number): Promise<number>;
  /** Bytes written, possibly fewer than there are. */
  write(bytes: Uint8Array, position: number): Promise<number>;
  truncate(length: number): Promise<void>;
  /** `links`: names that it has in the file system. */
  stat(): Promise<{ readonly size: number; readonly links: number }>;
  close(): Promise<void>;
}

/** The calls of the file system that a chunk memory makes. */
export interface FileSystem {
  /** Opens a new file, or one that exists for reading alone. */
  open(path: string, mode: "new" | "read"): Promise<OpenedFile>;
  remove(path: string): Promise<void>;
}

/** Node's. */
export const nodeFiles: FileSystem = {
  open: async (path, mode) => opened(await open(path, mode === "new" ? "wx+" : "r")),
  remove: (path) => unlink(path),
};

function opened(handle: FileHandle): OpenedFile {
  return {
    // Half the time of handle.read(), which counts where a pass reads hundreds of records.
    read: (into, position) => new Promise((resolve, reject) => {
      read(handle.fd, into, 0, into.length, position, (error, bytes) => (error ? reject(error) : resolve(bytes)));
    }),
    write: async (bytes, position) => (await handle.write(bytes, 0, bytes.length, position)).bytesWritten,
    truncate: (length) => handle.truncate(length),
    async stat() {
      const { size, nlink } = await handle.stat();
      return { size, links: nlink };
    },
    close: () => handle.close(),
  };
}

/** A name for a file that nobody else has. */
export const freshName = () => `lenggen-${randomUUID()}.chunks`;

/** Fills `into` from a position on. Throws `E_IO` when the file ends before. */
export async function readAll(file: OpenedFile, path: string, into: Uint8Array, position: number): Promise<void> {
  try {
    for (let done = 0; done < into.length; ) {
      const bytes = await file.read(into.subarray(done), position + done);
      check(bytes > 0, "E_IO", () =>
        `${path}: ends early: ${done} of ${into.length} bytes at ${position}; the file was cut while it was used`);
      done += bytes;
    }
  } catch (error) {
    throw fileError("read", path, error);
  }
}

/** Writes all bytes from a position on. Throws `E_IO`. */
export async function writeAll(file: OpenedFile, path: string, bytes: Uint8Array, position: number): Promise<void> {
  try {
    for (let done = 0; done < bytes.length; ) {
      const written = await file.write(bytes.subarray(done), position + done);
      check(written > 0, "E_IO", () => `${path}: can't be written: no more bytes are taken after ${position + done}`);
      done += written;
    }
  } catch (error) {
    throw fileError("written", path, error);
  }
}

/** The header of a file of such records, with its length before it. */
export function encodeHeader({ batch, chunk, kvHeads, headSize, config }: StreamFormat, dtype: StoreDType): Uint8Array {
  const json = new TextEncoder()
    .encode(JSON.stringify({ format: FORMAT, version: VERSION, dtype, batch, chunk, keyHeads: kvHeads, headSize, config }));
  const length = Math.ceil(json.length / 8) * 8;
  const bytes = new Uint8Array(8 + length).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true);
  bytes.set(json, 8);
  return bytes;
}

/** What {@link readHeader} finds. */
export interface ChunkFileHeader {
  readonly format: StreamFormat;
  readonly dtype: StoreDType;
  /** Bytes before the first record. */
  readonly start: number;
}

/** Reads and checks the header. Throws `E_FORMAT`. */
export async function readHeader(file: OpenedFile, path: string, size: number): Promise<ChunkFileHeader> {
  check(size >= 8, "E_FORMAT", () => `${path}: has ${size} bytes; a chunk memory has at least a header`);
  const prefix = new Uint8Array(8);
  await readAll(file, path, prefix, 0);
  const length = Number(new DataView(prefix.buffer).getBigUint64(0, true));
  check(length <= MAX_HEADER && 8 + length <= size, "E_FORMAT", () =>
    `${path}: claims a header of ${length} bytes in a file of ${size}; it is no chunk memory, or cut short`);
  const bytes = new Uint8Array(length);
  await readAll(file, path, bytes, 8);
  const header = parseJsonBytes(bytes, `${path}: header`, { maxDepth: 8 });
  check(isJsonObject(header) && header["format"] === FORMAT, "E_FORMAT",
    () => `${path}: is no chunk memory (its header lacks format "${FORMAT}")`);
  check(header["version"] === VERSION, "E_FORMAT", () =>
    `${path}: has version ${JSON.stringify(header["version"])} of the format; this program reads version ${VERSION}`);
  const { dtype, config } = header;
  check(dtype === "f32" || dtype === "f16" || dtype === "bf16", "E_FORMAT",
    () => `${path}: header: dtype ${JSON.stringify(dtype)} must be f32, f16 or bf16`);
  check(isJsonObject(config ?? null), "E_FORMAT", () => `${path}: header: config must be an object`);
  const count = (name: string) => checkedCount(header, name, path);
  return {
    format: { batch: count("batch"), chunk: count("chunk"), kvHeads: count("keyHeads"), headSize: count("headSize"),
      config: config as JsonObject },
    dtype,
    start: 8 + length,
  };
}

function checkedCount(header: JsonObject, name: string, path: string): number {
  const value: Json | undefined = header[name];
  check(typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= 2 ** 20, "E_FORMAT", () =>
    `${path}: header: ${name} ${JSON.stringify(value)} must be a whole number from 1 to ${2 ** 20}`);
  return value;
}
