/**
 * Tar archives, written and read: plain files with short paths in the ustar format (POSIX.1-1988), which every system's
 * `tar` packs and unpacks. Reading also takes what GNU and BSD tar add: long names and extended headers.
 */
import { check } from "@lenggen/kernels";

export interface TarFile {
  /** With slashes. */
  readonly path: string;
  readonly content: Blob;
}

const BLOCK = 512;
// Bounds for archives that nobody vouches for.
const LONGEST_NAME = 1 << 16;
const MOST_FILES = 10_000;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** An archive of files. The contents are not copied: the archive is a Blob of Blobs. */
export function writeTar(files: readonly TarFile[], modified: Date): Blob {
  const parts: BlobPart[] = [];
  for (const { path, content } of files) {
    parts.push(header(path, content.size, modified), content, new Uint8Array((BLOCK - (content.size % BLOCK)) % BLOCK));
  }
  parts.push(new Uint8Array(2 * BLOCK));
  return new Blob(parts, { type: "application/x-tar" });
}

function header(path: string, size: number, modified: Date): Uint8Array<ArrayBuffer> {
  const block = new Uint8Array(BLOCK);
  const put = (at: number, text: string) => block.set(encoder.encode(text), at);
  const octal = (at: number, digits: number, value: number) => put(at, `${value.toString(8).padStart(digits, "0")}\0`);
  check(encoder.encode(path).length <= 100 && size < 8 ** 11, "E_ARGUMENT", () => `${path} does not fit into a tar archive`);
  put(0, path);
  octal(100, 7, 0o644);
  octal(108, 7, 0);
  octal(116, 7, 0);
  octal(124, 11, size);
  octal(136, 11, Math.floor(modified.getTime() / 1000));
  put(148, "        "); // the checksum counts as blanks while it is computed
  put(156, "0");
  put(257, "ustar\x0000");
  const sum = block.reduce((total, byte) => total + byte, 0);
  put(148, `${sum.toString(8).padStart(6, "0")}\0 `);
  return block;
}

/** The plain files of an archive, in order. Throws `E_FORMAT` when it is no tar archive or is cut short. */
export async function readTar(archive: Blob, name: string): Promise<TarFile[]> {
  const files: TarFile[] = [];
  let longPath: string | undefined;
  check(archive.size >= BLOCK, "E_FORMAT", () => `${name} is not a tar archive, or it holds no file`);
  for (let at = 0; ; ) {
    const block = new Uint8Array(await archive.slice(at, at + BLOCK).arrayBuffer());
    check(block.length === BLOCK, "E_FORMAT", () => `${name} is cut short`);
    if (block.every((byte) => byte === 0)) break; // the end
    check(hasChecksum(block), "E_FORMAT", () => `${name} is not a tar archive, or it is damaged`);
    const size = parseInt(text(block, 124, 12), 8);
    const content = archive.slice(at + BLOCK, at + BLOCK + size);
    check(Number.isSafeInteger(size) && content.size === size, "E_FORMAT", () => `${name} is cut short`);
    const type = String.fromCharCode(block[156]!);
    if (type === "0" || type === "\0") {
      const prefix = text(block, 257, 5) === "ustar" ? text(block, 345, 155) : "";
      files.push({ path: longPath ?? (prefix === "" ? "" : `${prefix}/`) + text(block, 0, 100), content });
      longPath = undefined;
    } else if (type === "L" || type === "x") {
      check(size <= LONGEST_NAME, "E_FORMAT", () => `${name} has a name of ${size} bytes in it`);
      const written = new Uint8Array(await content.arrayBuffer());
      longPath = type === "L" ? text(written, 0, size) : (extendedPath(decoder.decode(written)) ?? longPath);
    }
    check(files.length <= MOST_FILES, "E_FORMAT", () => `${name} holds more than ${MOST_FILES} files; pack one run only`);
    at += BLOCK + Math.ceil(size / BLOCK) * BLOCK;
  }
  check(files.length > 0, "E_FORMAT", () => `${name} holds no file`);
  return files;
}

function text(block: Uint8Array, at: number, length: number): string {
  const bytes = block.subarray(at, at + length);
  const end = bytes.indexOf(0);
  return decoder.decode(end < 0 ? bytes : bytes.subarray(0, end)).trim();
}

function hasChecksum(block: Uint8Array): boolean {
  const sum = block.reduce((total, byte, i) => total + (i >= 148 && i < 156 ? 32 : byte), 0);
  return sum === parseInt(text(block, 148, 8), 8);
}

/** The path of an extended header: lines of "length key=value". */
function extendedPath(records: string): string | undefined {
  return /^\d+ path=(.*)$/m.exec(records)?.[1];
}
