/** Vocabularies in llama.cpp's values. Which ids it then gives texts: scripts/check-gguf.mjs. */
import { describe, expect, it } from "vitest";
import type { Json } from "../strictJson";
import { bpeVocabulary } from "./bpe";
import { bytesVocabulary, byteVocabulary } from "./vocabulary";

/** A tokenizer.json of three tokens, one merge and two added tokens, with a hole at id 4. */
const BPE = {
  version: "1.0",
  added_tokens: [
    { id: 3, content: "<|end|>", special: true, lstrip: false, rstrip: false, single_word: false, normalized: false },
    { id: 5, content: "  ", special: false, lstrip: false, rstrip: false, single_word: false, normalized: true },
  ],
  normalizer: { type: "NFC" },
  pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true },
  model: { type: "BPE", vocab: { a: 0, "Ġ": 1, "Ġa": 2 }, merges: ["Ġ a"] },
};
const END = { endOfText: 3 };
const LLAMA3 = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*"
  + "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const split = (regex: string) => ({
  type: "Sequence",
  pretokenizers: [
    { type: "Split", pattern: { Regex: regex }, behavior: "Isolated", invert: false },
    { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false },
  ],
});

function refused(code: string, message: RegExp) {
  return expect.objectContaining({ name: "LenggenError", code, message: expect.stringMatching(message) });
}

describe("vocabularies of bytes", () => {
  it("name each byte, and what is no text by bytes that no text has", () => {
    expect(bytesVocabulary([undefined, Uint8Array.of(0x61, 0xc3), Uint8Array.of(0x5c)], { endOfText: 0 }).metadata(4)).toEqual({
      "tokenizer.ggml.model": ["string", "rwkv"],
      "tokenizer.ggml.tokens": ["strings", ["\\xff<0>", "\\x61\\xc3", "\\x5c", "\\xff<3>"]],
      "tokenizer.ggml.token_type": ["i32s", [3, 1, 1, 5]],
      "tokenizer.ggml.bos_token_id": ["u32", 0],
      "tokenizer.ggml.eos_token_id": ["u32", 0],
      "tokenizer.ggml.add_bos_token": ["bool", false],
      "tokenizer.ggml.add_eos_token": ["bool", false],
    });
  });

  it("have no end of a text where there is none", () => {
    expect(byteVocabulary().size).toBe(256);
    expect(Object.keys(byteVocabulary().metadata(256))).not.toContain("tokenizer.ggml.eos_token_id");
  });
});

