import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { brotliCompressSync, gzipSync } from "node:zlib";
import { cutTokens } from "@lenggen/kernels";
import { parquetWriteBuffer } from "hyparquet-writer";
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { readText, type Text } from "./text";
import { storedFrame } from "./zstd.fixture";

const folder = await mkdtemp(join(tmpdir(), "lenggen-parquet-"));
afterAll(() => rm(folder, { recursive: true }));
beforeEach(() => vi.stubEnv("LENGGEN_CACHE", join(folder, "cache")));
afterEach(() => vi.unstubAllEnvs());

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
const documentsOf = ({ documents }: Text): string[] =>
  [...documents].map(({ tokens }) => decoder.decode(Uint8Array.from(cutTokens(tokens, 0, tokens.length))));

type WriteOptions = Parameters<typeof parquetWriteBuffer>[0];
const bytesOf = (options: WriteOptions): Uint8Array => new Uint8Array(parquetWriteBuffer(options));

async function read(bytes: Uint8Array, field?: string): Promise<string[]> {
  const path = join(folder, "some.parquet");
  await writeFile(path, bytes);
  return documentsOf(await readText(path, 1, field === undefined ? {} : { field }));
}

const TEXTS = Array.from({ length: 3_000 }, (_, i) =>
  i % 7 === 0 ? "" : `${i % 5 === 0 ? "The same beginning, " : ""}ökologisch ${i} \u{1F33F}`.repeat(i % 40));
const FEW = TEXTS.map((_, i) => `one of ${i % 3}`);
const column = (data: readonly unknown[], more: object = {}) => ({ name: "text", type: "STRING" as const, data: [...data], ...more });

describe("a column of Parquet", () => {
  it.each(["PLAIN", "DELTA_LENGTH_BYTE_ARRAY", "DELTA_BYTE_ARRAY", undefined] as const)("is read, encoded as %s", async (encoding) => {
    for (const data of [TEXTS, FEW]) for (const nullable of [true, false]) {
      const columnData = [{ name: "id", data: data.map((_, i) => i), type: "INT32" as const }, column(data, { nullable, encoding })];
      expect(await read(bytesOf({ columnData, rowGroupSize: [10, 700], pageSize: 10_000 }))).toEqual(data);
    }
  });

  it.each(["UNCOMPRESSED", "SNAPPY", "GZIP", "BROTLI", "ZSTD"] as const)("is read, packed with %s", async (codec) => {
    const compressors = {
      GZIP: (bytes: Uint8Array) => new Uint8Array(gzipSync(bytes)),
      BROTLI: (bytes: Uint8Array) => new Uint8Array(brotliCompressSync(bytes)),
      ZSTD: (bytes: Uint8Array) => storedFrame(bytes),
    };
    expect(await read(bytesOf({ columnData: [column(TEXTS)], codec, compressors, pageSize: 50_000 }))).toEqual(TEXTS);
  });

  it("may be inside of another, of any name, and of plain bytes", async () => {
    const schema = [
      { name: "root", num_children: 2 },
      { name: "meta", repetition_type: "OPTIONAL" as const, num_children: 2 },
      { name: "body", type: "BYTE_ARRAY" as const, repetition_type: "OPTIONAL" as const },
      { name: "id", type: "INT32" as const, repetition_type: "REQUIRED" as const },
      { name: "a.b", type: "BYTE_ARRAY" as const, repetition_type: "REQUIRED" as const, converted_type: "UTF8" as const },
    ];
    const columnData = [
      { name: "meta", data: [{ body: Uint8Array.of(0x68, 0x69), id: 1 }, { body: Uint8Array.of(0xff), id: 2 }] },
      { name: "a.b", data: ["one", "two"] },
    ];
    const bytes = bytesOf({ schema, columnData });
    expect(await read(bytes, "meta.body")).toEqual(["hi", "\uFFFD"]); // by the decoder of this test: the bytes are as they were
    expect(await read(bytes, "a.b")).toEqual(["one", "two"]);
    await expect(read(bytes, "meta.id")).rejects.toThrow('the column "meta.id" is of the type INT32; a text is a string in each row');
    await expect(read(bytes, "meta")).rejects.toThrow('the column "meta" is a group of columns (meta.body, meta.id)');
    await expect(read(bytes, "meta.bodi")).rejects.toThrow(
      'there is no field "meta.bodi" (did you mean "meta.body"?); there are meta.body, meta.id, a.b');
    await expect(read(bytes)).rejects.toMatchObject({ code: "E_UNKNOWN_NAME" });
  });

  it("has a string in each row", async () => {
    const one = (data: readonly unknown[], more: object = {}) => read(bytesOf({ columnData: [column(data, more)], rowGroupSize: 2 }));
    await expect(one(["a", "b", "c", null])).rejects.toThrow(/some\.parquet, row 4: there is no value; a text is a string in each row/);
    const lists = [
      { name: "root", num_children: 1 },
      { name: "text", repetition_type: "OPTIONAL" as const, num_children: 1, converted_type: "LIST" as const },
      { name: "list", repetition_type: "REPEATED" as const, num_children: 1 },
      { name: "element", type: "BYTE_ARRAY" as const, repetition_type: "OPTIONAL" as const, converted_type: "UTF8" as const },
    ];
    const list = bytesOf({ schema: lists, columnData: [{ name: "text", data: [["a", "b"], ["c"]] }] });
    await expect(read(list)).rejects.toThrow('the column "text" is a list; a text is a string in each row');
    await expect(read(list, "text.list.element")).rejects.toThrow('the column "text.list.element" is a list');
    await expect(one([1, 2], { type: "INT64", data: [1n, 2n] })).rejects.toThrow('the column "text" is of the type INT64');
    await expect(one([])).rejects.toMatchObject({ code: "E_TEXT" });
    await expect(one(["", ""])).rejects.toThrow("holds no text, only empty documents");
  });

  it("is refused when the file is cut, damaged or none", async () => {
    const bytes = bytesOf({ columnData: [column(TEXTS)], codec: "UNCOMPRESSED" });
    const changed = (at: number, ...values: number[]): Uint8Array => {
      const copy = bytes.slice();
      copy.set(values, at < 0 ? copy.length + at : at);
      return copy;
    };
    const before = (await readdir(join(folder, "cache", "texts"))).sort();
    const bad: [Uint8Array, RegExp][] = [
      [new Uint8Array(), /is no Parquet, which begins with PAR1/],
      [changed(0, 0x50, 0x41, 0x52, 0x32), /is no Parquet/],
      [bytes.subarray(0, 4), /is cut/],
      [bytes.subarray(0, bytes.length - 1), /does not end as Parquet does: the file is cut/],
      [changed(-4, 0x50, 0x41, 0x52, 0x45), /is encrypted/],
      [changed(-8, 0xff, 0xff, 0xff, 0x7f), /is damaged: its description has 2147483647 bytes, it says/],
      [changed(-8, 5, 0, 0, 0), /is damaged: its description can't be read/],
      [changed(4, 0xff, 0xff, 0xff, 0xff), /is damaged: there is no page at byte 4/],
      [Buffer.concat([bytes.subarray(0, 4), bytes.subarray(1_000)]), /is damaged/],
    ];
    for (const [content, message] of bad)
      await expect(read(content)).rejects.toMatchObject({ code: "E_FORMAT", message: expect.stringMatching(message) as string });
    expect((await readdir(join(folder, "cache", "texts"))).sort()).toEqual(before);
  });
});
