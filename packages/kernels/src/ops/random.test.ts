import { describe, expect, it } from "vitest";
import { open } from "../open";
import type { TypedArray } from "../dtype";
import { key, randomBits } from "../random";
import { eachDevice, expectError, instructionSets, referenceDevice } from "../testing";
import { normal, uniform } from "./random";

/** Density and distribution of the standard normal; the series Σ x^(2k+1) / (1·3·5···) is exact to rounding for |x| < 8. */
function phi(x: number): number {
  return Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI);
}
function distribution(x: number): number {
  let [term, sum] = [x, 0];
  for (let k = 3; Math.abs(term) > 1e-17 * Math.abs(sum); k += 2) {
    sum += term;
    term *= (x * x) / k;
  }
  return 0.5 + phi(x) * sum;
}

/** Largest distance between the draws' distribution and a given one, times √n: above 1.95 in one of 1,000 cases. */
function kolmogorov(draws: ArrayLike<number>, cdf: (x: number) => number): number {
  const sorted = Float64Array.from(draws).sort();
  return Math.sqrt(sorted.length) * sorted.reduce((worst, x, i) => Math.max(worst, Math.abs(cdf(x) - (i + 0.5) / sorted.length)), 0);
}

/** The place of the first number whose bits differ; -1 when there is none. */
function firstDifference(a: TypedArray, b: TypedArray): number {
  const [x, y] = [new Int32Array(a.buffer), new Int32Array(b.buffer)];
  return x.length === y.length ? x.findIndex((bits, i) => bits !== y[i]) : Math.min(x.length, y.length);
}

eachDevice("random", (device) => {
  it.each([1, 2, 3, 15, 16, 17, 33, 8191, 8192, 8193, 100_001])("gives the reference's bits for %i numbers", async (n) => {
    for (const draw of [
      (d: typeof device) => uniform(key(n), d, [n], { low: -0.3, high: 0.7 }),
      (d: typeof device) => normal(key(n), d, [n], { mean: 0.1, std: 0.02 }),
      // Down to subnormal numbers.
      (d: typeof device) => normal(key(n), d, [n], { std: 1e-39 }),
    ]) {
      const [got, expected] = [draw(device), draw(referenceDevice)];
      expect(firstDifference(await got.read(), await expected.read())).toBe(-1);
      got.dispose();
      expected.dispose();
    }
  });

  it("depends on the key and not on the shape", async () => {
    const read = async (seed: bigint, shape: number[]) => {
      using t = normal(key(seed), device, shape);
      return t.read();
    };
    expect(await read(1n, [4, 6])).toEqual(await read(1n, [24]));
    expect(await read(1n, [24])).not.toEqual(await read(2n, [24]));
    expect(await read(1n, [24])).not.toEqual(await read(1n + (1n << 32n), [24]));
  });

  it("gives nothing for an empty shape", async () => {
    using t = normal(key(0), device, [0, 3]);
    expect((await t.read()).length).toBe(0);
  });

  it("refuses impossible parameters", () => {
    expectError(() => uniform(key(0), device, [2], { low: 1, high: 0 }), "E_ARGUMENT", /low 1 and high 0/);
    expectError(() => uniform(key(0), device, [2], { high: Infinity }), "E_ARGUMENT", /finite/);
    expectError(() => normal(key(0), device, [2], { std: -1 }), "E_ARGUMENT", /std -1/);
    expectError(() => normal(key(0), device, [2], { mean: NaN }), "E_ARGUMENT", /mean NaN/);
    expectError(() => normal(key(0), device, [2], { dtype: "i32" }), "E_DTYPE", /not i32/);
  });
});

describe("uniform", () => {
  it("is ⌊word / 2⁸⌋ · 2⁻²⁴, exactly", async () => {
    using t = uniform(key(2), referenceDevice, [1000]);
    expect([...(await t.read())]).toEqual([...randomBits(key(2), 1000)].map((word) => (word >>> 8) / 2 ** 24));
  });

  it("fills its interval evenly", async () => {
    using t = uniform(key(12), referenceDevice, [50_000], { low: -2, high: 3 });
    const draws = await t.read();
    expect(draws.every((x) => x >= -2 && x < 3)).toBe(true);
    expect(kolmogorov(draws, (x) => (x + 2) / 5)).toBeLessThan(1.95);
  });
});

describe("normal", () => {
  it("is the inverse distribution of its word, to 1.5e-6", async () => {
    const n = 200_000;
    using t = normal(key(3), referenceDevice, [n]);
    const draws = await t.read();
    let [worst, wrongSigns] = [0, 0];
    randomBits(key(3), n).forEach((word, i) => {
      const p = (2 * ((word >>> 8) & 0x7fffff) + 1) * 2 ** -25;
      const z = -Math.abs(draws[i]!);
      worst = Math.max(worst, Math.abs((distribution(z) - p) / (phi(z) * z)));
      if (draws[i]! < 0 !== word < 2 ** 31) wrongSigns++;
    });
    expect(wrongSigns).toBe(0);
    expect(worst).toBeLessThan(1.5e-6);
  });

  it("has the moments, tails and distribution of a normal", async () => {
    const n = 200_000;
    using t = normal(key(4), referenceDevice, [n], { dtype: "f64" });
    const draws = [...(await t.read())];
    const moment = (k: number) => draws.reduce((sum, x) => sum + x ** k, 0) / n;
    // Standard errors of the first four moments: √(1, 2, 15, 96) / √n.
    expect(Math.abs(moment(1))).toBeLessThan(4.5 / Math.sqrt(n));
    expect(Math.abs(moment(2) - 1)).toBeLessThan(4.5 * Math.sqrt(2 / n));
    expect(Math.abs(moment(3))).toBeLessThan(4.5 * Math.sqrt(15 / n));
    expect(Math.abs(moment(4) - 3)).toBeLessThan(4.5 * Math.sqrt(96 / n));
    for (const z of [2, 3, 4]) {
      const expected = 2 * n * (1 - distribution(z));
      const beyond = draws.filter((x) => Math.abs(x) > z).length;
      expect(Math.abs(beyond - expected)).toBeLessThan(4.5 * Math.sqrt(expected) + 1);
    }
    expect(Math.max(...draws.map(Math.abs).slice(0, 100_000))).toBeLessThan(5.43);
    expect(kolmogorov(draws, distribution)).toBeLessThan(1.95);
  });

  it("gives f64 tensors the same numbers as f32 ones", async () => {
    const options = { mean: 0.3, std: 1.7 };
    using narrow = normal(key(5), referenceDevice, [500], options);
    using wide = normal(key(5), referenceDevice, [500], { ...options, dtype: "f64" });
    expect([...(await wide.read())]).toEqual([...(await narrow.read())]);
  });

  it.runIf(instructionSets.length > 0)("has the same bits on every instruction set and with any number of threads", async () => {
    const n = 300_001;
    using expected = normal(key(6), referenceDevice, [n], { mean: 1, std: 3 });
    const numbers = await expected.read();
    for (const isa of instructionSets) {
      for (const threads of [1, 3]) {
        const device = await open("cpu", { isa, threads });
        const got = normal(key(6), device, [n], { mean: 1, std: 3 });
        expect(firstDifference(await got.read(), numbers), `first differing number on ${isa}`).toBe(-1);
        got.dispose();
        device.close();
      }
    }
  });
});
