import { foldIn, hostRandom, key } from "@lenggen/kernels";
import { describe, expect, it } from "vitest";
import { worldTokenizer } from "./world";

const encoder = new TextEncoder();
/** As Python's repr writes the single bytes. */
const single = Array.from({ length: 256 }, (_, byte) =>
  `${byte + 1} ${byte < 128 ? JSON.stringify(String.fromCharCode(byte)).replaceAll("\\u00", "\\x").replaceAll("\\b", "\\x08")
    .replaceAll("\\f", "\\x0c") : `b'\\x${byte.toString(16)}'`} 1`);
const more = ["257 ' the' 4", "258 ' there' 6", "259 'ab' 2", "260 \"it's\" 4", "261 'abcabcabd' 9", "262 'é' 2",
  "263 b'\\xc3\\xa9\\xc3' 3", "264 '\\u3000\\n' 4", "265 '\\U0001f600' 4", "266 'ca' 2", "267 '\\\\\\'\"' 3"];
const lines = [...single, ...more];
const open = (text: string) => worldTokenizer(encoder.encode(text), "vocab.txt");
const tokenizer = await open(`${lines.join("\n")}\n`);

describe("a vocabulary of RWKV World", () => {
  it("takes the longest token that begins at each place", () => {
    expect([...tokenizer.encode("it's there the abcabcab")]).toEqual([260, 258, 257, 33, 259, 266, 99, 266, 99]);
    expect([...tokenizer.encode("abcabcabd\u3000\n😀\\'\"é")]).toEqual([261, 264, 265, 267, 262]);
    expect(tokenizer).toMatchObject({ kind: "world", vocabulary: 268, special: { endOfText: 0, beginning: [] } });
  });

  it("gives the ids of the whole for texts that come in any pieces, of any bytes", () => {
    const parts = ["abcabcabd", "abcabca", "the", " there", "\u3000", "é", "\n", "😀"].map((part) => encoder.encode(part));
    for (let i = 0; i < 50; i++) {
      const random = hostRandom(foldIn(key(3), i));
      const whole = Uint8Array.from(Array.from({ length: 60 }, () =>
        (random.integer(4) === 0 ? [random.integer(256)] : [...parts[random.integer(parts.length)]!])).flat());
      const at = tokenizer.encoder();
      const expected = [...at.push(whole), ...at.end()];
      const pieces = tokenizer.encoder();
      const ids: number[] = [];
      for (let from = 0; from < whole.length; ) {
        const size = 1 + random.integer(12);
        ids.push(...pieces.push(whole.subarray(from, from + size)));
        from += size;
      }
      ids.push(...pieces.end());
      expect(ids).toEqual(expected);
      expect(ids.flatMap((id) => [...tokenizer.bytesOf(id)!])).toEqual([...whole]);
    }
  });

  it("decodes characters when they are whole", () => {
    const decoder = tokenizer.decoder();
    expect([263, 170, 259].map((id) => decoder.push(id))).toEqual(["é", "é", "ab"]);
    expect(decoder.push(1 + 0xf0) + decoder.end()).toBe("\ufffd");
    expect(decoder.push(0)).toBe("");
  });

  it.each<[string, string[], RegExp]>([
    ["a line of something else", ["268 abc"], /line 268: "268 abc" is no line/],
    ["a program in the place of a literal", ["268 print('x') 1"], /no literal of Python/],
    ["two literals", ["268 'a' 'b' 7"], /a quote inside it has no backslash/],
    ["an escape that repr does not write", ["268 '\\07' 1"], /escape \\0/],
    ["a name", ["268 '\\N{DASH}' 1"], /escape \\N/],
    ["hexadecimal digits that are cut", ["268 '\\x' 1"], /needs 2 hexadecimal digits/],
    ["characters that do not exist", ["268 '\\Uffffffff' 1"], /no character ffffffff/],
    ["half of a surrogate pair", ["268 '\\ud800' 3"], /half of a surrogate pair/],
    ["bytes that are not written as such", ["268 b'é' 2"], /written in ASCII/],
    ["a wrong length", ["268 'abc' 4"], /has 3 bytes, not 4/],
    ["an empty token", ["268 '' 0"], /1 ... 4096 bytes/],
    ["the id 0", ["0 'zz' 2"], /id 0 is not in 1/],
    ["an id that is there twice", ["267 'zz' 2"], /id 267 is there twice/],
    ["bytes that are there twice", ["268 'ab' 2"], /ids 259 and 268 stand for the same bytes/],
    ["a gap", ["270 'zz' 2"], /id 268 is missing/],
    ["an id beyond all others", ["99999999 'zz' 2"], /not in 1/],
  ])("refuses %s", async (_, added, message) => {
    await expect(open([...lines, ...added].join("\n"))).rejects.toMatchObject(
      { code: "E_FORMAT", message: expect.stringMatching(message) as string });
  });

  it("refuses one that lacks a byte, and no vocabulary at all", async () => {
    await expect(open(lines.map((line) => (line.startsWith("98 ") ? "98 'zz' 2" : line)).join("\n"))).rejects.toThrow(/single byte 97/);
    await expect(open("")).rejects.toThrow("holds no tokens");
    await expect(worldTokenizer(Uint8Array.of(0xff), "v")).rejects.toThrow("not valid UTF-8");
  });
});
