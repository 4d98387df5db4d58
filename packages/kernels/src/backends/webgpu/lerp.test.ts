import { afterAll, describe, expect, it } from "vitest";
import { devices, open } from "../../open";
import { lerp } from "../../ops/lerp";
import { compareWithReference, evaluate, normals, type TestFunction } from "../../testing";

const listing = (await devices({ fallback: true })).find(({ name }) => name === "webgpu")!;
if (!listing.available) console.warn(`tests of the mixes on webgpu do not run: ${listing.reason}`);

const mixes: TestFunction = (a, b, ...shares) => lerp(a!, b!, shares);
const byRow: TestFunction = (a, b, extra, ...shares) => lerp(a!, b!, shares, extra!);
const inputs = (rows: number, width: number, count: number) =>
  [normals(1, [rows, width]), normals(2, [rows, width]), ...Array.from({ length: count }, (_, i) => normals(3 + i, [width]))];
const inputsByRow = (rows: number, width: number, count: number) =>
  inputs(rows, width, count).toSpliced(2, 0, normals(20, [count, rows, width]));

describe.skipIf(!listing.available)("lerp on webgpu", async () => {
  const openHere = (webgpu = {}) => (listing.available ? open("webgpu", { fallback: true, webgpu }) : (undefined as never));
  const device = await openHere();
  const narrow = await openHere({ maxBinding: 4096, features: [], defaultLimits: true });
  afterAll(() => [device, narrow].forEach((d) => d?.close()));

  it("takes a dispatch for three mixes, and two for the gradient of each", async () => {
    const start = device.counts!().dispatches;
    await evaluate(device, mixes, inputs(50, 24, 6), { gradients: false });
    const middle = device.counts!().dispatches;
    await evaluate(device, mixes, inputs(50, 24, 6));
    expect([middle - start, device.counts!().dispatches - middle]).toEqual([2, 2 + 2 * 6]);
  });

  it.each([[100, 24, 4], [3, 700, 2], [1500, 1, 1]])("binds what is too large in parts: %i rows of %i, %i mixes",
    async (rows, width, count) => {
      await compareWithReference(narrow, mixes, inputs(rows, width, count));
      await compareWithReference(narrow, byRow, inputsByRow(rows, width, count));
    });
});
