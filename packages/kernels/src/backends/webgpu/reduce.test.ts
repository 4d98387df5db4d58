import { afterAll, describe, expect, it } from "vitest";
import type { Device } from "../../device";
import { devices, open } from "../../open";
import { argmax, logSoftmax, max, mean, softmax, sum } from "../../ops/reduce";
import { compareWithReference, evaluate, host, integers, normals, type TestFunction, uniforms } from "../../testing";

const listing = (await devices({ fallback: true })).find(({ name }) => name === "webgpu")!;
if (!listing.available) console.warn(`tests of reductions on webgpu do not run: ${listing.reason}`);

describe.skipIf(!listing.available)("reductions on webgpu", async () => {
  const openHere = (webgpu = {}) => (listing.available ? open("webgpu", { fallback: true, webgpu }) : (undefined as never));
  const device = await openHere();
  const basic = await openHere({ features: [], defaultLimits: true });
  const narrow = await openHere({ maxBinding: 1024, features: [], defaultLimits: true });
  afterAll(() => [device, basic, narrow].forEach((d) => d?.close()));

  const dispatches = async (on: Device, f: TestFunction, shape: readonly number[]) => {
    const before = on.counts!().dispatches;
    await evaluate(on, f, [normals(1, shape)], { gradients: false });
    return on.counts!().dispatches - before;
  };

  // Rows and columns, few and many, short and long, in vectors of four and not.
  const SHAPES: readonly (readonly [readonly number[], number])[] = [
    [[3, 70_000], 1], [[1, 16_385], 1], [[700, 9], 1], [[90, 64], 1], [[20, 516], 1],
    [[3000, 8], 0], [[3000, 7], 0], [[40, 1000], 0], [[130, 258], 0], [[3, 200, 20], 1], [[2, 9000, 2], 1],
  ];

  for (const [shape, axis] of SHAPES) {
    it(`reduce axis ${axis} of [${shape.join(", ")}], with subgroups and without`, async () => {
      for (const on of [device, basic]) {
        for (const f of [sum, mean, max])
          await compareWithReference(on, (x) => f(x, { axes: axis }), [normals(1, shape, 1, 0.5)], { gradients: false });
      }
    });
  }

  it("bind what is too large in parts", async () => {
    const cases: readonly (readonly [readonly number[], number])[] = [
      [[2000], 0], [[2, 700], 1], [[300, 4], 1], [[70, 30], 0], [[4, 200], 0], [[3, 300], 0], [[2, 2, 600], 1], [[2, 90, 7], 1],
    ];
    for (const [shape, axis] of cases) {
      for (const f of [sum, max])
        await compareWithReference(narrow, (x) => f(x, { axes: axis }), [normals(1, shape, 1, 0.5)], { gradients: false });
    }
    for (const f of [softmax, logSoftmax]) {
      for (const shape of [[40, 20], [3, 256], [2, 700]]) await compareWithReference(narrow, f, [normals(3, shape, 4)]);
    }
    for (const shape of [[40, 20], [2, 700]])
      await compareWithReference(narrow, argmax, [integers(3, shape, 0, 90)].map(({ data }) => host(data, shape)), { gradients: false });
  });

  it("take one dispatch, and two for long axes", async () => {
    expect(await dispatches(device, (x) => sum(x), [16_384])).toBe(1);
    expect(await dispatches(device, (x) => sum(x), [16_385])).toBe(2);
    expect(await dispatches(device, (x) => sum(x, { axes: 1 }), [64, 768])).toBe(1);
    expect(await dispatches(device, (x) => sum(x, { axes: 0 }), [8192, 96])).toBe(2);
    for (const f of [softmax, logSoftmax, argmax]) for (const shape of [[70, 64], [3, 5000]])
      expect(await dispatches(device, f, shape)).toBe(1);
  });

  it("keep rows in registers or read them twice, with the same result", async () => {
    for (const on of [device, basic]) {
      for (const f of [softmax, logSoftmax]) {
        for (const width of [2, 5, 33, 257, 1024, 4095, 4096, 4097, 9000]) await compareWithReference(on, f, [normals(3, [3, width], 4)]);
        await compareWithReference(on, f, [uniforms(4, [2, 5000], -1000, 1000)]);
      }
    }
  });

  it("pass on what is not a number, and what is not finite, in rows of any length", async () => {
    for (const width of [3, 40, 5000]) {
      const row = (...first: number[]) => Array.from({ length: width }, (_, i) => first[i] ?? 1);
      const rows = [row(NaN), row(1, NaN), row(Infinity), row(-Infinity, -Infinity), Array.from({ length: width }, () => -Infinity)];
      const { outputs: [y, log] } = await evaluate(device, (x) => [softmax(x), logSoftmax(x)], [host(rows.flat(), [5, width])],
        { gradients: false });
      for (const [r, name] of ["NaN first", "NaN later", "infinity", "", "nothing but -infinity"].entries()) {
        const own = [y!, log!].map((values) => Array.from(values).slice(r * width, (r + 1) * width));
        if (name) {
          expect({ name, others: own[0]!.filter((value) => !Number.isNaN(value) && value !== 0) }).toEqual({ name, others: [] });
          expect({ name, some: own.map((values) => values.some(Number.isNaN)) }).toEqual({ name, some: [true, true] });
        } else {
          expect([own[0]![0], own[0]![1], own[1]![0]]).toEqual([0, 0, -Infinity]);
          expect(own[0]![2]).toBeCloseTo(1 / (width - 2), 6);
        }
      }
    }
  });

  it("find the first of the largest, past the smallest numbers and the sign of 0", async () => {
    for (const on of [device, basic, narrow]) {
      for (const width of [5, 300, 1100]) {
        const row = (at: Readonly<Record<number, number>>, rest: number) => Array.from({ length: width }, (_, i) => at[i] ?? rest);
        const rows = [row({ 3: 7, 4: 7 }, 1), row({ 2: 0 }, -0), row({ 4: 1e-44 }, 1e-45), row({ 1: NaN, 3: NaN }, Infinity),
          row({}, -Infinity), row({ [width - 1]: 2 }, 1)];
        const { outputs: [places, largest] } = await evaluate(on, (x) => [argmax(x), max(x, { axes: 1 })], [host(rows.flat(), [6, width])],
          { gradients: false });
        expect(Array.from(places!)).toEqual([3, 0, 4, 1, 0, width - 1]);
        expect(Array.from(largest!, (x) => (x === 0 ? 0 : x))).toEqual([7, 0, Math.fround(1e-44), NaN, -Infinity, 2]);
      }
    }
  });

  it("give the same bits on every run", async () => {
    const f: TestFunction = (x) => [sum(x, { axes: 0 }), sum(x, { axes: 1 }), sum(x), softmax(x), logSoftmax(x)];
    for (const on of [device, basic]) {
      const first = await evaluate(on, f, [normals(5, [300, 130])]);
      const again = await evaluate(on, f, [normals(5, [300, 130])]);
      expect(again).toEqual(first);
    }
  });
});
