import { mkdir, mkdtemp, readdir, readFile, rm, statfs, utimes, writeFile } from "node:fs/promises";
import type * as fs from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { cutTokens, wholeOf } from "@lenggen/kernels";
import { besideName, lockTarget } from "@lenggen/kernels/node";
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { readText, type Text, type TextOptions } from "./text";

vi.mock("node:fs/promises", async (original) => {
  const real = await original<typeof fs>();
  return { ...real, statfs: vi.fn<typeof fs.statfs>(real.statfs) };
});

const folder = await mkdtemp(join(tmpdir(), "lenggen-records-"));
afterAll(() => rm(folder, { recursive: true }));

beforeEach(() => vi.stubEnv("LENGGEN_CACHE", join(folder, "cache")));
afterEach(() => vi.unstubAllEnvs());

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
const textIn = (tokens: Text["tokens"]): string => decoder.decode(Uint8Array.from(wholeOf(tokens)));
const documentsOf = ({ documents }: Text): string[] =>
  [...documents].map(({ tokens }) => decoder.decode(Uint8Array.from(cutTokens(tokens, 0, tokens.length))));

async function file(name: string, content: string | Uint8Array): Promise<string> {
  await writeFile(join(folder, name), content);
  return join(folder, name);
}
const lines = (...records: unknown[]): string => records.map((record) => `${JSON.stringify(record)}\n`).join("");
const entries = async (): Promise<string[]> => readdir(join(folder, "cache", "texts")).then((names) => names.sort(), () => []);
const refusal = (path: string, options?: TextOptions) => readText(path, 1, options).then(() => "read", (error: Error) => error);

const TEXTS = ["The grass is green.", "", "ökologisch \u{1F33F}\n\"quoted\" \\ \t\u0001", "last\r\n"];

