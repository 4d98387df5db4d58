import { afterAll, describe, expect, it } from "vitest";
import type { Device } from "../../device";
import { devices, open } from "../../open";
import { broadcastTo, concat, slice, transpose } from "../../ops/view";
import { dispose, tensor } from "../../tensor";
import { full } from "../../ops/memory";
import { evaluate, type HostTensor, referenceDevice, type TestFunction, kernelsIn } from "../../testing";

const listing = (await devices({ fallback: true })).find(({ name }) => name === "webgpu")!;
if (!listing.available) console.warn(`tests of views on webgpu do not run: ${listing.reason}`);

const count = (shape: readonly number[]): HostTensor => {
  const size = shape.reduce((a, b) => a * b, 1);
  return { data: Array.from({ length: size }, (_, i) => i), shape, kind: "integer" };
};

const CASES: readonly (readonly [string, TestFunction, readonly HostTensor[]])[] = [
  ["a transposed matrix", (x) => transpose(x), [count([70, 45])]],
  ["a transposed matrix of whole tiles", (x) => transpose(x), [count([64, 96])]],
  ["transposed within a batch", (x) => transpose(x, [0, 2, 1]), [count([3, 40, 37])]],
  ["transposed around a batch", (x) => transpose(x, [2, 1, 0]), [count([33, 5, 40])]],
  ["four axes turned around", (x) => transpose(x, [3, 1, 2, 0]), [count([9, 3, 5, 12])]],
  ["heads to the front", (x) => transpose(x, [0, 2, 1, 3]), [count([2, 30, 4, 16])]],
  ["a thin transpose", (x) => transpose(x), [count([700, 3])]],
  ["a slice by vectors", (x) => slice(x, 1, 8, 40), [count([20, 64])]],
  ["a slice that begins anywhere", (x) => slice(x, 1, 3, 30), [count([20, 33])]],
  ["a slice of rows", (x) => slice(x, 0, 3, 17), [count([20, 33])]],
  ["joined columns", (a, b) => concat([a, b], 1), [count([50, 7]), count([50, 12])]],
  ["stretched rows and columns", (a, b) => [broadcastTo(a, [40, 25]), broadcastTo(b, [40, 25])], [count([25]), count([40, 1])]],
];

describe.skipIf(!listing.available)("views on webgpu", async () => {
  const openHere = (webgpu = {}) => (listing.available ? open("webgpu", { fallback: true, webgpu }) : (undefined as never));
  const device = await openHere();
  const narrow = await openHere({ maxBinding: 1024, features: [], defaultLimits: true });
  afterAll(() => [device, narrow].forEach((d) => d?.close()));

  for (const [name, f, inputs] of CASES) {
    it(`moves every element to its place, whole and in parts: ${name}`, async () => {
      const expected = await evaluate(referenceDevice, f, inputs, { gradients: false });
      for (const on of [device, narrow]) {
        const actual = await evaluate(on, f, inputs, { gradients: false });
        expect(actual.outputs.map((values) => Array.from(values))).toEqual(expected.outputs.map((values) => Array.from(values)));
      }
    });
  }

  it("takes one dispatch, or a copy where both sides are one run", async () => {
    const counted = async (on: Device, f: TestFunction, input: HostTensor) => {
      const before = on.counts!();
      await evaluate(on, f, [input], { gradients: false });
      const after = on.counts!();
      // One copy is that for reading back.
      return [after.dispatches - before.dispatches, after.copies - before.copies - 1];
    };
    expect(await counted(device, (x) => transpose(x), count([70, 45]))).toEqual([1, 0]);
    expect(await counted(device, (x) => slice(x, 1, 3, 30), count([20, 33]))).toEqual([1, 0]);
    expect(await counted(device, (x) => slice(x, 0, 3, 17), count([20, 33]))).toEqual([0, 1]);
    expect(await counted(narrow, (x) => slice(x, 0, 3, 17), count([200, 33]))).toEqual([0, 1]);
  });

  it("leaves what lies beside the target, and moves bits as they are", async () => {
    const [x, out] = [tensor(device, [1, NaN, 1e-42, -0, 5, 6, 7, 8]), full(device, [40], 9)];
    kernelsIn(device).copyStrided({ x, out, xOffset: 1, outOffset: 3, layout: { sizes: [3], strides: [[1], [10]] } });
    const values = Array.from(await out.read());
    expect([values[3], values[13], values[23]]).toEqual([NaN, Math.fround(1e-42), -0]);
    expect(values.filter((value) => value === 9)).toHaveLength(37);
    dispose([x, out]);
  });

  it("copies within one buffer", async () => {
    const all = tensor(device, Array.from({ length: 20 }, (_, i) => i));
    const [low, high] = [all.window([5]), all.window([10], 10)];
    kernelsIn(device).copyStrided({ x: low, out: high, xOffset: 1, outOffset: 2, layout: { sizes: [4], strides: [[1], [1]] } });
    expect(Array.from(await all.read())).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 1, 2, 3, 4, 16, 17, 18, 19]);
    dispose([all, low, high]);
  });
});
