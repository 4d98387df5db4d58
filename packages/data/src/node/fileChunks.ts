/** A file's bytes from its beginning to its end, in pieces. */
import { open } from "node:fs/promises";
import { check, LenggenError } from "@lenggen/kernels";
import { fileError } from "@lenggen/kernels/node";

const CHUNK = 1 << 20;

/** Bytes in pieces; each is the reader's to keep. */
export type Chunks = AsyncIterable<Uint8Array>;

/** Reads a file in pieces, and knows how far it is. */
export class FileChunks implements AsyncIterable<Uint8Array> {
  /** Bytes that were given out so far. */
  read = 0;

  constructor(
    readonly path: string,
    private readonly signal?: AbortSignal,
  ) {}

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      const handle = await open(this.path, "r");
      try {
        for (;;) {
          check(!this.signal?.aborted, "E_INTERRUPTED", () => "the reading of the text was interrupted");
          const bytes = new Uint8Array(CHUNK);
          const { bytesRead } = await handle.read(bytes, 0, CHUNK, null);
          if (bytesRead === 0) return;
          this.read += bytesRead;
          yield bytes.subarray(0, bytesRead);
        }
      } finally {
        await handle.close();
      }
    } catch (error) {
      if (error instanceof LenggenError) throw error;
      throw fileError("read", this.path, error);
    }
  }
}
