/**
 * JSON lines: a record in each line, whose field is a document. The text goes from UTF-8 to UTF-8; a `\u` escape of half a surrogate pair,
 * which is no character, becomes U+FFFD.
 */
import { isUtf8 } from "node:buffer";
import { check, isJsonObject, type Json, LenggenError, nearest } from "@lenggen/kernels";
import type { Chunks } from "./fileChunks";

/** Documents one after the other, in pieces, each with the places in it where documents begin. */
export interface Piece {
  readonly bytes: Uint8Array;
  readonly starts: readonly number[];
}

const NEWLINE = 0x0a;
/** Bytes that are read together: pieces of what was packed are small. */
const BLOCK = 1 << 20;
/** Longest line: its text, twice as long in memory, is still a string of JavaScript. */
const LONGEST_LINE = 1 << 28;
/** Lines above this are looked at before they are parsed, so that none becomes values that fill the memory. */
const LONG_LINE = 1 << 22;
/** Most values in a long line. */
const MOST_VALUES = 1 << 22;
/** Fields that a message lists. */
const LISTED = 20;

/**
 * The documents in JSON lines. Empty lines are passed over. Throws `E_FORMAT` with the line for what is no JSON, no UTF-8, no record or no
 * string, and `E_UNKNOWN_NAME` with the names that there are for a record without the field. `field` may lead into a record by dots.
 */
export async function* jsonLines(chunks: Chunks, name: string, field: string): AsyncGenerator<Piece, void, undefined> {
  const lines = new Lines(name, field);
  let kept: Uint8Array[] = [];
  let length = 0;
  let whole = 0; // bytes of what is kept that are whole lines
  for await (const chunk of chunks) {
    const newline = chunk.lastIndexOf(NEWLINE);
    if (newline >= 0) whole = length + newline + 1;
    kept.push(chunk);
    length += chunk.length;
    check(length - whole <= LONGEST_LINE, "E_FORMAT", () =>
      `${name}, from line ${lines.next} on: one has more than ${LONGEST_LINE} bytes; JSON lines have a record in each line`);
    if (length < BLOCK || whole === 0) continue;
    const block = joined(kept);
    yield lines.read(block.subarray(0, whole));
    [kept, length, whole] = [[block.subarray(whole)], length - whole, 0];
  }
  if (length > 0) yield lines.read(joined(kept));
}

function joined(parts: readonly Uint8Array[]): Buffer {
  const [first] = parts;
  return parts.length === 1 ? Buffer.from(first!.buffer, first!.byteOffset, first!.byteLength) : Buffer.concat(parts);
}

class Lines {
  /** Number of the next line, from 1 on. */
  next = 1;
  readonly #path: readonly string[];

  constructor(private readonly name: string, private readonly field: string) {
    this.#path = field.split(".");
  }

  /** Reads whole lines; the last may go without its end. */
  read(lines: Buffer): Piece {
    const valid = isUtf8(lines);
    // UTF-8 is never longer than what stands for it in JSON.
    const bytes = Buffer.allocUnsafeSlow(lines.length);
    const starts: number[] = [];
    let written = 0;
    for (let start = 0; start < lines.length; this.next++) {
      const found = lines.indexOf(NEWLINE, start);
      const end = found < 0 ? lines.length : found;
      check(valid || isUtf8(lines.subarray(start, end)), "E_FORMAT", () => `${this.#place()}: is no UTF-8, as JSON is`);
      const text = this.#text(lines, this.next === 1 && hasMark(lines) ? 3 : start, end);
      if (text !== undefined) {
        starts.push(written);
        written += bytes.write(text, written);
      }
      start = end + 1;
    }
    return { bytes: bytes.subarray(0, written), starts };
  }

  /** The document in a line; undefined for an empty line. */
  #text(lines: Buffer, start: number, end: number): string | undefined {
    if (end - start > LONG_LINE) this.#checkValues(lines.subarray(start, end));
    const line = lines.toString("utf8", start, end);
    let record: Json;
    try {
      record = JSON.parse(line) as Json;
    } catch (error) {
      if (line.trim() === "") return undefined;
      throw new LenggenError("E_FORMAT", `${this.#place()}: is no JSON: ${(error as Error).message}${hint(lines, this.next)}`,
        { cause: error });
    }
    check(isJsonObject(record), "E_FORMAT", () =>
      `${this.#place()}: is no record; JSON lines have an object in each line, such as {"${this.field}": "The grass is green."}`);
    const value = Object.hasOwn(record, this.field) ? record[this.field] : valueAt(record, this.#path);
    if (typeof value === "string") return value;
    check(value !== undefined, "E_UNKNOWN_NAME", () => `${this.#place()}: ${missing(this.field, fieldsOf(record))}`);
    throw new LenggenError("E_FORMAT", `${this.#place()}: the field "${this.field}" is ${kindOf(value)}; a text is a string`);
  }

  #place(): string {
    return `${this.name}, line ${this.next}`;
  }

  /** Refuses a long line of very many values: each takes much more memory than its letters. */
  #checkValues(line: Buffer): void {
    let [values, inString] = [0, false];
    for (let i = 0; i < line.length; i++) {
      const byte = line[i];
      if (inString) {
        if (byte === 0x5c) i++;
        else inString = byte !== 0x22;
      } else if (byte === 0x22) inString = true;
      else if (byte === 0x2c || byte === 0x5b || byte === 0x7b) values++; // , [ {
    }
    check(values <= MOST_VALUES, "E_FORMAT", () =>
      `${this.#place()}: one record has more than ${MOST_VALUES} values; JSON lines have a text in each line, and little beside it`);
  }
}

/** The mark that some programs put before UTF-8. */
const hasMark = (bytes: Uint8Array): boolean => bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf;

/** What is likely when a file's first line is no JSON. */
function hint(lines: Buffer, line: number): string {
  if (line !== 1) return "";
  if (lines[0] === 0x1f && lines[1] === 0x8b) return "; it begins as gzip does: such a file is called .jsonl.gz";
  if (lines.length >= 4 && lines.readUInt32LE(0) === 0xfd2fb528) return "; it begins as zstd does: such a file is called .jsonl.zst";
  return "; JSON lines have a whole record in each line";
}

function valueAt(record: object, path: readonly string[]): unknown {
  let value: unknown = record;
  for (const name of path) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, name)) return undefined;
    value = (value as Record<string, unknown>)[name];
  }
  return value;
}

/** The names of a record's fields, those inside of others by dots. */
function fieldsOf(record: object, before = "", depth = 0): string[] {
  return Object.entries(record).flatMap(([name, value]) =>
    isJsonObject(value) && depth < 3 ? fieldsOf(value, `${before}${name}.`, depth + 1) : [before + name]);
}

/** Says that there is no field of that name, and which there are. */
export function missing(field: string, names: readonly string[]): string {
  const listed = names.slice(0, LISTED).join(", ") + (names.length > LISTED ? ` and ${names.length - LISTED} more` : "");
  return `there is no field "${field}"${nearest(field, names)}; ${names.length === 0 ? "there is none at all" : `there are ${listed}`}`;
}

function kindOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "a list";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}
