import { describe, expect, it } from "vitest";
import { countNonFiniteF16, fromF16, toF16, toF16s } from "./half";

describe("halves of many numbers", () => {
  it("are those of each: at every half, between any two, and beside", () => {
    const numbers: number[] = [];
    const next = new Float32Array(1);
    const bits = new Int32Array(next.buffer);
    for (let half = 0; half < 0x7c00; half++) {
      const above = half + 1 === 0x7c00 ? 65_536 : fromF16(half + 1); // what a half beyond the last would be
      for (const x of [fromF16(half), (fromF16(half) + above) / 2]) {
        for (const step of [-1, 0, 1]) {
          next[0] = x;
          bits[0]! += step;
          numbers.push(next[0], -next[0]);
        }
      }
    }
    numbers.push(Number.NaN, Infinity, -Infinity, 1e38, 1e-45, 65_519.99, 65_520);
    const floats = Float32Array.from(numbers);
    const halves = new Uint16Array(floats.length);
    toF16s(floats, halves);
    expect(floats.findIndex((x, i) => halves[i] !== toF16(x))).toBe(-1);
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
