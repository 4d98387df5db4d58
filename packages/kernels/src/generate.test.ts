import { describe, expect, it } from "vitest";
import { sample } from "./generate";

const LOGITS = [0, 3, 1, 2]; // by weight: 1, 3, 2, 0

/** How often each index is drawn over an even grid of random numbers. */
function shares(options: { temperature: number; topK?: number; topP?: number }): number[] {
  const counts = [0, 0, 0, 0];
  for (let i = 0; i < 10_000; i++) counts[sample(LOGITS, { ...options, random: i / 10_000 })]!++;
  return counts.map((n) => n / 10_000);
}

describe("sample", () => {
  it("draws from the softmax at temperature 1", () => {
    const weights = LOGITS.map(Math.exp);
    const total = weights.reduce((a, b) => a + b);
    shares({ temperature: 1 }).forEach((share, i) => expect(share).toBeCloseTo(weights[i]! / total, 3));
  });

  it("sharpens below temperature 1 and takes the likeliest at 0", () => {
    expect(shares({ temperature: 0.25 })[1]).toBeGreaterThan(shares({ temperature: 1 })[1]!);
    expect(shares({ temperature: 0 })).toEqual([0, 1, 0, 0]);
  });

  it("keeps the top k only", () => {
    const [a, b, c, d] = shares({ temperature: 1, topK: 2 });
    expect([a, c]).toEqual([0, 0]);
    expect(b! / d!).toBeCloseTo(Math.E, 1);
  });

  it("keeps the smallest set of tokens that reaches top p", () => {
    expect(shares({ temperature: 1, topP: 0.6 })).toEqual([0, 1, 0, 0]); // the likeliest alone has 0.64
    expect(shares({ temperature: 1, topP: 0.7 }).map((s) => s > 0)).toEqual([false, true, false, true]);
  });

  it("refuses logits that are not numbers", () => {
    expect(() => sample([0, Number.NaN], { temperature: 1, random: 0 })).toThrowError(expect.objectContaining({ code: "E_NOT_FINITE" }));
  });
});
