import { describe, expect, it } from "vitest";
import { sample, type Sampling } from "./sample";
import { testRandom } from "./testing";

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

/** The same by sorting everything: what a draw means. */
function bySorting(logits: ArrayLike<number>, { temperature, topK, topP, random }: Sampling & { random: number }): number {
  const order = Array.from({ length: logits.length }, (_, i) => i).sort((a, b) => logits[b]! - logits[a]! || a - b);
  if (temperature === 0) return order[0]!;
  const kept = order.slice(0, topK ?? order.length);
  const weights = kept.map((i) => Math.exp((logits[i]! - logits[order[0]!]!) / temperature));
  const total = weights.reduce((a, b) => a + b, 0);
  let mass = 0;
  const nucleus = weights.findIndex((w) => (mass += w) >= (topP ?? 1) * total) + 1 || weights.length;
  let left = random * weights.slice(0, nucleus).reduce((a, b) => a + b, 0);
  const chosen = weights.slice(0, nucleus).findIndex((w) => (left -= w) < 0);
  return kept[chosen === -1 ? nucleus - 1 : chosen]!;
}

const uniform = testRandom(7);
const normal = () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
const made = (n: number, f: (i: number) => number) => Float32Array.from({ length: n }, (_, i) => f(i));

describe("selection", () => {
  // Rounding may move a border between two tokens by 10⁻¹³ of the range; none of these draws falls on one.
  it.each([
    ["normal logits", made(1000, () => 3 * normal())],
    ["flat ones", made(1000, () => 0.1 * normal())],
    ["a single token far above", made(1000, (i) => (i === 612 ? 40 : normal()))],
    ["masked tokens", made(1000, (i) => (i % 3 ? -1e9 : normal()))],
    ["masked tokens, almost all", made(1000, (i) => (i === 5 || i === 700 ? normal() : -3e38))],
    ["equal logits", made(1000, () => 1.5)],
    ["few different logits", made(1000, () => Math.round(normal()))],
    ["rising logits", made(1000, (i) => i / 100)],
    ["falling logits", made(1000, (i) => -i / 100)],
    ["few tokens", made(5, normal)],
    ["one token", made(1, normal)],
    ["numbers that are no floats", Array.from({ length: 300 }, normal)],
    ["a byte model's", made(256, () => 2 * normal())],
  ])("gives the tokens that sorting gives: %s", (_, logits) => {
    const settings: Sampling[] = [];
    for (const temperature of [0, 0.01, 0.7, 1, 5, 1e-300]) {
      for (const topK of [undefined, 1, 2, 40, 200, 5000]) for (const topP of [undefined, 1e-9, 0.3, 0.9, 0.999, 1])
        settings.push({ temperature, topK, topP });
    }
    const differing: string[] = [];
    for (const setting of settings) {
      for (const random of [0, uniform(), uniform(), 1 - 1e-9]) {
        const options = { ...setting, random };
        const [drawn, wanted] = [sample(logits, options), bySorting(logits, options)];
        if (drawn !== wanted) differing.push(`${JSON.stringify(options)}: ${drawn}, but sorting gives ${wanted}`);
      }
    }
    expect(differing).toEqual([]);
  });

  it("does not remember a longer list of logits", () => {
    const [long, short] = [made(900, normal), made(30, normal)];
    for (const logits of [short, long, short]) {
      const options = { temperature: 1, topK: 20, topP: 0.9, random: 0.83 };
      expect(sample(logits, options)).toBe(bySorting(logits, options));
    }
  });

  it.each([
    [{ temperature: -1 }, /temperature -1/], [{ temperature: Number.NaN }, /temperature NaN/], [{ topK: 0.5 }, /topK 0.5/],
    [{ topP: 0 }, /topP 0/],
    [{ random: 1 }, /random 1/],
  ])("refuses %j", (options, message) => {
    expect(() => sample(LOGITS, { temperature: 1, random: 0, ...options })).toThrowError(
      expect.objectContaining({ code: "E_ARGUMENT", message: expect.stringMatching(message) as string }));
  });

  it("refuses to choose among nothing, and infinity wherever it stands", () => {
    expect(() => sample([], { temperature: 0, random: 0 })).toThrowError(expect.objectContaining({ code: "E_ARGUMENT" }));
    for (const bad of [Infinity, -Infinity, Number.NaN]) {
      for (const at of [0, 1, 2]) {
        expect(() => sample([1, 2, 3].with(at, bad), { temperature: 0, random: 0 }))
          .toThrowError(expect.objectContaining({ code: "E_NOT_FINITE" }));
      }
    }
  });
});
