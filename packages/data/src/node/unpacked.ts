/**
 * Texts that do not lie on the disk as bytes: they are unpacked once, as a stream, into a file of bytes in the cache, with the places
 * where documents begin behind them.
 *
 *     bytes of all documents, zeros to a multiple of 8, starts (float64 each), bytes (float64), documents (float64), mark
 */
import { type FileHandle, open } from "node:fs/promises";
import { check } from "@lenggen/kernels";
import { cacheEntry, type CacheOptions, type Content, contentOf, sha256 } from "./cache";
import { type Chunks, FileChunks } from "./fileChunks";
import { gunzipped } from "./gzip";
import { jsonLines, type Piece } from "./jsonLines";
import type { FileKind } from "./kinds";

/** A text in the cache. */
export interface Unpacked {
  readonly path: string;
  readonly bytes: number;
  readonly starts: Float64Array;
}

/** The field of records that is a text unless another is named: what nearly all published data sets call it. */
export const DEFAULT_FIELD = "text";

/** Of what is written, and of the readers: entries of other versions are not looked at. */
const VERSION = 1;
const MARK = "lenggen1";
const FOOTER = 24;
/** Bytes that are written at once. */
const WRITTEN = 1 << 19;
/** Numbers that are kept together. */
const BLOCK = 1 << 13;
/** Node reads less than 2^31 at once. */
const MOST_AT_ONCE = 1 << 30;

/** Unpacks a file, unless its content was unpacked before. Throws `E_FORMAT` and others as the readers do, and `E_IO`. */
export async function unpacked(path: string, kind: FileKind, field: string, options: CacheOptions): Promise<Unpacked> {
  const what = [VERSION, kind.packing ?? "", kind.content, kind.content === "bytes" ? "" : field].join("\0");
  const content = await contentOf(path, options);
  return cacheEntry("texts", `${sha256(`${what}\0${content.hash}`)}.text`, openEntry, () => entryOf(path, kind, field, content, options), {
    ...options,
    onWait: () =>
      options.onProgress?.({ path, done: 0, total: content.size, kind: "wait", note: "waiting for another process that unpacks it" }),
  });
}

/** The documents of a file, in pieces. */
function piecesOf(file: FileChunks, { packing, content }: FileKind, field: string): AsyncIterable<Piece> {
  if (content === "parquet") return loaded(async () => (await import("./parquet")).parquetColumn(file, field));
  const chunks = packing === "zstd" ? loaded(async () => (await import("./zstd")).unzstd(file))
    : packing === "gzip" ? gunzipped(file) : file;
  return content === "lines" ? jsonLines(chunks, file.path, field) : oneDocument(chunks);
}

/** What a reader gives that is loaded only when there is something to read: its libraries take time. */
async function* loaded<T>(load: () => Promise<AsyncIterable<T>>): AsyncGenerator<T, void, undefined> {
  yield* await load();
}

async function* oneDocument(chunks: Chunks): AsyncGenerator<Piece, void, undefined> {
  let starts: readonly number[] = [0];
  for await (const bytes of chunks) {
    yield { bytes, starts };
    starts = [];
  }
}

/** What stands in an entry. */
async function* entryOf(
  path: string, kind: FileKind, field: string, content: Content, { signal, onProgress }: CacheOptions,
): AsyncGenerator<Uint8Array, void, undefined> {
  const file = new FileChunks(path, signal);
  const starts = new Numbers();
  let bytes = 0;
  let held: Uint8Array[] = [];
  let unwritten = 0;
  for await (const piece of piecesOf(file, kind, field)) {
    for (const start of piece.starts) starts.push(bytes + start);
    bytes += piece.bytes.length;
    held.push(piece.bytes);
    unwritten += piece.bytes.length;
    if (unwritten >= WRITTEN) {
      yield held.length === 1 ? held[0]! : Buffer.concat(held, unwritten);
      [held, unwritten] = [[], 0];
    }
    const note = `${Math.round(bytes / 2 ** 20)} MiB of text`;
    onProgress?.({ path, done: file.read, total: file.total ?? content.size, kind: "work", note });
  }
  check(bytes > 0, "E_TEXT", () => `${path}: holds no ${starts.length === 0 ? "record" : "text, only empty documents"}`);
  await content.checkUnchanged();
  yield* held;
  yield new Uint8Array(-bytes & 7);
  yield* starts.blocks();
  yield bytesOf(Float64Array.of(bytes, starts.length));
  yield Buffer.from(MARK);
}

/** Opens an entry; undefined where there is none, or one that is damaged. */
async function openEntry(path: string): Promise<Unpacked | undefined> {
  const handle = await open(path, "r").catch(() => undefined);
  if (handle === undefined) return undefined;
  try {
    const { size } = await handle.stat();
    if (size < FOOTER) return undefined;
    const footer = await readAt(handle, size - FOOTER, FOOTER);
    const [bytes, documents] = new Float64Array(footer.buffer, 0, 2) as unknown as [number, number];
    const begin = bytes + (-bytes & 7);
    if (Buffer.from(footer.buffer, 16).toString() !== MARK || size !== begin + 8 * documents + FOOTER) return undefined;
    const starts = new Float64Array((await readAt(handle, begin, 8 * documents)).buffer);
    return { path, bytes, starts };
  } finally {
    await handle.close();
  }
}

/** Bytes of a file, in a buffer of their own. */
async function readAt(handle: FileHandle, from: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(length);
  for (let done = 0; done < length; ) {
    const { bytesRead } = await handle.read(bytes, done, Math.min(MOST_AT_ONCE, length - done), from + done);
    check(bytesRead > 0, "E_IO", () => "a file of the cache has become shorter while it was read");
    done += bytesRead;
  }
  return bytes;
}

const bytesOf = (numbers: Float64Array<ArrayBuffer>): Uint8Array => new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength);

/** Numbers that grow in number, without a copy of them all. */
class Numbers {
  length = 0;
  readonly #blocks: Float64Array<ArrayBuffer>[] = [];

  push(value: number): void {
    const place = this.length++ % BLOCK;
    if (place === 0) this.#blocks.push(new Float64Array(BLOCK));
    this.#blocks.at(-1)![place] = value;
  }

  *blocks(): Generator<Uint8Array, void, undefined> {
    for (const [i, block] of this.#blocks.entries()) yield bytesOf(block.subarray(0, Math.min(BLOCK, this.length - i * BLOCK)));
  }
}
