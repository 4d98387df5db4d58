/**
 * The pages of a column of strings: a dictionary perhaps, then values, one for each row. What is read here is checked before memory is
 * taken for it: hyparquet's own readers believe a page's counts and lengths.
 */
import { brotliDecompressSync, gunzipSync } from "node:zlib";
import { check, LenggenError } from "@lenggen/kernels";
import type { PageHeader } from "hyparquet";
import { deltaBinaryUnpack } from "hyparquet/src/delta.js";
import { readVarInt } from "hyparquet/src/thrift.js";
import { snappyUncompressor } from "hysnappy";
import { decoder, unzstdBytes } from "./zstd";

/** Most values in a page: numbers are held for each. */
const MOST_VALUES = 1 << 24;
/** Widest numbers of a dictionary's entries. */
const WIDEST = 24;
/** Largest block of numbers that are written as differences; 128 is usual. */
const LARGEST_BLOCK = 1 << 16;
/** Bytes that snappy makes of one at most, with some to spare. */
const MOST_SNAPPY = 32;
/** Longest of the strings that are written as what differs from the one before. */
const LONGEST_SHARED = 1 << 28;

/** A message for a file that is damaged. */
export const damaged = (path: string, what: string) => (): string => `${path}: is damaged: ${what}`;

type Unpack = (bytes: Uint8Array, size: number) => Uint8Array;

/** What is known of a row group's column. */
export interface ColumnFacts {
  readonly rows: number;
  readonly codec: string;
  /** Rows of the file before it. */
  readonly row: number;
  /** Levels at which a value may be absent. */
  readonly optional: number;
}

/** Reads the pages of one column of one row group, in order. */
export class ColumnPages {
  #dictionary: Strings | undefined;
  #read = 0;
  #unpack: Unpack = (bytes) => bytes;

  constructor(private readonly path: string, private readonly facts: ColumnFacts) {}

  /** Whether all rows were read. */
  get ended(): boolean {
    return this.#read >= this.facts.rows;
  }

  /** Loads what unpacks the pages. */
  async ready(): Promise<void> {
    const { codec } = this.facts;
    const name = this.path;
    if (codec === "UNCOMPRESSED") return;
    if (codec === "GZIP") this.#unpack = (bytes, size) => gunzipSync(bytes, { maxOutputLength: size });
    else if (codec === "BROTLI") this.#unpack = (bytes, size) => brotliDecompressSync(bytes, { maxOutputLength: size });
    else if (codec === "SNAPPY") this.#unpack = snappyUnpack();
    else if (codec === "ZSTD") {
      const library = await decoder();
      this.#unpack = (bytes, size) => unzstdBytes(library, bytes, name, size);
    } else {
      throw new LenggenError("E_FORMAT",
        `${name}: its columns are packed with ${codec}, which is not read; SNAPPY, GZIP, ZSTD and BROTLI are`);
    }
  }

