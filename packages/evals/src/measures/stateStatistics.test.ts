import { type Device, key } from "@lenggen/kernels";
import { beforeAll, describe, expect, test } from "vitest";
import { HEADS, noise, reference, tinyModel } from "../tinyModel.fixture";
import { stateStatistics } from "./stateStatistics";

let device: Device;
beforeAll(async () => {
  device = await reference();
});

const sequences = [1, 2, 3].map((seed) => noise(100, 8, seed));

function moments(values: readonly number[]) {
  const mean = values.reduce((a, b) => a + b) / values.length;
  const square = values.reduce((a, b) => a + b * b, 0) / values.length;
  return { mean, std: Math.sqrt(square - mean ** 2), rms: Math.sqrt(square) };
}

/** The counts of a head's tokens after `position` tokens. */
function counts(sequence: Uint8Array, position: number, head: number): number[] {
  return [0, 1, 2, 3].map((v) => sequence.subarray(0, position).filter((id) => id === head * 4 + v).length);
}

describe("stateStatistics", () => {
  test("per head, per layer and pooled, at each position", async () => {
    const model = tinyModel();
    const result = await stateStatistics(model, model.init(key(0), device), sequences, { length: 100, chunk: 13, batch: 2 });
    const positions = [...new Set(result.pooled.map((p) => p.position))];
    expect(positions.at(-1)).toBe(100);
    expect(result.heads).toHaveLength(positions.length * HEADS);
    for (const { position, layer, head, ...found } of result.heads) {
      expect(layer).toBe(0);
      const expected = moments(sequences.flatMap((s) => counts(s, position, head)));
      for (const name of ["mean", "std", "rms"] as const) expect(found[name]).toBeCloseTo(expected[name], 9);
    }
    for (const [i, { position, std, ci95 }] of result.pooled.entries()) {
      const all = sequences.map((s) => [0, 1].flatMap((head) => counts(s, position, head)));
      expect(std).toBeCloseTo(moments(all.flat()).std, 9);
      expect(result.layers[i]!.std).toBeCloseTo(std, 12);
      const single = all.map((values) => moments(values).std);
      expect((ci95![0] + ci95![1]) / 2).toBeCloseTo(single.reduce((a, b) => a + b) / 3, 9);
    }
  });

  test("a decaying state settles, a counting one grows", async () => {
    const grow = async (decay: number) => {
      const model = tinyModel({ decay });
      const { pooled } = await stateStatistics(model, model.init(key(0), device), [noise(4000)], { length: 4000 });
      return pooled.at(-1)!.rms / pooled.find((p) => p.position === 512)!.rms;
    };
    expect(await grow(1)).toBeGreaterThan(5);
    expect(await grow(0.9)).toBeLessThan(1.5);
  });

  test("leaves out a memory that grows with the stream", async () => {
    const options = { length: 50, chunk: 13 };
    const [plain, remembering] = [tinyModel(), tinyModel({ record: true })];
    expect(await stateStatistics(remembering, remembering.init(key(0), device), sequences, options))
      .toEqual(await stateStatistics(plain, plain.init(key(0), device), sequences, options));
  });

  test("refuses a model without recurrent state, and leaves memory as it was", async () => {
    const model = tinyModel({ memory: 4 });
    await expect(stateStatistics(model, model.init(key(0), device), sequences, { length: 50 })).rejects.toThrow("no recurrent state");
    const counting = tinyModel();
    const parameters = counting.init(key(0), device);
    const before = device.memory().used;
    await stateStatistics(counting, parameters, sequences, { length: 50 });
    expect(device.memory().used).toBe(before);
  });
});
