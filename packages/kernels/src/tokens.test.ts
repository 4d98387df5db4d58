import { expect, test } from "vitest";
import { joinTokens, partOf, readTokens, wholeOf } from "./tokens";

const counting = { length: 10, read: (start: number, into: Int32Array) => into.forEach((_, i) => (into[i] = 100 + start + i)) };

test("joined sequences read as one, whatever they are made of", () => {
  const all = joinTokens([[1, 2], new Int32Array(0), partOf(counting, 3, 6), Uint8Array.of(7), counting]);
  const expected = [1, 2, 103, 104, 105, 7, ...Array.from({ length: 10 }, (_, i) => 100 + i)];
  expect([...wholeOf(all)]).toEqual(expected);
  for (let from = 0; from <= expected.length; from++) {
    for (let to = from; to <= expected.length; to++) {
      const part = new Int32Array(to - from);
      readTokens(all, from, part);
      expect([...part]).toEqual(expected.slice(from, to));
    }
  }
});

test.each([
  ["a string", "abc" as unknown as number[], /^tokens: b at place 1 is not a whole number; .*TextEncoder/],
  ["fractions", [1, 1.5], /1\.5 at place 1/],
  ["what 32 bits don't hold", [0, 2 ** 31], /2147483648 at place 1/],
  ["bigints", [0, 1n] as unknown as number[], /1 at place 1/],
  ["holes", [0, , 2] as number[], /undefined at place 1/], // oxlint-disable-line no-sparse-arrays
])("%s are no tokens", (_, tokens, message) => {
  expect(() => readTokens(tokens, 1, new Int32Array(1))).toThrow(message);
});
