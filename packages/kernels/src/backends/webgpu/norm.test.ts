import { afterAll, describe, expect, it } from "vitest";
import type { Device } from "../../device";
import { devices, open } from "../../open";
import { layerNorm } from "../../ops/layerNorm";
import { addRmsNorm, gatedRmsNorm, rmsNorm } from "../../ops/norm";
import { zeros } from "../../ops/memory";
import { compareWithReference, evaluate, expectError, type HostTensor, normals, type TestFunction } from "../../testing";

const listing = (await devices({ fallback: true })).find(({ name }) => name === "webgpu")!;
if (!listing.available) console.warn(`tests of the norms on webgpu do not run: ${listing.reason}`);

const inputs = (shape: readonly number[]) => [normals(1, shape, 2), normals(3, shape, 2), normals(2, [shape.at(-1)!], 0.5, 1)];
const added: TestFunction = (x, residual, weight) => {
  const { normed, residual: sum } = addRmsNorm(x, residual, weight);
  return [normed, sum];
};
const gated = (groups: number): TestFunction => (y, gate, weight) => gatedRmsNorm(y, gate, weight, { groups });
const layerInputs = (shape: readonly number[]) => [normals(1, shape, 2, 3), normals(2, [shape.at(-1)!], 0.5, 1),
  normals(3, [shape.at(-1)!])];
const layered: TestFunction = (x, weight, bias) => layerNorm(x, weight, bias);

describe.skipIf(!listing.available)("norms on webgpu", async () => {
  const openHere = (webgpu = {}) => (listing.available ? open("webgpu", { fallback: true, webgpu }) : (undefined as never));
  const device = await openHere();
  const basic = await openHere({ features: [], defaultLimits: true });
  const narrow = await openHere({ maxBinding: 4096, features: [], defaultLimits: true });
  afterAll(() => [device, basic, narrow].forEach((d) => d?.close()));

  async function dispatches(on: Device, f: TestFunction, given: readonly HostTensor[], gradients: boolean): Promise<number> {
    const before = on.counts!().dispatches;
    await evaluate(on, f, given, { gradients });
    return on.counts!().dispatches - before;
  }

  it("take one dispatch, and two for the gradient", async () => {
    for (const [f, of] of [[added, inputs], [layered, layerInputs], [gated(1), inputs], [gated(4), inputs]] as const) {
      expect(await dispatches(device, f, of([2, 70, 64]), false)).toBe(1);
      expect(await dispatches(device, f, of([2, 70, 64]), true)).toBe(1 + 2);
    }
  });

  it("go without subgroups and with WebGPU's default limits", async () => {
    for (const shape of [[5, 64], [3, 130], [40, 768], [2, 1000]]) {
      await compareWithReference(basic, added, inputs(shape));
      await compareWithReference(basic, layered, layerInputs(shape));
      await compareWithReference(basic, gated(2), inputs(shape));
    }
  });

  it("read rows twice that are too long to keep", async () => {
    for (const on of [device, basic]) {
      for (const shape of [[20, 2049], [11, 8196]]) {
        await compareWithReference(on, added, inputs(shape));
        await compareWithReference(on, layered, layerInputs(shape));
        await compareWithReference(on, gated(1), inputs(shape));
      }
      await compareWithReference(on, gated(2), inputs([10, 2 * 2050 + 2]));
    }
  });

  it("sum the weight's gradient over many rows", async () => {
    await compareWithReference(device, (x, _, weight) => rmsNorm(x, weight), inputs([20_000, 4]), { tolerance: 2e-5 });
    await compareWithReference(device, layered, layerInputs([20_000, 4]), { tolerance: 2e-5 });
  });

  it("bind what is too large in parts", async () => {
    for (const shape of [[300, 64], [100, 96], [70, 33], [5, 1024]]) {
      await compareWithReference(narrow, added, inputs(shape));
      if (shape[1]! <= 512) await compareWithReference(narrow, layered, layerInputs(shape)); // its partial sums are two rows
      await compareWithReference(narrow, gated(1), inputs(shape));
    }
    await compareWithReference(narrow, gated(3), inputs([100, 96]));
    await compareWithReference(narrow, gated(24), inputs([300, 24]));
  });

  it("refuse a row that can't be bound", () => {
    expectError(() => rmsNorm(zeros(narrow, [2, 2000]), zeros(narrow, [2000])), "E_MEMORY", /row of 2000/);
    expectError(() => layerNorm(zeros(narrow, [2, 2000]), zeros(narrow, [2000])), "E_MEMORY", /row of 2000/);
  });

  it("give the same bits on every run", async () => {
    for (const on of [device, narrow]) {
      for (const [f, of] of [[added, inputs], [layered, layerInputs], [gated(2), inputs]] as const) {
        expect(await evaluate(on, f, of([300, 64]))).toEqual(await evaluate(on, f, of([300, 64])));
      }
    }
  });
});
