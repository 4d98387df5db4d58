/** A file's bytes from its beginning to its end, in pieces. */
import { closeSync, openSync, readSync } from "node:fs";
import { open } from "node:fs/promises";
import { type ByteSource, check } from "@lenggen/kernels";
import { fileError, openFile } from "@lenggen/kernels/node";

const CHUNK = 1 << 20;

/** Bytes in pieces; each is the reader's to keep. */
export type Chunks = AsyncIterable<Uint8Array>;

/** Reads a file in pieces, and knows how far it is. */
export class FileChunks implements AsyncIterable<Uint8Array> {
  /** Bytes that were read so far. */
  read = 0;
  /** Bytes that will be, where that is not all of the file. */
  total: number | undefined;

  constructor(
    readonly path: string,
    private readonly signal?: AbortSignal,
    private readonly from = 0,
  ) {}

  /** The same file from that byte on. */
  after(from: number): FileChunks {
    return new FileChunks(this.path, this.signal, from);
  }

  /** The same file by ranges. */
  opened(): Promise<ByteSource> {
    return openFile(this.path);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      const handle = await open(this.path, "r");
      try {
        for (;;) {
          this.checkSignal();
          const bytes = new Uint8Array(CHUNK);
          const { bytesRead } = await handle.read(bytes, 0, CHUNK, this.from + this.read);
          if (bytesRead === 0) return;
          this.read += bytesRead;
          yield bytes.subarray(0, bytesRead);
        }
      } finally {
        await handle.close();
      }
    } catch (error) {
      throw fileError("read", this.path, error);
    }
  }
  /** The same without waiting, for readers that can't. */
  *chunksAtOnce(): Generator<Uint8Array, void, undefined> {
    try {
      const handle = openSync(this.path, "r");
      try {
        for (;;) {
          this.checkSignal();
          const bytes = new Uint8Array(CHUNK);
          const length = readSync(handle, bytes, 0, CHUNK, this.from + this.read);
          if (length === 0) return;
          this.read += length;
          yield bytes.subarray(0, length);
        }
      } finally {
        closeSync(handle);
      }
    } catch (error) {
      throw fileError("read", this.path, error);
    }
  }

  /** Throws `E_INTERRUPTED` when the reading is to stop. */
  checkSignal(): void {
    check(!this.signal?.aborted, "E_INTERRUPTED", () => "the reading of the text was interrupted");
  }
}
