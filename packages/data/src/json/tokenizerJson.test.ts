import { foldIn, hostRandom, key } from "@lenggen/kernels";
import { describe, expect, it } from "vitest";
import { Ids } from "../tokenizer";
import { lastCut } from "./cuts";
import { StreamEncoder } from "./stream";
import { encodingOf, tokenizerJson } from "./tokenizerJson";

/** Small tokenizers of every form that is read, with the ids that the Python package gives. */
interface Fixture {
  readonly bases: Readonly<Record<string, object>>;
  readonly texts: readonly string[];
  readonly variants: Readonly<Record<string, {
    readonly base: string; readonly overrides: object; readonly ids: readonly number[][]; readonly decoded: readonly string[] | "texts";
  }>>;
}
const file = import.meta.glob<Fixture>("../../test/fixtures/tokenizers.json", { import: "default" });
const { bases, texts, variants } = await Object.values(file)[0]!();

const bytes = (json: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(json));
const fileOf = (name: string, changed: object = {}): Uint8Array => {
  const { base, overrides } = variants[name]!;
  return bytes({ ...bases[base], ...overrides, ...changed });
};
const names = Object.keys(variants);
const decoded = (ids: Iterable<number>, decoder: { push(id: number): string; end(): string }): string => {
  let text = "";
  for (const id of ids) text += decoder.push(id);
  return text + decoder.end();
};

describe.each(names)("a tokenizer as that of %s", (name) => {
  it("gives the ids and texts that the Python package gives", async () => {
    const tokenizer = await tokenizerJson(fileOf(name), name);
    const { ids, decoded: written } = variants[name]!;
    expect(texts.map((text) => [...tokenizer.encode(text)])).toEqual(ids);
    expect(ids.map((each) => decoded(each, tokenizer.decoder()))).toEqual(written === "texts" ? texts : written);
  });

  it("gives the ids of the whole wherever a text is cut", async () => {
    const { text, rule } = await encodingOf(fileOf(name), name);
    expect(rule).not.toBeNull();
    const whole = `The end. ${texts.join(" the, text.\nNext，字。")} x`;
    const idsOf = (part: string, continues = false): number[] => {
      const ids = new Ids();
      text.encode(part, ids, continues);
      return [...ids.take()];
    };
    const expected = idsOf(whole);
    let cuts = 0;
    for (let end = 2; end <= whole.length; end++) {
      const cut = lastCut(whole.slice(0, end), end - 3, rule!);
      if (cut < 0) continue;
      cuts++;
      const behind = whole.slice(cut + (rule!.dropsSpace ? 1 : 0));
      expect([...idsOf(whole.slice(0, cut)), ...idsOf(behind, true)], `cut before ${JSON.stringify(whole.slice(cut, cut + 20))}`)
        .toEqual(expected);
    }
    expect(cuts).toBeGreaterThan(20);
  });

  it("gives the ids of the whole for texts that come in any pieces", async () => {
    const { text, rule } = await encodingOf(fileOf(name), name);
    const parts = [...texts, " a", "b ", " ", "\n", ".", "é", "字", "the ", "1", "'s"];
    for (let i = 0; i < 20; i++) {
      const random = hostRandom(foldIn(key(7), i));
      const whole = Array.from({ length: 40 }, () => parts[random.integer(parts.length)]!).join("");
      const expected = new Ids();
      text.encode(whole, expected);
      const encoder = new StreamEncoder(text, rule, name, 1 + random.integer(60));
      const given = new TextEncoder().encode(whole);
      const ids: number[] = [];
      for (let at = 0; at < given.length; ) {
        const size = 1 + random.integer(40);
        ids.push(...encoder.push(given.subarray(at, at + size)));
        at += size;
      }
      expect(ids.length).toBeGreaterThan(0);
      ids.push(...encoder.end());
      expect(ids).toEqual([...expected.take()]);
    }
  });
});

