import { afterAll, describe, expect, it } from "vitest";
import { devices, open } from "../../open";
import { ssmGates } from "../../ops/gates";
import { compareWithReference, evaluate, host, normals, type TestFunction } from "../../testing";

const listing = (await devices({ fallback: true })).find(({ name }) => name === "webgpu")!;
if (!listing.available) console.warn(`tests of the gates on webgpu do not run: ${listing.reason}`);

const gates = (options?: { minDt?: number; maxDt?: number }): TestFunction => (raw, bias, aLog) => {
  const { dt, a } = ssmGates(raw, bias, aLog, options);
  return [dt, a];
};
const inputs = (rows: number, heads: number) => [normals(1, [rows, heads], 3), normals(2, [heads]), normals(3, [heads])];

describe.skipIf(!listing.available)("ssmGates on webgpu", async () => {
  const openHere = (webgpu = {}) => (listing.available ? open("webgpu", { fallback: true, webgpu }) : (undefined as never));
  const device = await openHere();
  const narrow = await openHere({ maxBinding: 4096, features: [], defaultLimits: true });
  afterAll(() => [device, narrow].forEach((d) => d?.close()));

  it("takes one dispatch, and two for the gradient", async () => {
    const start = device.counts!().dispatches;
    await evaluate(device, gates(), inputs(500, 24), { gradients: false });
    const middle = device.counts!().dispatches;
    await evaluate(device, gates(), inputs(500, 24));
    expect([middle - start, device.counts!().dispatches - middle]).toEqual([1, 1 + 2]);
  });

  it.each([[3, 257], [5, 600], [5000, 1], [30_000, 2], [0, 5]])("takes %i rows of %i heads", async (rows, heads) => {
    await compareWithReference(device, gates({ minDt: 0.1, maxDt: 3 }), inputs(rows, heads), { tolerance: 2e-5 });
  });

  it.each([[500, 24], [3000, 3], [3, 500]])("binds what is too large in parts: %i rows of %i heads", async (rows, heads) => {
    await compareWithReference(narrow, gates({ minDt: 0.1 }), inputs(rows, heads));
  });

  it("gives the same bits on every run", async () => {
    for (const on of [device, narrow]) {
      expect(await evaluate(on, gates(), inputs(700, 24))).toEqual(await evaluate(on, gates(), inputs(700, 24)));
    }
  });

  it("lets NaN through", async () => {
    const { outputs, gradients } = await evaluate(device, gates({ maxDt: 1 }),
      [host([NaN, 1], [1, 2]), host([0, 0], [2]), host([0, 0], [2])]);
    expect(outputs.map((values) => Array.from(values).map(Number.isNaN))).toEqual([[true, false], [true, false]]);
    expect(gradients.map((values) => Number.isNaN(values![0]))).toEqual([true, true, true]);
  });
});