describe("vocabularies of byte pairs", () => {
  it("are tokens with their kinds, merges, and the name of a way to split", () => {
    const vocabulary = bpeVocabulary(BPE, "tokenizer.json", END);
    expect(vocabulary.size).toBe(6);
    expect(vocabulary.notes).toEqual([expect.stringMatching(/NFC/)]);
    expect(bpeVocabulary({ ...BPE, normalizer: null }, "tokenizer.json", END).notes).toEqual([]);
    expect(vocabulary.metadata(7)).toEqual({
      "tokenizer.ggml.model": ["string", "gpt2"],
      "tokenizer.ggml.pre": ["string", "gpt-2"],
      "tokenizer.ggml.tokens": ["strings", ["a", "Ġ", "Ġa", "<|end|>", "[PAD4]", "  ", "[PAD6]"]],
      "tokenizer.ggml.token_type": ["i32s", [1, 1, 1, 3, 5, 4, 5]],
      "tokenizer.ggml.merges": ["strings", ["Ġ a"]],
      "tokenizer.ggml.bos_token_id": ["u32", 3],
      "tokenizer.ggml.eos_token_id": ["u32", 3],
      "tokenizer.ggml.add_bos_token": ["bool", false],
      "tokenizer.ggml.add_eos_token": ["bool", false],
    });
  });

  it.each<[string, object]>([
    ["smollm", { pre_tokenizer: { type: "Sequence", pretokenizers: [{ type: "Digits", individual_digits: true }, BPE.pre_tokenizer] } }],
    ["llama-bpe", { pre_tokenizer: split(LLAMA3), model: { ...BPE.model, merges: [["Ġ", "a"]], ignore_merges: true } }],
    ["qwen2", { pre_tokenizer: split(LLAMA3.replace("{1,3}", "")), added_tokens: [] }],
  ])("split as %s", (name, change) => {
    const values = bpeVocabulary({ ...BPE, ...change } as Json, "tokenizer.json", { endOfText: 3, beginning: [2] }).metadata(6);
    expect(values["tokenizer.ggml.pre"]).toEqual(["string", name]);
    expect(values["tokenizer.ggml.merges"]).toEqual(["strings", ["Ġ a"]]);
    expect([values["tokenizer.ggml.bos_token_id"], values["tokenizer.ggml.add_bos_token"]]).toEqual([["u32", 2], ["bool", true]]);
  });

  it.each<[string, string, RegExp, object]>([
    ["another model", "E_CONFIG", /of type "Unigram" is not written/, { model: { type: "Unigram" } }],
    ["another split", "E_CONFIG", /splits texts in no way that its pre_tokenizer is known to be: \{"type":"Whitespace"\}/,
      { pre_tokenizer: { type: "Whitespace" } }],
    ["a split of its own", "E_CONFIG", /splits texts in no way/, { pre_tokenizer: split("\\w+") }],
    ["a prefix space", "E_CONFIG", /splits texts in no way/, { pre_tokenizer: { type: "ByteLevel", add_prefix_space: true } }],
    ["no pre-tokenizer", "E_CONFIG", /splits texts in no way.*null/, { pre_tokenizer: null }],
    ["words that are tokens", "E_CONFIG", /gpt-2 does not take a word/, { model: { ...BPE.model, ignore_merges: true } }],
    ["bytes as tokens", "E_CONFIG", /has no byte_fallback; this is true/, { model: { ...BPE.model, byte_fallback: true } }],
    ["a normalizer", "E_CONFIG", /changes no text beforehand; this has a normalizer, .*"Lowercase"/,
      { normalizer: { type: "Sequence", normalizers: [{ type: "NFC" }, { type: "Lowercase" }] } }],
    ["tokens that take spaces along", "E_CONFIG", /take spaces along/,
      { added_tokens: [{ id: 3, content: "x", special: false, lstrip: true }] }],
    ["no model", "E_FORMAT", /is an object with a model/, { model: 3 }],
    ["no vocabulary", "E_FORMAT", /model\.vocab must map/, { model: { ...BPE.model, vocab: [] } }],
    ["an id that is none", "E_FORMAT", /"a" has the id -1/, { model: { ...BPE.model, vocab: { a: -1 } } }],
    ["an id of two tokens", "E_FORMAT", /the id 0 is that of "a" and "b"/, { model: { ...BPE.model, vocab: { a: 0, b: 0 } } }],
    ["a token of two ids", "E_FORMAT", /two ids are those of "a"/, { added_tokens: [{ id: 9, content: "a", special: true }] }],
    ["a merge of three", "E_FORMAT", /"a b c" is no merge/, { model: { ...BPE.model, merges: ["a b c"] } }],
    ["no tokens", "E_FORMAT", /it has no tokens/, { model: { vocab: {}, merges: [] }, added_tokens: [] }],
  ])("are refused with %s", (_, code, message, change) => {
    expect(() => bpeVocabulary({ ...BPE, ...change } as Json, "tokenizer.json", END)).toThrow(refused(code, message));
  });

  it("are refused without an end of a text, and with two tokens before it", () => {
    expect(() => bpeVocabulary(BPE, "tokenizer.json", {})).toThrow(refused("E_CONFIG", /names no token for the end of a text/));
    expect(() => bpeVocabulary(BPE, "tokenizer.json", { endOfText: 3, beginning: [3, 3] }).metadata(6))
      .toThrow(refused("E_CONFIG", /puts 2 tokens before a text/));
  });
});
