/** Files as tokens, one for each byte, read by range as they are asked for: a text may be larger than memory. */
import { closeSync, openSync, readSync } from "node:fs";
import { stat } from "node:fs/promises";
import { check } from "../errors";
import type { TokenSource } from "../tokens";
import { fileError } from "./files";

/** Opens files as tokens. */
export interface FileTokens {
  /** A file's bytes as tokens. Throws `E_MISSING` or `E_IO`; so does reading, when the file has become shorter or is gone. */
  open(path: string): Promise<TokenSource>;
  /** Closes what is open; a source that is read afterwards opens its file again. */
  close(): void;
}

/** Files that are kept open. A text may be a folder of a million. */
const KEPT_OPEN = 64;
/** Most bytes that are read at a time, before they become tokens. */
const PIECE = 1 << 20;

/**
 * Opens files as tokens. Reading does not wait, as a {@link TokenSource} wants it: it is for files on this machine's disk, whose windows
 * take microseconds. A file must stay as it is while it is read.
 */
export function fileTokens(): FileTokens {
  const handles = new Map<string, number>(); // by path, the one used last at the end
  const handleOf = (path: string): number => {
    const handle = handles.get(path) ?? openSync(path, "r");
    handles.delete(path);
    handles.set(path, handle);
    if (handles.size > KEPT_OPEN) {
      const [oldest, unused] = handles.entries().next().value!;
      handles.delete(oldest);
      closeSync(unused);
    }
    return handle;
  };
  return {
    async open(path) {
      try {
        const found = await stat(path);
        check(found.isFile(), "E_IO", () => `${path}: can't be read: it is not a regular file`);
        handleOf(path); // what can't be opened is known at once
        return { length: found.size, read: (start, into) => readRange(path, handleOf, start, into) };
      } catch (error) {
        throw fileError("read", path, error);
      }
    },
    close() {
      for (const handle of handles.values()) closeSync(handle);
      handles.clear();
    },
  };
}

function readRange(path: string, handleOf: (path: string) => number, start: number, into: Int32Array): void {
  try {
    const bytes = new Uint8Array(Math.min(PIECE, into.length));
    for (let done = 0; done < into.length; ) {
      const read = readSync(handleOf(path), bytes, 0, Math.min(bytes.length, into.length - done), start + done);
      check(read > 0, "E_IO", () => `${path}: has become shorter since it was opened: there is nothing at byte ${start + done}`);
      into.set(bytes.subarray(0, read), done);
      done += read;
    }
  } catch (error) {
    throw fileError("read", path, error);
  }
}
