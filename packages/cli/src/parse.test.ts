import { describe, expect, it } from "vitest";
import { oneOf, parseLength, parseLengths, realNumber, wholeNumber } from "./parse";

describe("lengths", () => {
  it.each([
    ["256", 256],
    ["4k", 4096],
    ["64K", 65536],
    ["1M", 1048576],
    ["1.5k", 1536],
  ])("reads %s as %i", (text, length) => {
    expect(parseLength(text, "--lengths")).toBe(length);
  });

  it.each(["0", "0k", "NaN", "-1", "1.5", "1e3", "", " ", "4kb", "99999999999999999999M"])("refuses %j and says what is right", (text) => {
    expect(() => parseLength(text, "--lengths")).toThrow(/--lengths: .* is not a length; give a whole number/);
  });

  it("sorts lists and drops repeats", () => {
    expect(parseLengths("64k,1k,1024,4k", "--lengths")).toEqual([1024, 4096, 65536]);
  });
});

describe("numbers", () => {
  it("keeps whole numbers within their range", () => {
    const threads = wholeNumber("--threads", 1, 8);
    expect(threads("8")).toBe(8);
    for (const text of ["0", "9", "2.5", "two", "", "-1", "Infinity"])
      expect(() => threads(text)).toThrow(/--threads: .* is not a whole number from 1 to 8/);
  });

  it("keeps real numbers within their range", () => {
    const share = realNumber("--top-p", { above: 0, maximum: 1 });
    expect(share("0.5")).toBe(0.5);
    for (const text of ["0", "1.1", "NaN", "", "x"]) expect(() => share(text)).toThrow(/--top-p: .* is not a number above 0 and at most 1/);
  });
});

it("answers an unknown name with the nearest", () => {
  expect(() => oneOf("method", ["zero", "state-passing"])("state-pasing"))
    .toThrow('no method is named "state-pasing" (did you mean "state-passing"?)');
});
