import { describe, expect, it } from "vitest";
import {
  checkGradient, checkLeaks, checkSameBits, compareWithReference, eachDevice, evaluate, expectError, host, normals, referenceDevice,
  type TestFunction,
} from "../testing";
import { zeros } from "./memory";
import { ssmGates } from "./gates";

const gates = (options?: { minDt?: number; maxDt?: number }): TestFunction => (raw, bias, aLog) => {
  const { dt, a } = ssmGates(raw, bias, aLog, options);
  return [dt, a];
};
const inputs = (rows: number, heads: number) => [normals(1, [2, rows, heads], 3), normals(2, [heads]), normals(3, [heads])];

describe("the reference gates", () => {
  it("have the gradient that finite differences give", async () => {
    await checkGradient(gates(), inputs(3, 4));
    await checkGradient(gates({ minDt: 0.3, maxDt: 2 }), inputs(3, 4));
  });

  it("follow the formula, and stop the gradient where dt is clamped", async () => {
    const given = [host([-20, 0, 20], [3, 1]), host([1], [1]), host([Math.log(2)], [1])];
    const { outputs: [dt, a], gradients: [draw] } = await evaluate(referenceDevice, gates({ minDt: 0.001, maxDt: 10 }), given,
      { precise: true });
    expect(Array.from(dt!)).toEqual([0.001, Math.log1p(Math.E), 10]);
    expect(a![1]).toBeCloseTo(-2 * Math.log1p(Math.E), 6);
    expect([draw![0], draw![2]]).toEqual([0, 0]);
    expect(draw![1]).not.toBe(0);
  });
});

eachDevice("ssmGates", (device) => {
  it.each([[1, 1], [1, 3], [7, 8], [5, 24], [300, 17], [64, 40]])("agrees with float64: %i rows of %i heads", async (rows, heads) => {
    await compareWithReference(device, gates(), inputs(rows, heads));
    await compareWithReference(device, gates({ minDt: 0.2, maxDt: 1.5 }), inputs(rows, heads));
  });

  it("keeps tiny steps accurate and large ones finite", async () => {
    const extreme = [host([-80, -30, -5, 0, 30, 500], [6, 1]), host([0], [1]), host([2.7], [1])];
    await compareWithReference(device, gates(), extreme);
    const { outputs: [dt] } = await evaluate(device, gates(), extreme, { gradients: false });
    expect(dt![1]! / Math.exp(-30)).toBeCloseTo(1, 5);
  });

  it("has a gradient when the loss sees only one output", async () => {
    const only = (key: "dt" | "a"): TestFunction => (raw, bias, aLog) => ssmGates(raw, bias, aLog)[key];
    await compareWithReference(device, only("dt"), inputs(5, 4));
    await compareWithReference(device, only("a"), inputs(5, 4));
  });

  it("leaves no memory behind", async () => {
    await checkLeaks(device, gates(), inputs(5, 4));
  });

  it("refuses what does not fit, naming it", () => {
    const [raw, three, four] = [zeros(device, [2, 4]), zeros(device, [3]), zeros(device, [4])];
    expectError(() => ssmGates(raw, three, four), "E_SHAPE", /bias \[3\]/);
    expectError(() => ssmGates(raw, four, three), "E_SHAPE", /aLog \[3\]/);
    expectError(() => ssmGates(raw, four, four, { minDt: 2, maxDt: 1 }), "E_ARGUMENT", /\[2, 1\]/);
    for (const t of [raw, three, four]) t.dispose();
  });
});

describe("ssmGates on every instruction set", () => {
  it("has the same bits with 1, 2 and 3 threads", async () => {
    await checkSameBits(gates({ minDt: 0.01, maxDt: 2 }), inputs(333, 19));
  });
});
