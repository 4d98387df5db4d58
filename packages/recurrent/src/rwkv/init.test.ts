import { key, open } from "@lenggen/kernels";
import { describe, expect, it } from "vitest";
import { Depth, headGain, headNormWeight, orthogonalInit, shiftInit } from "./init";

describe("starting values of RWKV", () => {
  it.each([[24, 24], [8, 40], [40, 8], [7, 5], [1, 6], [6, 1]])("an orthogonal matrix of %i by %i", async (rows, columns) => {
    const device = await open("reference");
    using made = orthogonalInit(0.5)({ key: key(4), device, shape: [rows, columns], dtype: "f64" });
    const m = await made.read();
    const short = Math.min(rows, columns);
    const at = (i: number, j: number) => (rows <= columns ? m[i * columns + j]! : m[j * columns + i]!); // row or column i, element j
    for (let a = 0; a < short; a++) {
      for (let b = 0; b < short; b++) {
        let dot = 0;
        for (let j = 0; j < Math.max(rows, columns); j++) dot += at(a, j) * at(b, j);
        expect(dot).toBeCloseTo(a === b ? 0.25 : 0, 12);
      }
    }
    device.close();
  });

  it("orthogonal matrices differ by key, are alike for one, and lie evenly", async () => {
    const device = await open("reference");
    const traceOf = (m: ArrayLike<number>) => [0, 6, 12, 18, 24].reduce((total, place) => total + m[place]!, 0);
    const traces: number[] = [];
    for (let i = 0; i < 300; i++) {
      using made = orthogonalInit(1)({ key: key(i), device, shape: [5, 5], dtype: "f64" });
      traces.push(traceOf(await made.read()));
    }
    expect(new Set(traces).size).toBe(300);
    using again = orthogonalInit(1)({ key: key(7), device, shape: [5, 5], dtype: "f64" });
    expect(traceOf(await again.read())).toBe(traces[7]);
    // The trace of a matrix of the Haar measure has mean 0 and variance 1 (Diaconis & Shahshahani 1994).
    const mean = traces.reduce((a, b) => a + b, 0) / 300;
    expect(Math.abs(mean)).toBeLessThan(3 / Math.sqrt(300));
    expect(Math.abs(traces.reduce((total, t) => total + t * t, 0) / 300 - 1)).toBeLessThan(0.35);
    device.close();
  });

  it("follow the channel and the depth", async () => {
    const device = await open("reference");
    using share = shiftInit(4, 0.5, 0.1)({ key: key(1), device, shape: [1, 1, 4], dtype: "f64" });
    expect(Array.from(await share.read(), (x) => Number(x.toFixed(6)))).toEqual([0.9, 0.4, 0.192893, 0.033975]);
    expect([new Depth(0, 3).down, new Depth(2, 3).down, new Depth(0, 1).down]).toEqual([0, 1, 0]);
    expect([new Depth(0, 4).left, new Depth(3, 4).left]).toEqual([1, 0.25]);
    expect([headNormWeight(new Depth(3, 4)), headNormWeight(new Depth(0, 4))]).toEqual([1, 0.25 ** 0.7]);
    expect([headGain(400, 100), headGain(50, 100)]).toEqual([1, 0.5]);
    device.close();
  });
});
