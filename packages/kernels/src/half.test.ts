import { describe, expect, it } from "vitest";
import { countNonFiniteF16, fromBF16s, fromF16s, toF16s } from "./half";
import { fromBF16, fromF16 } from "./half.fixture";

describe("numbers of many halves", () => {
  const every = Uint16Array.from({ length: 1 << 16 }, (_, i) => i);

  it.each([["half precision", fromF16s, fromF16], ["bfloat16", fromBF16s, fromBF16]] as const)("are those of each: %s", (_, all, one) => {
    const numbers = new Float32Array(every.length);
    all(every, numbers);
    expect(numbers.findIndex((x, i) => !Object.is(x, one(i)))).toBe(-1);
  });
});

describe("halves of many numbers", () => {
  it("are the nearest: at every half, between any two, and beside", () => {
    const next = new Float32Array(1);
    const bits = new Int32Array(next.buffer);
    const beside = (x: number, step: number): number => {
      next[0] = x;
      bits[0]! += step;
      return next[0];
    };
    const cases: [number: number, half: number][] = [[Infinity, 0x7c00], [1e38, 0x7c00], [1e-45, 0], [NaN, 0x7e00]];
    for (let half = 0; half < 0x7c00; half++) {
      const here = fromF16(half);
      const above = half + 1 === 0x7c00 ? 65_536 : fromF16(half + 1); // what a half beyond the last would be
      const middle = (here + above) / 2;
      cases.push([here, half], [beside(here, 1), half]);
      cases.push([beside(middle, -1), half], [middle, half + (half & 1)], [beside(middle, 1), half + 1]);
    }
    const floats = Float32Array.from(cases.flatMap(([x]) => [x, -x]));
    const halves = new Uint16Array(floats.length);
    toF16s(floats, halves);
    expect(cases.flatMap(([x, half], i) => (
      halves[2 * i] === half && (halves[2 * i + 1] === (half | 0x8000) || Number.isNaN(x)) ? [] : [{ x, half }]))).toEqual([]);
  });
});

describe("halves that are no finite numbers", () => {
  it("are counted wherever they lie", () => {
    const every = Uint16Array.from({ length: 1 << 16 }, (_, i) => i);
    expect(countNonFiniteF16(every)).toBe(2 * 1024);
    for (const [from, count] of [[0x7bff, 5], [0x7c00, 4], [0xfbff, 3], [0xfbfe, 2]] as const)
      expect(countNonFiniteF16(every.subarray(from, from + count))).toBe([...every.subarray(from, from + count)]
        .filter((half) => !Number.isFinite(fromF16(half))).length);
    expect(countNonFiniteF16(new Uint16Array())).toBe(0);
  });
});
