import { rmSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cutTokens, wholeOf } from "@lenggen/kernels";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bytesTokenizer } from "../bytes";
import { tokenizerJson } from "../json/tokenizerJson";
import type { Tokenizer } from "../tokenizer";
import { textOf } from "./text";
import { openTokenFile, TokenFileWriter } from "./tokenFile";
import { readTokenizer } from "./tokenizers";
import { tokenText } from "./tokenText";

let folder = "";
let tokenizer: Tokenizer;
let other: Tokenizer;
const before = process.env["LENGGEN_CACHE"];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "lenggen-tokens-"));
  process.env["LENGGEN_CACHE"] = join(folder, "cache");
  const { bases } = JSON.parse(await readFile(new URL("../../test/fixtures/tokenizers.json", import.meta.url), "utf8")) as {
    bases: Record<string, object>;
  };
  const open = (base: string) => tokenizerJson(Buffer.from(JSON.stringify(bases[base])), base);
  [tokenizer, other] = [await open("byte-level"), await open("spaces")];
  await writeFile(join(folder, "tokenizer.json"), JSON.stringify(bases["byte-level"]));
});
afterAll(async () => {
  if (before === undefined) delete process.env["LENGGEN_CACHE"];
  else process.env["LENGGEN_CACHE"] = before;
  await rm(folder, { recursive: true });
});

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const entries = async (): Promise<string[]> => {
  const cache = join(folder, "cache", "tokens");
  return (await readdir(cache)).map((name) => join(cache, name));
};
const prose = "Call me Ishmael. Some years ago, never mind how long precisely. ".repeat(9000);

describe("a text in tokens", () => {
  it("has the ids of its documents, one after the other, and knows where they begin", async () => {
    const documents = ["One two.", "", " three", prose];
    const text = textOf("t", documents.map((document, i) => ({ name: `${i}`, tokens: bytes(document) })));
    const made = await tokenText(text, tokenizer);
    const expected = documents.map((document) => [...tokenizer.encode(document)]);
    expect([...made.documents].map(({ tokens }) => [...cutTokens(tokens, 0, tokens.length)])).toEqual(expected);
    expect([...wholeOf(made.tokens)]).toEqual(expected.flat());
    expect(made.bytes).toBe(documents.join("").length);
  });

  it("is made once, and again where the cache holds what it should not", async () => {
    await rm(join(folder, "cache"), { recursive: true, force: true });
    const text = textOf("t", [{ name: "a", tokens: bytes(prose) }]);
    const notes: string[] = [];
    const make = async (): Promise<number[]> => {
      notes.length = 0;
      const { tokens } = await tokenText(text, tokenizer, { onProgress: ({ note }) => notes.push(note) });
      return [...wholeOf(tokens)];
    };
    const first = await make();
    expect(notes.some((note) => note.endsWith("tokens"))).toBe(true);
    expect(await make()).toEqual(first);
    expect(notes.some((note) => note.endsWith("tokens"))).toBe(false);
    const [entry] = await entries();
    const whole = await readFile(entry!);
    for (const damage of [whole.subarray(0, -100), Buffer.alloc(10), Buffer.from(whole).fill(1, 5, 6)]) {
      await writeFile(entry!, damage);
      expect(await make()).toEqual(first);
      expect(notes.some((note) => note.endsWith("tokens"))).toBe(true);
      expect(await readFile(entry!)).toEqual(whole);
    }
    // Another tokenizer, or documents that end elsewhere, have entries of their own.
    await tokenText(text, other);
    await tokenText(textOf("t", [{ name: "a", tokens: bytes(prose), starts: [0, 100] }]), tokenizer);
    expect(await entries()).toHaveLength(3);
    expect((await entries()).every((name) => name.endsWith(".tokens"))).toBe(true);
  });

  it("is made again where somebody removes the cache meanwhile, and read on where they do so afterwards", async () => {
    const cache = join(folder, "cache");
    await rm(cache, { recursive: true, force: true });
    const text = textOf("t", [{ name: "a", tokens: bytes(`${prose} Removed.`) }]);
    let times = 0;
    const { tokens } = await tokenText(text, tokenizer, {
      onProgress: ({ kind, done, total }) => {
        if (kind === "work" && done === total && times++ < 2) rmSync(cache, { recursive: true });
      },
    });
    expect(times).toBe(3);
    expect(await entries()).toHaveLength(1);
    await rm(cache, { recursive: true });
    expect([...wholeOf(tokens)]).toEqual([...tokenizer.encode(`${prose} Removed.`)]);
    const always = tokenText(text, tokenizer, {
      onProgress: ({ kind, done, total }) => {
        if (kind === "work" && done === total) rmSync(cache, { recursive: true });
      },
    });
    await expect(always).rejects.toMatchObject({ code: "E_IO", message: expect.stringMatching(/removes it again and again/) as string });
  });

  it("stays as it is where bytes are tokens", async () => {
    const text = textOf("t", [{ name: "a", tokens: Uint8Array.of(0, 255) }]);
    const made = await tokenText(text, bytesTokenizer);
    expect(made.tokens).toBe(text.tokens);
    expect(made.bytes).toBe(2);
  });

  it("says which document is no text, and leaves nothing half-written", async () => {
    await rm(join(folder, "cache"), { recursive: true, force: true });
    const text = textOf("t", [{ name: "good", tokens: bytes(prose) }, { name: "bad.txt", tokens: Uint8Array.of(97, 0xff, 98) }]);
    await expect(tokenText(text, tokenizer)).rejects.toMatchObject(
      { code: "E_TEXT", message: expect.stringContaining("document bad.txt") as string });
    expect(await entries()).toEqual([]);
  });

  it("stops when it is told to", async () => {
    const controller = new AbortController();
    controller.abort();
    const text = textOf("t", [{ name: "a", tokens: bytes(`${prose}.`) }]);
    await expect(tokenText(text, tokenizer, { signal: controller.signal })).rejects.toMatchObject({ code: "E_INTERRUPTED" });
  });
});