describe("a tokenizer.json", () => {
  it("decodes characters when they are whole, whatever tokens their bytes are in", async () => {
    const tokenizer = await tokenizerJson(fileOf("GPT-NeoX"), "t");
    const decoder = tokenizer.decoder();
    const pieces = [...tokenizer.encode("né 字!")].map((id) => decoder.push(id));
    expect(pieces.join("")).toBe("né 字!");
    expect(pieces.every((piece) => !piece.includes("\ufffd"))).toBe(true);
    expect(pieces).toContain("");
    const [first] = [...tokenizer.encode("字")];
    const cut = tokenizer.decoder();
    expect([cut.push(first!), cut.end()]).toEqual(["", "\ufffd"]);
  });

  it("leaves out the space that a tokenizer puts before a text, at its beginning only", async () => {
    const tokenizer = await tokenizerJson(fileOf("Mistral"), "t");
    const ids = tokenizer.encode("have a");
    expect(decoded(ids, tokenizer.decoder())).toBe("have a");
    expect(decoded(ids, tokenizer.decoder({ continues: true }))).toBe(" have a");
  });

  it("knows what stands before a text, the end of one, and the bytes of tokens", async () => {
    const spaces = await tokenizerJson(fileOf("Mistral"), "t");
    expect(spaces.special).toEqual({ beginning: [1], endOfText: 2 });
    const config = new TextEncoder().encode('{"eos_token": {"content": "<s>"}}');
    expect((await tokenizerJson(fileOf("Mistral"), "t", { config })).special.endOfText).toBe(1);
    const neox = await tokenizerJson(fileOf("GPT-NeoX"), "t");
    expect(neox.special).toEqual({ beginning: [], endOfText: 0 });
    const size = (text: string): number => [...neox.encode(text)].reduce((sum, id) => sum + neox.bytesOf(id)!.length, 0);
    expect(size("Call me 字!")).toBe(12);
    expect(neox.bytesOf(neox.vocabulary)).toBeUndefined();
  });

  it("encodes texts that it can't cut whole, and says when that is too much", async () => {
    const added = [{ id: 420, content: "<mask>", lstrip: true }];
    const name = "GPT-NeoX";
    const { rule } = await encodingOf(fileOf(name, { added_tokens: added }), name);
    expect(rule).toBeNull();
    const encoder = (await tokenizerJson(fileOf(name, { added_tokens: added }), name)).encoder();
    expect([...encoder.push(new TextEncoder().encode("a  <mask> b".repeat(7000)))]).toEqual([]);
    expect(encoder.end().length).toBe(3 * 7000);
    const much = new Uint8Array(1 << 22).fill(97);
    expect(() => Array.from({ length: 5 }, () => encoder.push(much))).toThrow(/can't be cut/);
  });

  it("refuses text that is not UTF-8, with its place", async () => {
    const encoder = (await tokenizerJson(fileOf("GPT-NeoX"), "t")).encoder();
    encoder.push(new Uint8Array(100).fill(97));
    expect(() => encoder.push(Uint8Array.of(0xff))).toThrow(/not UTF-8 at byte 100; write it as UTF-8/);
  });

  it.each<[string, number[][], string]>([
    ["at the start", [[0x80, 0x61]], "at byte 0"],
    ["in the middle of a piece", [[0x61, 0xc3, 0xa4, 0x62, 0xe9, 0x62]], "at byte 5"],
    ["behind a whole character of four bytes", [[0x61, 0xf0, 0x9f, 0x98, 0x80], [0x80]], "at byte 5"],
    ["in a character that a border cuts", [[0x61, 0xe2], [0x82, 0x61]], "at byte 3"],
    ["at the end", [[0x61, 0xe2, 0x82]], "at its end, byte 3"],
  ])("says where a text stops being UTF-8: %s", async (_, pieces, place) => {
    const encoder = (await tokenizerJson(fileOf("GPT-NeoX"), "t")).encoder();
    const all = (): void => {
      for (const piece of pieces) encoder.push(Uint8Array.from(piece));
      encoder.end();
    };
    expect(all).toThrow(`not UTF-8 ${place}`);
  });

  const bpe = { vocab: { a: 0, b: 1, ab: 2 }, merges: ["a b"], type: "BPE" };
  const level = { type: "ByteLevel" };
  const small = { model: bpe, decoder: level, pre_tokenizer: level };
  it.each<[string, unknown, string, RegExp]>([
    ["text that is no JSON", "no", "E_FORMAT", /^t: /],
    ["another file", { a: 1 }, "E_FORMAT", /no model/],
    ["a model of another type", { model: { type: "WordPeace" } }, "E_CONFIG", /type "WordPeace" is not read; BPE and Unigram are/],
    ["a vocabulary that is none", { ...small, model: { ...bpe, vocab: [] } }, "E_FORMAT", /needs a vocab/],
    ["an id that is none", { ...small, model: { ...bpe, vocab: { a: -1 } } }, "E_FORMAT", /"a" has the id -1/],
    ["an id that is there twice", { ...small, model: { ...bpe, vocab: { a: 0, b: 1, ab: 1 } } }, "E_FORMAT", /id 1 is there twice/],
    ["an added token with the id of another", { ...small, added_tokens: [{ id: 0, content: "x" }] }, "E_FORMAT", /id 0 is there twice/],
    ["a merge of tokens that are not there", { ...small, model: { ...bpe, merges: ["a c"] } }, "E_FORMAT", /merge 0 is "a c"/],
    ["a merge into a token that is not there", { ...small, model: { ...bpe, merges: ["b a"] } }, "E_FORMAT", /makes "ba"/],
    ["a pre-tokenizer of another type", { ...small, pre_tokenizer: { type: "Whitespace" } }, "E_CONFIG", /type "Whitespace" is not read/],
    ["a split of another kind", { ...small, pre_tokenizer: { type: "Split", pattern: { String: " " }, behavior: "MergedWithNext" } },
      "E_CONFIG", /MergedWithNext/],
    ["a normalizer of another type", { ...small, normalizer: { type: "Precompiled" } }, "E_CONFIG", /"Precompiled" is not read/],
    ["a decoder of another type", { ...small, decoder: null }, "E_CONFIG", /decoder that is null/],
    ["a post-processor of another type", { ...small, post_processor: { type: "BertProcessing" } }, "E_CONFIG", /"BertProcessing"/],
    ["an expression that is none", { ...small, pre_tokenizer: { type: "Split", pattern: { Regex: "[z-a]" }, behavior: "Isolated" } },
      "E_FORMAT", /^t: /],
    ["an expression that takes exponential time",
      { ...small, pre_tokenizer: { type: "Split", pattern: { Regex: "(?:a+)+b" }, behavior: "Isolated" } }, "E_CONFIG", /exponential time/],
    ["an expression that looks behind", { ...small, pre_tokenizer: { type: "Split", pattern: { Regex: "(?<=a)b" }, behavior: "Isolated" } },
      "E_CONFIG", /can't be used/],
  ])("refuses %s", async (_, json, code, message) => {
    const given = typeof json === "string" ? new TextEncoder().encode(json) : bytes(json);
    await expect(tokenizerJson(given, "t")).rejects.toMatchObject({ code, message: expect.stringMatching(message) as string });
  });
});