describe("JSON lines", () => {
  it("are a document in each record", async () => {
    const path = await file("four.jsonl", lines(...TEXTS.map((text, id) => ({ id, text, meta: { text: `no ${id}` } }))));
    const text = await readText(path);
    expect(documentsOf(text)).toEqual(TEXTS);
    expect(textIn(text.tokens)).toBe(TEXTS.join(""));
    expect(text.documents.length).toBe(4);
    expect(text.documents.at(2)?.name).toBe(`${path}#3`);
    expect(text.documents.at(4)).toBeUndefined();
  });

  it("take the field that is named, by dots inside of others, a name with dots in it first", async () => {
    const path = await file("nested.ndjson", lines({ a: { b: ["no", "yes"] }, "a.c": "dotted" }, { a: { b: [1, "two"] }, "a.c": "" }));
    expect(documentsOf(await readText(path, 1, { field: "a.b.1" }))).toEqual(["yes", "two"]);
    expect(documentsOf(await readText(path, 1, { field: "a.c" }))).toEqual(["dotted", ""]);
  });

  it("may have empty lines, carriage returns, a mark in front, and no end of the last line", async () => {
    const path = await file("loose.jsonl", '\uFEFF{"text":"one"}\r\n\r\n  \n{"text":"two"}');
    expect(documentsOf(await readText(path))).toEqual(["one", "two"]);
  });

  it("may be longer than what is read at once, in one line or many", async () => {
    const long = "ä".repeat(1_300_000);
    const many = Array.from({ length: 3_000 }, (_, i) => `${i} ${"x".repeat(i % 1500)}`);
    const path = await file("long.jsonl", lines(...[long, ...many, long].map((text) => ({ text }))));
    expect(documentsOf(await readText(path))).toEqual([long, ...many, long]);
  });

  it("have U+FFFD for halves of surrogate pairs, which are no text", async () => {
    const path = await file("halves.jsonl", '{"text":"a\\ud800b\\ud83c\\udf3f"}\n');
    expect(documentsOf(await readText(path))).toEqual(["a\uFFFDb\u{1F33F}"]);
  });

  const bad: [string, string | Uint8Array, string, RegExp][] = [
    ["cut", '{"text":"a"}\n\n{"text":', "E_FORMAT", /bad\.jsonl, line 3: is no JSON: /],
    ["list", '[\n{"text":"a"}\n]', "E_FORMAT", /line 1: is no JSON: .*JSON lines have a whole record in each line/],
    ["gzip", gzipSync('{"text":"a"}\n'), "E_FORMAT", /line 1: .*/],
    ["no record", '{"text":"a"}\n["a"]\n', "E_FORMAT", /line 2: is no record; .*such as \{"text": "The grass is green\."\}/],
    ["missing", '{"text":"a"}\n{"id":1,"meta":{"test":"b"},"txet":"c"}\n', "E_UNKNOWN_NAME",
      /line 2: there is no field "text" \(did you mean "\w+"\?\); there are id, meta\.test, txet$/],
    ["nothing in it", '{}', "E_UNKNOWN_NAME", /line 1: there is no field "text"; there is none at all/],
    ["inherited", '{"text":"a"}\n{"toString":1}\n', "E_UNKNOWN_NAME", /line 2: there is no field "text".*there are toString/],
    ["null", '{"text":null}\n', "E_FORMAT", /line 1: the field "text" is null; a text is a string/],
    ["number", '{"text":1}\n', "E_FORMAT", /line 1: the field "text" is a number/],
    ["list for a text", '{"text":["a"]}\n', "E_FORMAT", /line 1: the field "text" is a list/],
    ["Latin-1", Buffer.from('{"text":"a"}\n{"text":"\xe4"}\n', "latin1"), "E_FORMAT", /line 2: is no UTF-8/],
    ["very many values", `{"text":"a","list":[${"0,".repeat(5_000_000)}0]}\n`, "E_FORMAT",
      /line 1: one record has more than 4194304 values/],
    ["nothing", "\n \n", "E_TEXT", /holds no record/],
    ["no bytes", "", "E_TEXT", /holds no record/],
    ["empty texts", '{"text":""}\n{"text":""}\n', "E_TEXT", /holds no text, only empty documents/],
  ];
  it.each(bad)("refuse: %s", async (_, content, code, message) => {
    const before = await entries();
    const path = await file("bad.jsonl", content);
    expect(await refusal(path)).toMatchObject({ code, message: expect.stringMatching(message) as string });
    expect(await entries()).toEqual(before); // nothing is left behind
  });

  it("refuse a field that is nearly there, with the nearest", async () => {
    const path = await file("near.jsonl", lines({ content: "a" }));
    await expect(readText(path, 1, { field: "contents" })).rejects.toThrow('no field "contents" (did you mean "content"?); there are c');
    await expect(readText(path, 1, { field: "" })).rejects.toThrow("empty name");
    await expect(readText("sotu", 1, { field: "text" })).rejects.toThrow("built-in corpus, which has no fields");
    await expect(readText(await file("plain.txt", "a"), 1, { field: "text" })).rejects.toThrow("has no fields");
  });
});