describe("a file of tokens", () => {
  const write = async (name: string, of: { name: string; hash: string; vocabulary: number }, documents: number[][]): Promise<string> => {
    const path = join(folder, name);
    const writer = new TokenFileWriter(of);
    const parts: Uint8Array[] = [];
    for (const ids of documents) {
      writer.begin();
      parts.push(...writer.add(Int32Array.from(ids)));
    }
    await writeFile(path, [...parts, ...writer.end(77)]);
    return path;
  };
  const wide = { name: "wide", hash: "c".repeat(64), vocabulary: 200_000 };

  it("keeps wide ids in 32 bits and others in 16, and reads them by range", async () => {
    const path = await write("w", wide, [[1, 199_999, 70_000], [], [5]]);
    const { tokens, starts, bytes: size } = await openTokenFile(path, wide);
    expect([...wholeOf(tokens)]).toEqual([1, 199_999, 70_000, 5]);
    expect([...cutTokens(tokens, 1, 3)]).toEqual([199_999, 70_000]);
    expect([[...starts], size]).toEqual([[0, 3, 3], 77]);
    const narrow = { ...wide, vocabulary: 65_536 };
    const small = await write("n", narrow, [[1, 65_535]]);
    expect((await readFile(path)).length - (await readFile(small)).length).toBe(8 + 16); // 16 bytes of ids for 8, and two documents more
    expect([...wholeOf((await openTokenFile(small, narrow)).tokens)]).toEqual([1, 65_535]);
  });

  it("reads one that is not held in memory", async () => {
    const ids = new Int32Array((1 << 24) + 1001);
    for (let i = 0; i < ids.length; i++) ids[i] = (i * 7919) % 65_521;
    const narrow = { ...wide, vocabulary: 65_536 };
    const writer = new TokenFileWriter(narrow);
    writer.begin();
    const path = join(folder, "large");
    await writeFile(path, [...writer.add(ids), ...writer.end(1)]);
    const { tokens } = await openTokenFile(path, narrow);
    for (const at of [0, 12_345, ids.length - 3000]) expect(cutTokens(tokens, at, at + 3000)).toEqual(ids.subarray(at, at + 3000));
    await truncate(path, 1000);
    expect(() => cutTokens(tokens, 1 << 20, (1 << 20) + 10)).toThrow(/become shorter/);
  });

  it("is refused where it is cut, damaged or of another tokenizer", async () => {
    const path = await write("d", wide, [[1, 2, 3]]);
    await expect(openTokenFile(path, other)).rejects.toMatchObject(
      { code: "E_CONFIG", message: expect.stringMatching(/ids are those of another tokenizer \(cccccccccccc\) than spaces/) as string });
    const whole = await readFile(path);
    for (const end of [0, 50, whole.length - 1]) {
      await writeFile(path, whole.subarray(0, end));
      await expect(openTokenFile(path, wide)).rejects.toMatchObject({ code: "E_FORMAT" });
    }
    for (let at = 0; at < whole.length; at++) {
      const damaged = Buffer.from(whole);
      damaged[at]! ^= 0x10;
      await writeFile(path, damaged);
      const error: unknown = await openTokenFile(path, wide).then(() => "opened", (reason: unknown) => reason);
      expect(error, `byte ${at}`).toMatchObject({ code: expect.stringMatching(/E_FORMAT|E_CONFIG/) as string });
    }
    await expect(openTokenFile(join(folder, "none"), wide)).rejects.toMatchObject({ code: "E_MISSING" });
    expect(() => [...new TokenFileWriter(wide).add(Int32Array.of(200_000))]).toThrow(/id 200000 is not in 0 ... 199999/);
  });
});

describe("a tokenizer on disk", () => {
  it("is found in a folder, with the files that belong to it", async () => {
    const { tokenizer: found, files } = await readTokenizer(folder);
    expect([found.kind, found.hash]).toEqual(["json", tokenizer.hash]);
    expect(Object.keys(files)).toEqual(["tokenizer.json"]);
  });

  it("may be a vocabulary of RWKV World", async () => {
    const lines = Array.from({ length: 256 }, (_, byte) => `${byte + 1} b'\\x${byte.toString(16).padStart(2, "0")}' 1`);
    const path = join(folder, "rwkv_vocab_v1.txt");
    await writeFile(path, lines.join("\n"));
    const { tokenizer: found, files } = await readTokenizer(path);
    expect([found.kind, found.vocabulary, Object.keys(files)]).toEqual(["world", 257, ["rwkv_vocab_v1.txt"]]);
    await rm(path);
  });

  it("is missed with what was looked for", async () => {
    const empty = await mkdtemp(join(folder, "empty-"));
    await expect(readTokenizer(empty)).rejects.toThrow(/holds no tokenizer: neither tokenizer.json nor/);
    await writeFile(join(empty, "tokenizer.model"), "x");
    await expect(readTokenizer(empty)).rejects.toThrow(/tokenizer.model is a file of SentencePiece/);
    await expect(readTokenizer(join(empty, "none"))).rejects.toMatchObject({ code: "E_MISSING" });
  });
});
