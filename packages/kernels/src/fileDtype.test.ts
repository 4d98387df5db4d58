import { describe, expect, it } from "vitest";
import { decode, encode } from "./fileDtype";

/** The number that 16 bits mean, and the bits of a number, in a file of this type. */
function conversions(dtype: "F16" | "BF16"): { from(bits: number): number; to(x: number): number } {
  const one = new Float64Array(1);
  return {
    from: (bits) => {
      decode(new Uint8Array(Uint16Array.of(bits).buffer), dtype, one, "f64", "it");
      return one[0]!;
    },
    to: (x) => new Uint16Array(encode(Float64Array.of(x), "f64", dtype, "it").buffer)[0]!,
  };
}

/** Every finite number of a 16-bit format, with its bits, in ascending order of magnitude. */
function finite(from: (bits: number) => number, infinity: number): { bits: number; value: number }[] {
  return Array.from({ length: infinity }, (_, bits) => ({ bits, value: from(bits) }));
}

const FORMATS = [
  { name: "F16", ...conversions("F16"), infinity: 0x7c00, one: 0x3c00, smallest: 2 ** -24, largest: 65504 },
  { name: "BF16", ...conversions("BF16"), infinity: 0x7f80, one: 0x3f80, smallest: 2 ** -133, largest: 2 ** 128 - 2 ** 120 },
];

describe.each(FORMATS)("$name", ({ from, to, infinity, one, smallest, largest }) => {
  const numbers = finite(from, infinity);

  it("knows its landmarks", () => {
    expect([from(0), from(1), from(one), from(infinity - 1)]).toEqual([0, smallest, 1, largest]);
    expect([from(infinity), from(infinity | 0x8000), from(0x8000)]).toEqual([Infinity, -Infinity, -0]);
    expect(from(infinity + 1)).toBeNaN();
  });

  it("keeps every number through a round trip", () => {
    const changed = Array.from({ length: 0x10000 }, (_, bits) => bits).filter((bits) => {
      const value = from(bits);
      return Number.isNaN(value) ? !Number.isNaN(from(to(value))) : to(value) !== bits;
    });
    expect(changed).toEqual([]);
  });

  it("rounds to nearest, ties to even, also from numbers between two float32 ones", () => {
    const wrong = numbers.slice(1).filter((high, i) => {
      const low = numbers[i]!;
      const middle = (low.value + high.value) / 2; // exact
      const even = low.bits % 2 === 0 ? low.bits : high.bits;
      const off = (high.value - low.value) * 2 ** -40; // lost in float32
      const got = [to(middle), to(middle - off), to(middle + off), to(-middle - off)];
      const expected = [even, low.bits, high.bits, high.bits | 0x8000];
      return got.some((bits, k) => bits !== expected[k]);
    });
    expect(wrong).toEqual([]);
  });

  it("overflows to infinity from half a step above the largest number", () => {
    const step = largest - from(infinity - 2);
    expect(to(largest + step / 2)).toBe(infinity);
    expect(to(largest + step / 2 - step * 2 ** -30)).toBe(infinity - 1);
    expect(to(1e300)).toBe(infinity);
    expect(to(-1e300)).toBe(infinity | 0x8000);
    expect(to(1e-300)).toBe(0);
    expect(to(-1e-300)).toBe(0x8000);
  });
});

describe("decode and encode", () => {
  it("convert whole numbers and refuse those that i32 can't hold", () => {
    const bytes = new Uint8Array(BigInt64Array.of(-5n, 2n ** 31n - 1n).buffer);
    const into = new Int32Array(2);
    decode(bytes, "I64", into, "i32", "it");
    expect([...into]).toEqual([-5, 2 ** 31 - 1]);
    for (const [dtype, big] of [
      ["I64", BigInt64Array.of(2n ** 31n)], ["I64", BigInt64Array.of(-(2n ** 31n) - 1n)],
      ["U64", BigUint64Array.of(2n ** 63n)], ["U32", Uint32Array.of(2 ** 31)],
    ] as const) {
      expect(() => decode(new Uint8Array(big.buffer), dtype, new Int32Array(1), "i32", "it"))
        .toThrow(/^it: holds -?\d+, which does not fit/);
    }
    expect([...encode(Int32Array.of(-1), "i32", "I64", "it")]).toEqual(Array.from({ length: 8 }, () => 255));
  });

  it.each(["F64", "F32", "F16", "BF16", "I32", "I64"] as const)("encode writes %s into given bytes, and nothing beside them", (dtype) => {
    const [values, from] = dtype.startsWith("I") ? [Int32Array.of(3, -7), "i32"] as const : [Float32Array.of(1.5, -0.25), "f32"] as const;
    const fresh = encode(values, from, dtype, "it");
    const around = new Uint8Array(8 + fresh.length + 8).fill(9);
    const into = around.subarray(8, 8 + fresh.length);
    expect(encode(values, from, dtype, "it", into)).toBe(into);
    expect([...into]).toEqual([...fresh]);
    expect([...around.subarray(0, 8), ...around.subarray(8 + fresh.length)]).toEqual(Array.from({ length: 16 }, () => 9));
  });

  it("take bytes at any address", () => {
    const shifted = new Uint8Array(9).subarray(1);
    shifted.set(new Uint8Array(Float64Array.of(Math.PI).buffer));
    const into = new Float64Array(1);
    decode(shifted, "F64", into, "f64", "it");
    expect(into[0]).toBe(Math.PI);
  });

  it("refuse to mix floats and whole numbers", () => {
    expect(() => decode(new Uint8Array(4), "F32", new Int32Array(1), "i32", "it")).toThrow(/F32 .* as i32/);
    expect(() => encode(Float32Array.of(1), "f32", "I64", "it")).toThrow(/can't be written as I64/);
    expect(() => encode(Int32Array.of(1), "i32", "F32", "it")).toThrow(/can't be written as F32/);
  });
});
