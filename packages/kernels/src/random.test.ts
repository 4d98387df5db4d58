import { describe, expect, it } from "vitest";
import { foldIn, hostRandom, key, randomBits, split, threefry2x32 } from "./random";

const hex = (words: Iterable<number>) => [...words].map((word) => word.toString(16).padStart(8, "0"));

describe("threefry2x32", () => {
  // Known answers of the authors' Random123 library (kat_vectors), 20 rounds.
  it.each([
    [[0, 0], [0, 0], ["6b200159", "99ba4efe"]],
    [[0xffffffff, 0xffffffff], [0xffffffff, 0xffffffff], ["1cb996fc", "bb002be7"]],
    [[0x13198a2e, 0x03707344], [0x243f6a88, 0x85a308d3], ["c4923a9c", "483df7a0"]],
  ] as const)("gives the published words for key %j and counter %j", (k, [c0, c1], expected) => {
    expect(hex(threefry2x32(k, c0, c1))).toEqual(expected);
  });
});

describe("keys", () => {
  it("come from whole seeds, numbers and bigints alike", () => {
    expect(key(7)).toEqual([7, 0]);
    expect(key(7n)).toEqual(key(7));
    expect(key(2 ** 40 + 5)).toEqual([5, 256]);
    expect(key((1n << 64n) - 1n)).toEqual([0xffffffff, 0xffffffff]);
  });

  it.each([-1, 1.5, NaN, Infinity, 2 ** 53, -1n, 1n << 64n])("refuse the seed %s", (seed) => {
    expect(() => key(seed)).toThrow(expect.objectContaining({ code: "E_ARGUMENT", message: expect.stringContaining("seed") }));
  });

  it("split and fold into keys that differ from each other and from what is drawn", () => {
    const k = key(1);
    const children = [...split(k, 500), ...Array.from({ length: 500 }, (_, i) => foldIn(k, i))].map((child) => hex(child).join(""));
    const words = hex(randomBits(k, 1000));
    const drawn = Array.from({ length: 500 }, (_, i) => words[2 * i]! + words[2 * i + 1]!);
    expect(new Set([...children, ...drawn]).size).toBe(1500);
  });

  it("refuse counts and numbers that are no 32-bit words", () => {
    for (const n of [-1, 0.5, 2 ** 32, NaN]) {
      expect(() => split(key(1), n)).toThrow("split");
      expect(() => foldIn(key(1), n)).toThrow("foldIn");
      expect(() => randomBits(key(1), n)).toThrow("randomBits");
    }
  });
});

describe("randomBits", () => {
  it("gives a prefix when fewer words are asked for", () => {
    const long = randomBits(key(3), 101);
    for (const n of [0, 1, 2, 50, 51]) expect(randomBits(key(3), n)).toEqual(long.slice(0, n));
  });

  it("sets every bit half of the time", () => {
    const n = 20_000;
    const counts = Array.from({ length: 32 }, () => 0);
    for (const word of randomBits(key(11), n)) for (let b = 0; b < 32; b++) counts[b]! += (word >>> b) & 1;
    for (const count of counts) expect(Math.abs(count - n / 2)).toBeLessThan(4.5 * Math.sqrt(n / 4));
  });
});

describe("hostRandom", () => {
  it("draws every whole number below n equally often", () => {
    const random = hostRandom(key(5));
    const counts = Array.from({ length: 7 }, () => 0);
    for (let i = 0; i < 70_000; i++) counts[random.integer(7)]!++;
    const chiSquare = counts.reduce((sum, count) => sum + (count - 10_000) ** 2 / 10_000, 0);
    expect(chiSquare).toBeLessThan(22.5); // 6 degrees of freedom, p = 0.001
  });

  it("has no modulo bias: n = 3·2⁵¹ would favour its lower third", () => {
    const n = 3 * 2 ** 51;
    const random = hostRandom(key(6));
    let low = 0;
    for (let i = 0; i < 9_000; i++) if (random.integer(n) < n / 3) low++;
    expect(Math.abs(low - 3_000)).toBeLessThan(4.5 * Math.sqrt(2_000));
  });

  it("gives 0 for n = 1 and refuses what is no count", () => {
    const random = hostRandom(key(1));
    expect(random.integer(1)).toBe(0);
    for (const n of [0, -3, 1.5, 2 ** 53, NaN]) expect(() => random.integer(n)).toThrow("whole number from 1");
  });

  it("draws uniform numbers in [0, 1) with the right mean and spread", () => {
    const random = hostRandom(key(8));
    const draws = Array.from({ length: 20_000 }, () => random.uniform());
    expect(Math.min(...draws)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...draws)).toBeLessThan(1);
    const mean = draws.reduce((a, b) => a + b) / draws.length;
    expect(Math.abs(mean - 0.5)).toBeLessThan(4.5 / Math.sqrt(12 * draws.length));
  });

  it("shuffles into every order equally often, and into the same one for the same key", () => {
    const random = hostRandom(key(9));
    const counts = new Map<string, number>();
    for (let i = 0; i < 12_000; i++) {
      const order = random.shuffle(["a", "b", "c"]).join("");
      counts.set(order, (counts.get(order) ?? 0) + 1);
    }
    expect(counts.size).toBe(6);
    for (const count of counts.values()) expect(Math.abs(count - 2_000)).toBeLessThan(4.5 * Math.sqrt(12_000 * (1 / 6) * (5 / 6)));
    const order = () => hostRandom(key(4)).shuffle(Array.from({ length: 50 }, (_, i) => i));
    expect(order()).toEqual(order());
    expect(order().sort((a, b) => a - b)).toEqual(Array.from({ length: 50 }, (_, i) => i));
  });
});
