/**
 * Fuzzes the readers of texts: whatever the bytes, a file is read or refused with an error of ours, soon. What a reader gives does not
 * depend on how its bytes come in pieces.
 */
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";
import { type ByteSource, foldIn, hostRandom, key, type LenggenError, memorySource } from "@lenggen/kernels";
import { parquetWriteBuffer } from "hyparquet-writer";
import { expect, it, vi } from "vitest";
import { mutate } from "../../kernels/fuzz/mutate";
import { FileChunks } from "../src/node/fileChunks";
import { gunzipped } from "../src/node/gzip";
import { jsonLines } from "../src/node/jsonLines";
import { parquetColumn } from "../src/node/parquet";
import type * as zstdReader from "../src/node/zstd";
import { PACKED, skippableFrame, storedFrame } from "../src/node/zstd.fixture";

const INPUTS = Number(process.env["LENGGEN_FUZZ_INPUTS"] ?? 20_000);
const SEED = Number(process.env["LENGGEN_FUZZ_SEED"] ?? 1);
/** Longest that one small input may take, on a machine that does other things too. */
const SLOW_MS = 5_000;
const REFUSALS = ["E_FORMAT", "E_UNKNOWN_NAME", "E_TEXT"];

/** Bytes in memory as a file, in pieces of so many. */
class Played extends FileChunks {
  constructor(private readonly bytes: Uint8Array, private readonly piece = 7, path = "fuzz") {
    super(path);
  }
  override async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    yield* this.chunksAtOnce();
  }
  override *chunksAtOnce(): Generator<Uint8Array, void, undefined> {
    for (let at = 0; at < this.bytes.length; at += this.piece) yield this.bytes.slice(at, at + this.piece);
  }
  override after(from: number): FileChunks {
    return new Played(this.bytes.subarray(from), this.piece);
  }
  override async opened(): Promise<ByteSource> {
    return memorySource(this.bytes, "fuzz");
  }
}

/** All of what a reader gives, or the code and words of its refusal. */
async function outcomeOf(reading: AsyncIterable<Uint8Array | { readonly bytes: Uint8Array; readonly starts: readonly number[] }>,
  codes = REFUSALS): Promise<string> {
  const parts: string[] = [];
  let length = 0;
  try {
    for await (const piece of reading) {
      const bytes = piece instanceof Uint8Array ? piece : piece.bytes;
      if (!(piece instanceof Uint8Array)) parts.push(`<${piece.starts.map((start) => start + length).join()}>`);
      parts.push(Buffer.from(bytes.subarray(0, 1000)).toString("latin1"));
      length += bytes.length;
    }
    return `read ${parts.join("")}`;
  } catch (error) {
    const { name, code, message } = error as LenggenError; // by name: modules are loaded anew below
    if (name !== "LenggenError" || !codes.includes(code)) throw error;
    return `refused ${code} ${message}`;
  }
}

async function fuzz(name: string, inputs: number, seeds: readonly Uint8Array[],
  attempt: (bytes: Uint8Array, i: number) => Promise<string>, change = mutate): Promise<string[]> {
  const outcomes = new Map<string, number>();
  for (let i = 0; i < inputs; i++) {
    const bytes = change(hostRandom(foldIn(key(SEED), i)), seeds);
    try {
      const begun = performance.now();
      const outcome = (await attempt(bytes, i)).split(" ", 1)[0]!;
      if (performance.now() - begun > SLOW_MS) throw new Error("takes long");
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    } catch (error) {
      throw new Error(`${name}: input ${i} of seed ${SEED} (${Buffer.from(bytes).toString("base64")}): ${String(error)}`, { cause: error });
    }
  }
  console.log(`${name}: ${inputs} inputs: ${[...outcomes].map(([outcome, n]) => `${outcome} ${n}`).join(", ")}`);
  return [...outcomes.keys()].sort();
}

/** Both ends are reached, or the mutations teach nothing. */
const BOTH = ["read", "refused"];

const timeout = 60_000 + 3 * INPUTS;
const LINES = ['{"text":"The grass is green."}\n{"text":"\\u00e4\\ud83c\\udf3f \\" \\\\ ","meta":{"text":[1,2,{"a":"b"}]}}\n\n',
  '\uFEFF{"text":"a"}\r\n{"text":"ö"}', '{"id":1,"text":""}\n'].map((text) => Buffer.from(text));

