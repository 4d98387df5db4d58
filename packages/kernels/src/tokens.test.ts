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
