import { describe, expect, it } from "vitest";
import { StopTexts } from "./stopTexts";
import { testRandom } from "./testing";

const encode = (text: string) => new TextEncoder().encode(text);

/** What is shown of a text that comes in pieces of these sizes, and what was found. */
function shown(text: string, stops: readonly string[], size: number): [string, string | undefined] {
  const stop = new StopTexts(stops);
  const decoder = new TextDecoder();
  const bytes = encode(text);
  let out = "";
  for (let from = 0; from < bytes.length; from += size)
    out += decoder.decode(stop.push(bytes.subarray(from, from + size)), { stream: true });
  return [out + decoder.decode(stop.rest()), stop.found];
}

describe("stop texts", () => {
  it.each([
    ["one two three", ["two"], "one ", "two"],
    ["one tw", ["two"], "one tw", undefined],
    ["aaab", ["aab"], "a", "aab"],
    ["abcabcabd!", ["abcabd"], "abc", "abcabd"],
    ["naïve café", ["é"], "naïve caf", "é"],
    ["naïve café", ["ï", "ve"], "na", "ï"],
    ["a b c", ["c", "b"], "a ", "b"], // the first in the text, not in the list
    ["xabc", ["abcd", "b"], "xa", "b"], // held back for the longer, ended by the shorter
    ["xabc", ["bc", "abc", "c"], "x", "abc"], // all end here: the longest
    ["END", ["END", "END"], "", "END"],
    ["nothing", [], "nothing", undefined],
    ["\u{1f600}\u{1f601}", ["\u{1f601}"], "\u{1f600}", "\u{1f601}"],
  ])("of %j, with %j, shows %j", (text, stops, wanted, found) => {
    for (const size of [1, 2, 3, 100]) expect(shown(text, stops, size)).toEqual([wanted, found]);
  });

  it("finds what a search in the whole text finds, however it is cut", () => {
    const random = testRandom(3);
    const letters = (n: number) => Array.from({ length: n }, () => "ab"[Math.floor(2 * random())]!).join("");
    let stopped = 0;
    for (let time = 0; time < 500; time++) {
      const text = letters(24);
      const stop = letters(1 + Math.floor(6 * random()));
      const at = text.indexOf(stop);
      expect(shown(text, [stop], 1 + Math.floor(5 * random()))).toEqual(at === -1 ? [text, undefined] : [text.slice(0, at), stop]);
      stopped += Number(at !== -1);
    }
    expect(stopped).toBeGreaterThan(100);
    expect(stopped).toBeLessThan(500);
  });

  it("gives at once what is no beginning of one, and nothing after one", () => {
    const stop = new StopTexts(["ab"]);
    expect([...stop.push(encode("xa"))]).toEqual([...encode("x")]);
    expect([...stop.push(encode("a"))]).toEqual([...encode("a")]);
    expect([...stop.push(encode("bcd"))]).toEqual([]);
    expect([...stop.push(encode("efg")), ...stop.rest()]).toEqual([]);
    expect(stop.found).toBe("ab");
  });

  it("refuses an empty one", () => {
    expect(() => new StopTexts(["a", ""])).toThrowError(expect.objectContaining({ code: "E_ARGUMENT" }));
  });
});