describe("files that are packed", () => {
  it("are read as what is in them", async () => {
    const text = "The grass is green. ".repeat(50_000);
    expect(documentsOf(await readText(await file("grass.txt.gz", gzipSync(text))))).toEqual([text]);
    const records = gzipSync(lines({ text: "one" }, { text: "two" }));
    for (const name of ["two.jsonl.gz", "two.ndjson.GZ", "c4-train.json.gz"])
      expect(documentsOf(await readText(await file(name, records)))).toEqual(["one", "two"]);
    expect(documentsOf(await readText(await file("of-any-name.gz", records)))).toEqual([lines({ text: "one" }, { text: "two" })]);
    expect(documentsOf(await readText(join(folder, "of-any-name.gz"), 1, { field: "text" }))).toEqual(["one", "two"]);
  });

  it("may have several members, empty ones too, and zeros behind them", async () => {
    const members = ["one ", "", "two ", "three"].map((text) => gzipSync(text));
    const path = await file("members.txt.gz", Buffer.concat([...members, Buffer.alloc(2_000_000)]));
    expect(documentsOf(await readText(path))).toEqual(["one two three"]);
  });

  const good = gzipSync(lines({ text: "one" }));
  const damaged = Buffer.from(good);
  damaged[good.length - 6]! ^= 1;
  it.each<[string, Uint8Array, RegExp]>([
    ["cut", good.subarray(0, good.length - 1), /it ends before its last member does: the file is cut/],
    ["cut in its second member", Buffer.concat([good, good.subarray(0, 15)]), /the file is cut/],
    ["damaged", damaged, /it is damaged, or no gzip \(incorrect data check\)/],
    ["no gzip", Buffer.from(lines({ text: "one" })), /it is damaged, or no gzip/],
    ["followed by something", Buffer.concat([good, Buffer.from("and more")]), /damaged, or no gzip/],
    ["followed by something after zeros", Buffer.concat([good, Buffer.from("\0\0and more")]),
      new RegExp(`something else follows its last member, at byte ${good.length + 2}`)],
    ["empty", new Uint8Array(), /the file is cut/],
  ])("are refused when they are %s", async (_, content, message) => {
    const path = await file("bad.jsonl.gz", content);
    expect(await refusal(path)).toMatchObject({ code: "E_FORMAT", message: expect.stringMatching(message) as string });
  });

  it.each(["books.tar.gz", "books.tgz", "books.parquet.gz"])("are refused as archives: %s", async (name) => {
    expect(await refusal(await file(name, gzipSync("x")))).toMatchObject({ code: "E_TEXT" });
  });
});

describe("folders", () => {
  it("take files of all kinds by name, and with a field those of records alone", async () => {
    const mixed = join(folder, "mixed");
    await mkdir(join(mixed, "deep"), { recursive: true });
    for (const [name, content] of [
      ["README.md", "read me"], ["b.jsonl", lines({ text: "b1", other: "B1" }, { text: "b2", other: "B2" })],
      ["a.txt.gz", gzipSync("a")], ["deep/c.json.gz", gzipSync(lines({ text: "c", other: "C" }))],
      ["config.json", "{}"], ["picture.png", "no text"], [".hidden.jsonl", "no text"],
    ] as const) await writeFile(join(mixed, name), content);
    const text = await readText(mixed);
    expect([...text.documents].map(({ name }) => name)).toEqual(["README.md", "a.txt.gz", "b.jsonl#1", "b.jsonl#2", "deep/c.json.gz#1"]);
    expect([textIn(text.tokens), text.otherFiles]).toEqual(["read meab1b2c", 2]);
    const other = await readText(mixed, 1, { field: "other" });
    expect([documentsOf(other), other.otherFiles]).toEqual([["B1", "B2", "C"], 4]);
    await rm(join(mixed, "deep"), { recursive: true });
    await rm(join(mixed, "b.jsonl"));
    await expect(readText(mixed, 1, { field: "other" })).rejects.toThrow('no file of records, whose field "other" was asked for');
  });
});