  /** The values of a page; of a dictionary none. */
  read(header: PageHeader, bytes: Uint8Array): Iterable<Uint8Array> {
    try {
      return this.#valuesOf(header, bytes);
    } catch (error) {
      if (error instanceof LenggenError) throw error;
      throw new LenggenError("E_FORMAT", this.#damaged(`a page can't be unpacked (${(error as Error).message})`)(), { cause: error });
    }
  }

  /** Checks that all rows were read, and says how many they are. */
  finish(): number {
    check(this.#read === this.facts.rows, "E_FORMAT", this.#damaged(`a column has ${this.#read} values for ${this.facts.rows} rows`));
    return this.#read;
  }

  #damaged(what: string): () => string {
    return damaged(this.path, what);
  }

  #valuesOf(header: PageHeader, bytes: Uint8Array): Iterable<Uint8Array> {
    const { type, dictionary_page_header: dictionary, data_page_header: first, data_page_header_v2: second } = header;
    if (type === "DICTIONARY_PAGE" && dictionary) {
      check(this.#dictionary === undefined, "E_FORMAT", this.#damaged("a column has two dictionaries"));
      this.#dictionary = this.#plain(this.#unpacked(bytes, header.uncompressed_page_size), this.#count(dictionary.num_values, MOST_VALUES));
      return [];
    }
    if (type === "INDEX_PAGE") return [];
    const left = this.facts.rows - this.#read;
    if (type === "DATA_PAGE" && first) {
      const page = this.#unpacked(bytes, header.uncompressed_page_size);
      const count = this.#count(first.num_values, left);
      let levels = 0;
      if (this.facts.optional > 0) {
        check(first.definition_level_encoding === "RLE", "E_FORMAT", this.#damaged("levels are not run-length encoded"));
        levels = 4 + viewOf(page).getUint32(0, true);
        this.#checkLevels(this.#part(page, 4, levels), count);
      }
      return this.#decoded(this.#part(page, levels, page.length), first.encoding, count);
    }
    if (type === "DATA_PAGE_V2" && second) {
      const count = this.#count(second.num_values, left);
      const [repeats, length] = [second.repetition_levels_byte_length, second.definition_levels_byte_length];
      const levels = this.#part(bytes, repeats, repeats + length);
      if (this.facts.optional > 0) this.#checkLevels(levels, count);
      const rest = bytes.subarray(repeats + length);
      const size = header.uncompressed_page_size - repeats - length;
      return this.#decoded(second.is_compressed === false || size === 0 ? rest : this.#unpacked(rest, size), second.encoding, count);
    }
    throw new LenggenError("E_FORMAT", this.#damaged(`a page is of the type ${String(type)}`)());
  }

  #count(count: number, most: number): number {
    check(Number.isSafeInteger(count) && count >= 0 && count <= Math.min(most, MOST_VALUES), "E_FORMAT",
      this.#damaged(`a page says that it has ${count} values`));
    return count;
  }

  #unpacked(bytes: Uint8Array, size: number): Uint8Array {
    check(size >= 0, "E_FORMAT", this.#damaged(`a page says that it has ${size} bytes`));
    const page = size === 0 ? new Uint8Array() : this.#unpack(bytes, size);
    check(page.length === size, "E_FORMAT", this.#damaged(`a page has ${page.length} bytes and not ${size}`));
    return page;
  }

  #part(bytes: Uint8Array, from: number, to: number): Uint8Array {
    check(from >= 0 && from <= to && to <= bytes.length, "E_FORMAT", this.#damaged("a page ends too early"));
    return bytes.subarray(from, to);
  }

  /** Refuses an absent value. */
  #checkLevels(bytes: Uint8Array, count: number): void {
    const { optional } = this.facts;
    const levels = this.#hybrid(bytes, 32 - Math.clz32(optional), count);
    const absent = levels.findIndex((level) => level !== optional);
    check(absent < 0, "E_FORMAT", () =>
      `${this.path}, row ${this.facts.row + this.#read + absent + 1}: there is no value; a text is a string in each row`);
  }

  #decoded(page: Uint8Array, encoding: string, count: number): Iterable<Uint8Array> {
    this.#read += count;
    if (encoding === "PLAIN") return this.#plain(page, count).all();
    if (encoding === "PLAIN_DICTIONARY" || encoding === "RLE_DICTIONARY") return this.#looked(page, count);
    if (encoding === "DELTA_LENGTH_BYTE_ARRAY") return this.#lengths(page, count).all();
    if (encoding === "DELTA_BYTE_ARRAY") return this.#shared(page, count);
    throw new LenggenError("E_FORMAT", `${this.path}: strings are encoded as ${encoding}, which is not read`);
  }

  /** Strings with their lengths before them. */
  #plain(page: Uint8Array, count: number): Strings {
    const view = viewOf(page);
    check(4 * count <= page.length, "E_FORMAT", this.#damaged("a page ends too early"));
    const [starts, ends] = [new Int32Array(count), new Int32Array(count)];
    let at = 0;
    for (let i = 0; i < count; i++) {
      check(at + 4 <= page.length, "E_FORMAT", this.#damaged("a page ends too early"));
      starts[i] = at + 4;
      at += 4 + view.getUint32(at, true);
      check(at <= page.length, "E_FORMAT", this.#damaged("a string is longer than its page"));
      ends[i] = at;
    }
    return new Strings(page, starts, ends);
  }

  /** Places in the dictionary. */
  #looked(page: Uint8Array, count: number): Iterable<Uint8Array> {
    const dictionary = this.#dictionary;
    check(dictionary, "E_FORMAT", this.#damaged("a column lacks its dictionary"));
    if (count === 0) return [];
    const width = this.#part(page, 0, 1)[0]!;
    check(width <= WIDEST, "E_FORMAT", this.#damaged(`places in a dictionary have ${width} bits`));
    const places = this.#hybrid(page.subarray(1), width, count);
    const outside = places.find((place) => place >= dictionary.length);
    check(outside === undefined, "E_FORMAT", this.#damaged(`a dictionary of ${dictionary.length} strings has none at ${outside}`));
    return dictionary.at(places);
  }

  /** All lengths, then all strings. */
  #lengths(page: Uint8Array, count: number): Strings {
    const { numbers, rest } = this.#deltas(page, count);
    const [starts, ends] = [new Int32Array(count), new Int32Array(count)];
    let at = 0;
    for (let i = 0; i < count; i++) {
      starts[i] = at;
      at += numbers[i]!;
      check(numbers[i]! >= 0 && at <= rest.length, "E_FORMAT", this.#damaged("a string is longer than its page"));
      ends[i] = at;
    }
    return new Strings(rest, starts, ends);
  }

  /** How much each string shares with the one before, then what differs. */
  #shared(page: Uint8Array, count: number): Iterable<Uint8Array> {
    const { numbers, rest } = this.#deltas(page, count);
    return this.#completed(numbers, this.#lengths(rest, count).all());
  }

  *#completed(common: Int32Array, suffixes: Iterable<Uint8Array>): Generator<Uint8Array, void, undefined> {
    let before = new Uint8Array();
    let i = 0;
    for (const suffix of suffixes) {
      const shared = common[i++]!;
      check(shared >= 0 && shared <= before.length && shared + suffix.length <= LONGEST_SHARED, "E_FORMAT",
        this.#damaged("a string shares more with the one before than that has"));
      const value = new Uint8Array(shared + suffix.length);
      value.set(before.subarray(0, shared));
      value.set(suffix, shared);
      yield value;
      before = value;
    }
  }

  /** Numbers as differences, in blocks, whose sizes hyparquet believes: with some it goes on for ever. */
  #deltas(page: Uint8Array, count: number): { numbers: Int32Array; rest: Uint8Array } {
    const numbers = new Int32Array(count);
    if (count === 0) return { numbers, rest: page };
    const head = { view: viewOf(page), offset: 0 };
    const [block, parts, all] = [readVarInt(head), readVarInt(head), readVarInt(head)];
    check(block > 0 && block <= LARGEST_BLOCK && parts > 0 && block % parts === 0 && (block / parts) % 8 === 0 && all === count, "E_FORMAT",
      this.#damaged(`${all} numbers in blocks of ${block} and parts of ${parts}, for ${count} values`));
    const reader = { view: viewOf(page), offset: 0 };
    deltaBinaryUnpack(reader, count, numbers);
    return { numbers, rest: this.#part(page, reader.offset, page.length) };
  }

  /** Numbers of so many bits, in runs of one value or packed by eights. */
  #hybrid(bytes: Uint8Array, width: number, count: number): Int32Array {
    const numbers = new Int32Array(count);
    const wide = (width + 7) >> 3;
    const [short, mask] = [this.#damaged("a page ends too early"), 2 ** width - 1];
    let at = 0;
    for (let done = 0; done < count; ) {
      let [head, shift] = [0, 0];
      for (let more = true; more; shift += 7) {
        check(at < bytes.length && shift < 35, "E_FORMAT", short);
        head += (bytes[at]! & 127) * 2 ** shift;
        more = bytes[at++]! > 127;
      }
      const half = Math.floor(head / 2);
      check(half > 0, "E_FORMAT", this.#damaged("a run has no values"));
      if (head % 2 === 0) {
        check(at + wide <= bytes.length, "E_FORMAT", short);
        let value = 0;
        for (let i = wide - 1; i >= 0; i--) value = value * 256 + bytes[at + i]!;
        at += wide;
        const end = Math.min(count, done + half);
        numbers.fill(value, done, end);
        done = end;
      } else {
        const here = Math.min(count - done, 8 * half);
        check(at + Math.ceil((here * width) / 8) <= bytes.length, "E_FORMAT", short);
        for (let i = 0, bit = 8 * at; i < here; i++, bit += width) {
          const byte = bit >> 3;
          // Four bytes hold any number of 24 bits, wherever in a byte it begins; those beyond the end are zeros.
          const word = (bytes[byte]! | (bytes[byte + 1]! << 8) | (bytes[byte + 2]! << 16) | (bytes[byte + 3]! << 24)) >>> (bit & 7);
          numbers[done + i] = word & mask;
        }
        at += half * width;
        done += here;
      }
    }
    return numbers;
  }
}

/** Strings in the bytes of a page. */
class Strings {
  constructor(private readonly bytes: Uint8Array, private readonly starts: Int32Array, private readonly ends: Int32Array) {}

  get length(): number {
    return this.starts.length;
  }

  *all(): Generator<Uint8Array, void, undefined> {
    for (let i = 0; i < this.length; i++) yield this.bytes.subarray(this.starts[i], this.ends[i]);
  }

  *at(places: Int32Array): Generator<Uint8Array, void, undefined> {
    for (const place of places) yield this.bytes.subarray(this.starts[place], this.ends[place]);
  }
}

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** hysnappy believes the length that stands before the bytes, and gives what lay there before where that is shorter. */
function snappyUnpack(): Unpack {
  const unpack = snappyUncompressor();
  return (bytes, size) => {
    let length = 0;
    for (let i = 0; i < 5; i++) {
      length += (bytes[i]! & 127) * 2 ** (7 * i);
      if (!(bytes[i]! > 127)) break;
    }
    if (length !== size || size > MOST_SNAPPY * bytes.length) throw new Error(`snappy of ${length} bytes in a page of ${size}`);
    return unpack(bytes, size);
  };
}
