/**
 * Files of token ids, which may be larger than memory and are read by range:
 *
 *     ids (u16, or u32 where the vocabulary needs it), zeros to a multiple of 8, first token of each document (float64 each), footer
 *
 * The footer says how many there are of all, of how many bytes of text, by which tokenizer, and has the SHA-256 of what stands before it.
 */
import { createHash } from "node:crypto";
import { closeSync, openSync, readSync } from "node:fs";
import { open } from "node:fs/promises";
import { check, type TokenSource } from "@lenggen/kernels";
import { fileError } from "@lenggen/kernels/node";
import { Ids, type Tokenizer } from "../tokenizer";

/** Ids of a text with the borders of its documents. */
export interface TokenFile {
  readonly tokens: TokenSource;
  /** First token of each document. */
  readonly starts: Float64Array;
  /** Bytes of the text that the ids stand for. */
  readonly bytes: number;
}

/** What a tokenizer is to a file of its ids. */
export type FileTokenizer = Pick<Tokenizer, "name" | "hash" | "vocabulary">;

const MARK = "lenggenT";
/** Counts (float64 each), the tokenizer's hash, the SHA-256, the mark. */
const COUNTS = 4;
const [HASH, DIGEST] = [64, 32];
const FOOTER = 8 * COUNTS + HASH + DIGEST + MARK.length;
/** Ids that are held in memory: their file may be gone meanwhile. */
const HELD = 1 << 24;
/** Bytes that are read at a time. */
const PIECE = 1 << 20;
/** Ids that are written together: documents may be a line each. */
const TOGETHER = 1 << 15;
/** Documents whose starts are kept together. */
const BLOCK = 1 << 13;

const bytesOf = (numbers: Uint16Array | Uint32Array | Float64Array): Uint8Array =>
  new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength);

/** What is put into a file, as it is put there. */
export class TokenFileWriter {
  readonly #digest = createHash("sha256");
  readonly #wide: boolean;
  readonly #starts: Float64Array[] = [];
  #documents = 0;
  #waiting = new Ids();
  /** Ids so far. */
  length = 0;

  constructor(private readonly tokenizer: FileTokenizer) {
    this.#wide = tokenizer.vocabulary > 1 << 16;
  }

  /** A document begins here. */
  begin(): void {
    const place = this.#documents++ % BLOCK;
    if (place === 0) this.#starts.push(new Float64Array(BLOCK));
    this.#starts.at(-1)![place] = this.length;
  }

  /** Takes the next ids, and gives bytes of the file once they are many. Throws `E_TEXT` for an id that the tokenizer does not have. */
  *add(ids: Int32Array): Generator<Uint8Array, void, undefined> {
    const { vocabulary } = this.tokenizer;
    for (const id of ids) check(id >= 0 && id < vocabulary, "E_TEXT", () => `the id ${id} is not in 0 ... ${vocabulary - 1}`);
    this.length += ids.length;
    this.#waiting.append(ids);
    if (this.#waiting.length >= TOGETHER) yield this.#written();
  }

  /** The rest, and what stands behind the ids. */
  *end(bytes: number): Generator<Uint8Array, void, undefined> {
    yield this.#written();
    yield this.#put(new Uint8Array(-(this.length * (this.#wide ? 4 : 2)) & 7));
    let left = this.#documents;
    for (const block of this.#starts) {
      yield this.#put(bytesOf(block.subarray(0, Math.min(left, block.length))));
      left -= block.length;
    }
    yield this.#put(bytesOf(Float64Array.of(this.length, this.#documents, bytes, this.#wide ? 4 : 2)));
    yield this.#put(Buffer.from(this.tokenizer.hash.padEnd(HASH).slice(0, HASH)));
    yield this.#digest.digest();
    yield Buffer.from(MARK);
  }

  #written(): Uint8Array {
    const ids = this.#waiting.take();
    this.#waiting = new Ids();
    return this.#put(bytesOf(this.#wide ? Uint32Array.from(ids) : Uint16Array.from(ids)));
  }

  #put(bytes: Uint8Array): Uint8Array {
    this.#digest.update(bytes);
    return bytes;
  }
}

/**
 * Opens a file of ids, after reading it once to see that it is whole. Throws `E_MISSING` or `E_IO`, `E_FORMAT` for one that is cut or
 * damaged, `E_CONFIG` for ids of another tokenizer.
 */
