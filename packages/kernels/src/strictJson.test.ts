import { describe, expect, it } from "vitest";
import { isJsonObject, parseJson, parseJsonBytes, quote } from "./strictJson";

const refused = (message: RegExp) => expect.objectContaining({ code: "E_FORMAT", message: expect.stringMatching(message) });

describe("parseJson", () => {
  it.each([
    "null", "true", " false ", "0", "-0", "-12.5e-3", "1E400", '""', "[]", "{}", '[1, [2, {"a": []}], "b"]',
    String.raw`"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00 é 😀"`, '{"a": 1, "b": {"a": 2}}', "\t\n\r [1]\n",
  ])("reads what JSON.parse reads: %s", (text) => {
    expect(JSON.stringify(parseJson(text, "it"))).toBe(JSON.stringify(JSON.parse(text)));
  });

  it.each([
    "", " ", "nul", "tru", "01", "+1", ".5", "1.", "1e", "--1", "0x1", "NaN", "Infinity", "'a'", '"a', '"\n"', String.raw`"\x"`,
    String.raw`"\u12"`, "[", "[1", "[1,", "[1,]", "[,1]", "{", '{"a"', '{"a":', '{"a":1,', '{"a":1,}', "{a:1}", "{1:1}", "1 2", "[]]",
    "\ufeff{}", "/**/1",
  ])("refuses what JSON.parse refuses: %s", (text) => {
    expect(() => JSON.parse(text)).toThrow(SyntaxError);
    expect(() => parseJson(text, "it")).toThrow(refused(/^it: not valid JSON at character \d+: found .* expected /));
  });

  it("refuses repeated keys, however they are written", () => {
    expect(() => parseJson('{"a": 1, "b": 2, "a": 3}', "it")).toThrow(refused(/^it: key "a" appears twice/));
    expect(() => parseJson(String.raw`{"a": 1, "\u0061": 3}`, "it")).toThrow(refused(/appears twice/));
    expect(() => parseJson('{"__proto__": 1, "__proto__": 1}', "it")).toThrow(refused(/appears twice/));
  });

  it("takes names of Object.prototype as names like any other", () => {
    const value = parseJson('{"__proto__": {"polluted": 1}, "constructor": 2, "hasOwnProperty": 3}', "it");
    expect(isJsonObject(value) && Object.keys(value)).toEqual(["__proto__", "constructor", "hasOwnProperty"]);
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
  });

  it("bounds nesting, so that no text overflows the stack", () => {
    expect(parseJson("[[[]]]", "it", { maxDepth: 2 })).toEqual([[[]]]);
    expect(() => parseJson("[[[[]]]]", "it", { maxDepth: 2 })).toThrow(refused(/nested more than 2 deep/));
    expect(() => parseJson("[".repeat(1_000_000), "it")).toThrow(refused(/nested more than 64 deep/));
    expect(() => parseJson('{"a":'.repeat(1_000_000), "it")).toThrow(refused(/nested more than 64 deep/));
  });

  it("reads long strings", () => {
    const long = `${"é\\n".repeat(200_000)}"`;
    expect(parseJson(`"${long}`, "it")).toBe("é\n".repeat(200_000));
  });
});

describe("parseJsonBytes", () => {
  it("refuses bytes that are not UTF-8", () => {
    expect(() => parseJsonBytes(new Uint8Array([0x22, 0xff, 0x22]), "it")).toThrow(refused(/^it: is not valid UTF-8/));
    expect(() => parseJsonBytes(new Uint8Array([0xef, 0xbb, 0xbf, 0x7b, 0x7d]), "it")).toThrow(refused(/not valid JSON/));
  });
});

describe("quote", () => {
  it("escapes and shortens", () => {
    expect(quote('a"\n\u0000')).toBe(String.raw`"a\"\n\u0000"`);
    expect(quote("x".repeat(500)).length).toBeLessThan(90);
  });
});
