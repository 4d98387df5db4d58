import { type Device, key } from "@lenggen/kernels";
import { beforeEach, describe, expect, test } from "vitest";
import { noise, reference, tinyModel } from "../tinyModel.fixture";
import { effectiveRemembrance, spreadStarts } from "./effectiveRemembrance";

let device: Device;
beforeEach(async () => {
  // One for each test: what another left to the garbage collector may be freed while memory is compared.
  device = await reference();
});

const sequences = [1, 2].map((seed) => noise(256, 8, seed));
const softmax = (z: readonly number[]) => {
  const e = z.map(Math.exp);
  const sum = e.reduce((a, b) => a + b);
  return e.map((v) => v / sum);
};

describe("effectiveRemembrance", () => {
  test("is 0 as long as the suffix is longer than the model's memory, and not after", async () => {
    const model = tinyModel({ memory: 10 });
    const ts = [1, 100, 246, 247, 250, 255];
    const { points } = await effectiveRemembrance(model, model.init(key(0), device), sequences, { length: 256, ends: 1, ts, chunk: 32 });
    expect(points.map((p) => p.t)).toEqual(ts);
    expect(points.slice(0, 3).map((p) => p.distance)).toEqual([0, 0, 0]);
    for (const point of points.slice(3)) expect(point.distance).toBeGreaterThan(0.01);
  });

  test("is the total variation of the formula, averaged over ends and sequences", async () => {
    const model = tinyModel({ sharpness: 0.3 });
    const { points } = await effectiveRemembrance(model, model.init(key(0), device), sequences, { length: 40, ends: 3, ts: [25] });
    const q = (sequence: Uint8Array, from: number, to: number) =>
      softmax(Array.from({ length: 8 }, (_, v) => 0.3 * sequence.subarray(from, to).filter((id) => id === v).length));
    const distances = sequences.flatMap((sequence) => [38, 39, 40].map((end) => {
      const [whole, suffix] = [q(sequence, 0, end), q(sequence, 25, end)];
      return 0.5 * whole.reduce((sum, p, v) => sum + Math.abs(p - suffix[v]!), 0);
    }));
    expect(points[0]!.distance).toBeCloseTo(distances.reduce((a, b) => a + b) / 6, 5);
    expect(points[0]!.ci95).not.toBeNull();
  });

  test("leaves memory as it was and reports progress to the end", async () => {
    const model = tinyModel();
    const parameters = model.init(key(0), device);
    const before = device.memory().used;
    let last = [0, 1];
    await effectiveRemembrance(model, parameters, sequences,
      { length: 200, points: 6, batch: 1, chunk: 64, onProgress: (...p) => (last = p) });
    expect(last[0]).toBe(last[1]);
    expect(device.memory().used).toBe(before);
  });

  test.each([{ length: 8 }, { length: 200, ts: [0] }, { length: 200, ts: [199] }, { length: 257 }])("refuses %j", async (options) => {
    const model = tinyModel();
    await expect(effectiveRemembrance(model, model.init(key(0), device), sequences,
      options)).rejects.toThrow(/must be a whole number|needed/);
  });
});

test("spreadStarts: sorted, distinct, inside the range, dense at both ends", () => {
  for (const [length, ends] of [[8192, 8], [256, 8], [20, 1], [9, 8]] as const) {
    const starts = spreadStarts(length, ends);
    expect(starts.length).toBeGreaterThan(0);
    expect([...new Set(starts)].sort((a, b) => a - b)).toEqual(starts);
    expect(starts[0]).toBe(1);
    expect(starts.at(-1)!).toBeLessThanOrEqual(length - ends);
  }
  expect(spreadStarts(8192, 8).at(-1)).toBe(8192 - 32);
});