export async function openTokenFile(path: string, tokenizer: FileTokenizer): Promise<TokenFile> {
  try {
    const handle = await open(path, "r");
    try {
      const { size } = await handle.stat();
      const damaged = (why: string): string => `${path}: is no whole file of tokens: ${why}; remove it, and it is made again`;
      check(size >= FOOTER, "E_FORMAT", () => damaged("it is too short"));
      const read = async (from: number, length: number): Promise<Uint8Array<ArrayBuffer>> => {
        const bytes = new Uint8Array(length);
        for (let done = 0; done < length; ) {
          const { bytesRead } = await handle.read(bytes, done, length - done, from + done);
          check(bytesRead > 0, "E_FORMAT", () => damaged("it became shorter while it was read"));
          done += bytesRead;
        }
        return bytes;
      };
      const footer = await read(size - FOOTER, FOOTER);
      const mark = Buffer.from(footer.subarray(FOOTER - MARK.length)).toString("latin1");
      check(mark === MARK, "E_FORMAT", () => damaged("its end is missing"));
      const [length = -1, documents = -1, bytes = -1, width = -1] = new Float64Array(footer.buffer, 0, COUNTS);
      const behind = Math.ceil((length * width) / 8) * 8;
      const whole = [length, documents, bytes].every((count) => Number.isSafeInteger(count) && count >= 0) && (width === 2 || width === 4)
        && size === behind + 8 * documents + FOOTER;
      check(whole, "E_FORMAT", () => damaged("it has not the size that it says"));
      const hash = Buffer.from(footer.subarray(8 * COUNTS, 8 * COUNTS + HASH)).toString("latin1").trim();
      check(hash === tokenizer.hash, "E_CONFIG", () =>
        `${path}: its ids are those of another tokenizer (${hash.slice(0, 12)}) than ${tokenizer.name} (${tokenizer.hash.slice(0, 12)}); `
          + "make it anew with this one");
      const digest = createHash("sha256");
      const end = size - MARK.length - DIGEST;
      for (let at = 0; at < end; at += PIECE) digest.update(await read(at, Math.min(PIECE, end - at)));
      const expected = footer.subarray(FOOTER - MARK.length - DIGEST, FOOTER - MARK.length);
      check(digest.digest().equals(expected), "E_FORMAT", () => damaged("its content is not that which was written"));
      const starts = new Float64Array((await read(behind, 8 * documents)).buffer);
      const held = length <= HELD ? await read(0, length * width) : undefined;
      return { tokens: held ? heldTokens(held, width) : rangeTokens(path, length, width), starts, bytes };
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw fileError("read", path, error);
  }
}

const idsIn = (bytes: Uint8Array<ArrayBuffer>, width: number): Uint16Array | Uint32Array =>
  (width === 2 ? new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2)
    : new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4));

function heldTokens(bytes: Uint8Array<ArrayBuffer>, width: number): TokenSource {
  const ids = idsIn(bytes, width);
  return { length: ids.length, read: (start, into) => into.set(ids.subarray(start, start + into.length)) };
}

/** Ids that are read from the file as they are asked for; it stays open while somebody may, also where it is removed. */
function rangeTokens(path: string, length: number, width: number): TokenSource {
  const source: TokenSource = {
    length,
    read(start, into) {
      try {
        const bytes = new Uint8Array(Math.min(PIECE, into.length * width));
        for (let done = 0; done < into.length; ) {
          const wanted = bytes.subarray(0, Math.min(bytes.length, (into.length - done) * width));
          for (let got = 0; got < wanted.length; ) {
            const read = readSync(handle, wanted, got, wanted.length - got, (start + done) * width + got);
            check(read > 0, "E_IO", () => `${path}: has become shorter since it was opened`);
            got += read;
          }
          const ids = idsIn(wanted, width);
          into.set(ids, done);
          done += ids.length;
        }
      } catch (error) {
        throw fileError("read", path, error);
      }
    },
  };
  const handle = openFor(source, path);
  return source;
}

const closing = new FinalizationRegistry<number>((handle) => closeSync(handle));

function openFor(source: TokenSource, path: string): number {
  const handle = openSync(path, "r");
  closing.register(source, handle);
  return handle;
}
