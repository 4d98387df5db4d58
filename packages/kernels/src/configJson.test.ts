import { describe, expect, it } from "vitest";
import { parseConfig, taggedNumbers } from "./configJson";
import { parseJson } from "./strictJson";

const refused = (message: RegExp) => expect.objectContaining({ code: "E_FORMAT", message: expect.stringMatching(message) });

describe("parseConfig", () => {
  it("reads numbers that JSON has not, bare and tagged", () => {
    const text = '{"a": [0.0, Infinity, -Infinity, NaN], "b": {"__float__": "Infinity"}, "c": [{"__float__": '
      + '"-Infinity"}, {"__float__": "NaN"}]}';
    const wanted = { a: [0, Infinity, -Infinity, Number.NaN], b: Infinity, c: [-Infinity, Number.NaN] };
    expect(parseConfig(text)).toEqual(wanted);
    expect(parseConfig(new TextEncoder().encode(text))).toEqual(wanted);
  });

  it("reads what an editor on Windows saved, with a mark before the text", () => {
    const text = '\uFEFF{\r\n  "a": 1\r\n}\r\n';
    expect(parseConfig(text)).toEqual({ a: 1 });
    expect(parseConfig(new TextEncoder().encode(text))).toEqual({ a: 1 });
    expect(() => parseConfig(`\uFEFF${text}`, "it")).toThrow(refused(/^it: not valid JSON at character 0/));
  });

  it("takes a tag for a number only where it is one", () => {
    for (const value of ['{"__float__": "1.5"}', '{"__float__": 1}', '{"__float__": "NaN", "more": 1}', '{"__float__": "constructor"}',
      '"Infinity"']) {
      expect(parseConfig(`{"a": ${value}}`)).toEqual({ a: JSON.parse(value) as unknown });
    }
    expect(Object.keys(parseConfig('{"__proto__": 1}') as object)).toEqual(["__proto__"]);
  });

  it.each(['{"a": nan}', '{"a": +Infinity}', '{"a": - Infinity}', '{"a": Infinity1}', '{"a": Inf}', "{a: NaN}", '{"a": 1, "a": 2}', "{"])(
    "stays strict beside: %s", (text) => {
      expect(() => parseConfig(text, "the file")).toThrow(refused(/^the file: /));
    });

  it("is the only reader that takes them", () => {
    expect(() => parseJson('{"a": NaN}', "it")).toThrow(refused(/^it: not valid JSON at character 6: found "NaN}"/));
  });

  it("reads -0 as 0, which is what JSON.stringify makes of it", () => {
    expect(parseConfig('{"a": -0, "b": [-0.0, {"c": -0}]}')).toEqual({ a: 0, b: [0, { c: 0 }] });
  });

  it("leaves values as they are below any depth of a configuration", () => {
    let deep: unknown = { __float__: "NaN" };
    for (let i = 0; i < 100_000; i++) deep = [deep];
    expect(() => taggedNumbers(deep)).not.toThrow();
  });
});
