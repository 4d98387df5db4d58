/** Where bytes come from: a file in Node, a Blob in a browser, memory. Readers ask for the ranges that they need. */
import { check } from "./errors";

/** Bytes that are read by ranges: a file, a download, memory. */
export interface ByteSource {
  /** For error messages: a path, or what the bytes are. */
  readonly name?: string;
  /** Bytes in all. */
  readonly size: number;
  /**
   * The bytes from `offset` to `offset + length`, which must lie within the source. A source may put them into `into`, which then has
   * `length` bytes, so that who reads much needs no new memory each time.
   */
  read(offset: number, length: number, into?: Uint8Array): Promise<Uint8Array>;
  close(): Promise<void>;
}

/** Bytes in memory as a source; they are not copied. */
export function memorySource(bytes: Uint8Array, name?: string): ByteSource {
  return {
    ...(name === undefined ? {} : { name }),
    size: bytes.length,
    async read(offset, length) {
      check(offset >= 0 && length >= 0 && offset + length <= bytes.length, "E_ARGUMENT", () =>
        `${name ?? "bytes"}: ${length} bytes from ${offset} are beyond the end at ${bytes.length}`);
      return bytes.subarray(offset, offset + length);
    },
    async close() {},
  };
}
