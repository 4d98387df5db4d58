import { describe, expect, it } from "vitest";
import { checkWarmup, learningRateAt } from "./schedule";

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
  });

  it("has the full rate where it is a single update, and the final one behind its end", () => {
    for (const warmup of [0, 1]) expect(learningRateAt(1, 1, { ...base, warmup })).toBe(2);
    expect(learningRateAt(2, 1, { ...base, warmup: 0 })).toBeCloseTo(0.2, 12);
    expect(learningRateAt(500, 12, base)).toBeCloseTo(0.2, 12);
  });
});

describe("checkWarmup", () => {
  const schedule = { ...base, scheduleSteps: 0 };

  it("takes a warm-up that ends with the schedule or before", () => {
    checkWarmup(schedule, 4);
    checkWarmup({ ...schedule, scheduleSteps: 4 }, 1); // the run is a first part of its schedule
  });

  it.each(["constant", "cosine"] as const)("refuses one that does not end, when %s", (name) => {
    const refused = (more: object, steps: number, message: string) =>
      expect(() => checkWarmup({ ...schedule, schedule: name, ...more }, steps))
        .toThrow(expect.objectContaining({ code: "E_CONFIG", message: expect.stringContaining(message) as string }));
    refused({}, 3, "warmup is 4, longer than the run of 3 steps");
    refused({ scheduleSteps: 2 }, 9, "warmup is 4, longer than the schedule of 2 steps");
  });
});