describe("the cache", () => {
  const content = lines({ text: "cached", other: "else" });
  const counted = async (path: string, options?: TextOptions): Promise<string[]> => {
    const notes = new Set<string>();
    await readText(path, 1, { ...options, onProgress: ({ note }) => void notes.add(note.replaceAll(/\d+ /g, "")) });
    return [...notes];
  };

  it("has a file for what was read from a content, wherever it lies, and forgets nothing else", async () => {
    vi.stubEnv("LENGGEN_CACHE", join(folder, "cache of content"));
    const path = await file("first.jsonl", content);
    await utimes(path, 1, 1); // its number and time of change stay new: a touch is no disguise
    expect(await counted(path)).toEqual(["looking whether it is known", "MiB of text"]);
    expect(await counted(path)).toEqual(["looking whether it is known"]); // too new to be trusted by its times
    expect(await counted(await file("moved.jsonl", content))).toEqual(["looking whether it is known"]);
    expect(await counted(path, { field: "other" })).toEqual(["looking whether it is known", "MiB of text"]);
    await writeFile(path, content.replace("cached", "CACHED"));
    await utimes(path, 1, 1);
    expect(documentsOf(await readText(path))).toEqual(["CACHED"]);
    expect(await readdir(join(folder, "cache of content", "texts"))).toHaveLength(3);
  });

  it("knows a file by its times once it has settled", async () => {
    vi.stubEnv("LENGGEN_CACHE", join(folder, "cache of times"));
    const path = await file("settled.jsonl", content);
    await new Promise((resolve) => setTimeout(resolve, 2_100));
    expect(await counted(path)).toEqual(["looking whether it is known", "MiB of text"]);
    expect(await counted(path)).toEqual([]);
    await writeFile(path, content.replace("cached", "CACHED"));
    expect(documentsOf(await readText(path))).toEqual(["CACHED"]);
  });

  it("makes anew what is damaged in it", async () => {
    vi.stubEnv("LENGGEN_CACHE", join(folder, "cache of damage"));
    const path = await file("damage.jsonl", content);
    await readText(path);
    const texts = join(folder, "cache of damage", "texts");
    const [name] = await readdir(texts);
    const whole = await readFile(join(texts, name!));
    for (const damage of [whole.subarray(0, 20), whole.subarray(8), Buffer.concat([whole, Buffer.alloc(8)]), Buffer.alloc(0)]) {
      await writeFile(join(texts, name!), damage);
      expect(documentsOf(await readText(path))).toEqual(["cached"]);
    }
  });

  it("is filled once by several that come at the same time, and not at all by one that is stopped", async () => {
    vi.stubEnv("LENGGEN_CACHE", join(folder, "cache of several"));
    const path = await file("several.jsonl", lines(...Array.from({ length: 20_000 }, (_, i) => ({ text: `text ${i} `.repeat(30) }))));
    const controller = new AbortController();
    const stopped = refusal(path, { signal: controller.signal, onProgress: () => controller.abort() });
    expect(await stopped).toMatchObject({ code: "E_INTERRUPTED" });
    const texts = join(folder, "cache of several", "texts");
    expect(await readdir(texts).catch(() => [])).toEqual([]);
    await Promise.all([1, 2, 3].map(async () => expect((await readText(path)).documents.length).toBe(20_000)));
    expect(await readdir(texts)).toHaveLength(1);
  });

  it("leaves room on the disk, and nothing half-written where there is none", async () => {
    vi.stubEnv("LENGGEN_CACHE", join(folder, "cache of a full disk"));
    const path = await file("large.txt.gz", gzipSync(new Uint8Array(2 ** 28)));
    const disk = (free: number) => vi.mocked(statfs).mockResolvedValueOnce({ bsize: 4096, blocks: 2 ** 30, bavail: free / 4096 } as never);
    disk(2 ** 31);
    disk(2 ** 30 + 4096);
    disk(2 ** 30 - 4096);
    expect(await refusal(path)).toMatchObject({
      code: "E_IO", message: expect.stringMatching(/the disk has 1,024 MiB free, of which 1,024 MiB are left to others; .* LENGGEN_CACHE$/) as string,
    });
    expect(await readdir(join(folder, "cache of a full disk", "texts"))).toEqual([]);
    expect((await readText(path)).tokens.length).toBe(2 ** 28);
  });

  it("takes away what a killed process left, and says which folder it can't make", async () => {
    vi.stubEnv("LENGGEN_CACHE", join(folder, "cache of old"));
    const texts = join(folder, "cache of old", "texts");
    await mkdir(texts, { recursive: true });
    const writing = await lockTarget(join(texts, "new.text"));
    const partial = (name: string): string => besideName(join(texts, name));
    for (const path of [partial("old.text"), partial("new.text")]) await writeFile(path, "half");
    await readText(await file("old.jsonl", content));
    expect((await readdir(texts)).filter((name) => name.endsWith(".partial"))).toEqual([expect.stringMatching(/^\.new\.text\./)]);
    await writing.release();
    vi.stubEnv("LENGGEN_CACHE", join(folder, "old.jsonl", "under a file"));
    await expect(readText(join(folder, "old.jsonl"))).rejects.toThrow(/LENGGEN_CACHE names another folder/);
  });
});
