import { describe, expect, it } from "vitest";
import { learningRateAt } from "./schedule";

const base = { schedule: "cosine", learningRate: 2, warmup: 4, finalShare: 0.1 } as const;

describe("learningRateAt", () => {
  it("rises in a line to the full rate at the last warm-up update", () => {
    expect([1, 2, 3, 4].map((step) => learningRateAt(step, 12, base))).toEqual([0.5, 1, 1.5, 2]);
  });

  it("falls along half a cosine to the final share at the last update", () => {
    expect(learningRateAt(8, 12, base)).toBeCloseTo(2 * 0.55, 12); // half-way: the mean of 1 and 0.1
    expect(learningRateAt(12, 12, base)).toBeCloseTo(0.2, 12);
  });

  it("stays when constant, and works without warm-up", () => {
    expect(learningRateAt(12, 12, { ...base, schedule: "constant" })).toBe(2);
    expect(learningRateAt(1, 12, { ...base, schedule: "constant", warmup: 0 })).toBe(2);
    expect(learningRateAt(1, 1, { ...base, warmup: 0 })).toBeCloseTo(0.2, 12);
  });
});