it("JSON lines are read or refused, alike in pieces of any size", { timeout }, async () => {
  const attempt = async (bytes: Uint8Array, i: number): Promise<string> => {
    const read = (piece: number) =>
      outcomeOf(jsonLines(new Played(bytes, piece), "fuzz", i % 3 === 0 ? "meta.text.2.a" : "text"));
    const [whole, pieces] = [await read(1 << 20), await read(1 + (i % 5))];
    const plain = (outcome: string): string => outcome.replaceAll(/<[\d,]*>/g, "");
    expect(plain(pieces)).toBe(plain(whole));
    return whole;
  };
  expect(await fuzz("JSON lines", INPUTS, LINES, attempt)).toEqual(BOTH);
});

it("gzip is read or refused, alike in pieces of any size", { timeout }, async () => {
  const seeds = [...LINES.map((text) => gzipSync(text)), Buffer.concat([gzipSync("one"), gzipSync(""), gzipSync("two"), Buffer.alloc(9)])];
  expect(await fuzz("gzip", Math.ceil(INPUTS / 10), seeds, async (bytes, i) => {
    const [whole, pieces] = [await outcomeOf(gunzipped(new Played(bytes, 1 << 20))),
      await outcomeOf(gunzipped(new Played(bytes, 1 + (i % 5))))];
    expect(pieces.split(" ", 1)).toEqual(whole.split(" ", 1));
    return whole;
  })).toEqual(BOTH);
});

/** Inputs for one instance of libzstd: it keeps what a decoder held that met damage. */
const PER_LIBRARY = 200;

it("zstd is read or refused, alike in pieces of any size", { timeout }, async () => {
  const place = pathToFileURL(createRequire(import.meta.url).resolve("zstddec/stream")).href;
  const seeds = [PACKED, storedFrame(new TextEncoder().encode("stored")), Buffer.concat([skippableFrame(Uint8Array.of(1, 2)), PACKED,
    storedFrame(new Uint8Array(3000)), skippableFrame(new Uint8Array()), PACKED])];
  let zstd: typeof zstdReader;
  expect(await fuzz("zstd", Math.ceil(INPUTS / 80), seeds, async (bytes, i) => {
    if (i % PER_LIBRARY === 0) {
      vi.resetModules();
      const fresh = (await import(/* @vite-ignore */ `${place}?${i}`)) as object;
      vi.doMock("zstddec/stream", () => fresh);
      zstd = await import("../src/node/zstd");
    }
    // The windows that a frame asks for are kept too: 64 KiB at most here.
    if (bytes.length > 5 && (bytes[5]! >> 3) > 6) bytes[5] = bytes[5]! & 0x37;
    const [whole, pieces] = [await outcomeOf(zstd.unzstd(new Played(bytes, 1 << 20))),
      await outcomeOf(zstd.unzstd(new Played(bytes, 1 + (i % 9))))];
    expect(pieces).toBe(whole);
    return whole;
  })).toEqual(BOTH);
});

it("Parquet is read or refused", { timeout }, async () => {
  const data = Array.from({ length: 40 }, (_, i) => `${i % 3} of many, ${"x".repeat(i)}`);
  const few = data.map((_, i) => `${i % 3}`);
  const seeds = (["UNCOMPRESSED", "SNAPPY", "GZIP"] as const).flatMap((codec) =>
    (["PLAIN", "DELTA_LENGTH_BYTE_ARRAY", "DELTA_BYTE_ARRAY", undefined] as const).flatMap((encoding) =>
      [true, false].map((nullable) => new Uint8Array(parquetWriteBuffer({
        columnData: [{ name: "text", data: encoding ? data : few, type: "STRING", encoding, nullable }], codec, rowGroupSize: 25,
        pageSize: 300, statistics: false, compressors: { GZIP: (bytes) => new Uint8Array(gzipSync(bytes)) },
      })))));
  // A claim to be larger than the disk is refused by the disk's room.
  const attempt = (bytes: Uint8Array) => outcomeOf(parquetColumn(new Played(bytes), "text"), [...REFUSALS, "E_IO"]);
  expect(await fuzz("Parquet", Math.ceil(INPUTS / 2), seeds, attempt, mutatePages)).toEqual(BOTH);
});

/** Half of the inputs keep their length and what describes the file, so that the pages behind it are reached. */
function mutatePages(random: ReturnType<typeof hostRandom>, seeds: readonly Uint8Array[]): Uint8Array {
  if (random.integer(2) === 0) return mutate(random, seeds);
  const bytes = seeds[random.integer(seeds.length)]!.slice();
  const end = bytes.length - 8 - new DataView(bytes.buffer).getUint32(bytes.length - 8, true);
  const values = [0, 1, 2, 3, 0x7f, 0x80, 0xff, random.integer(256)];
  for (let changes = 1 + random.integer(3); changes > 0; changes--)
    bytes[4 + random.integer(random.integer(2) === 0 ? end - 4 : 40)] = values[random.integer(values.length)]!;
  return bytes;
}
