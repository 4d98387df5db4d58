import { describe, expect, it } from "vitest";
import {
  checkGradient, checkLeaks, checkSameBits, compareWithReference, eachDevice, evaluate, expectError, host, integers, normals, uniforms,
  upload,
} from "../testing";
import type { Tensor } from "../tensor";
import { argmax, logSoftmax, max, mean, type ReduceOptions, softmax, sum } from "./reduce";

const CASES: readonly { shape: readonly number[]; axes?: number | readonly number[]; out: readonly number[] }[] = [
  { shape: [], out: [] },
  { shape: [1], out: [] },
  { shape: [37], out: [] },
  { shape: [5, 33], out: [] },
  { shape: [5, 33], axes: -1, out: [5] },
  { shape: [5, 33], axes: 0, out: [33] },
  { shape: [5, 33], axes: [], out: [5, 33] },
  { shape: [3, 4, 5], axes: 1, out: [3, 5] },
  { shape: [3, 4, 5], axes: [0, 2], out: [4] },
  { shape: [2, 3, 4, 5], axes: [-1, 0, 1], out: [4] },
  { shape: [2, 1, 4, 5], axes: [1, 3], out: [2, 4] },
  { shape: [3000, 5], axes: 0, out: [5] },
  { shape: [2, 700, 65], axes: 1, out: [2, 65] },
  { shape: [50_021], out: [] },
];

const FUNCTIONS = { sum, mean, max };
const ROWS = [[1], [7], [4, 1], [3, 17], [2, 3, 64], [5, 1000], [300, 40]];

eachDevice("reductions", (device) => {
  for (const [name, f] of Object.entries(FUNCTIONS)) {
    it(`${name} and its gradient agree with float64 over any axes`, async () => {
      for (const { shape, axes, out } of CASES) {
        const x = normals(11, shape, 1, 0.5);
        await compareWithReference(device, (t) => f(t, { axes }), [x]);
        const { shapes } = await evaluate(device, (t) => [f(t, { axes }), f(t, { axes, keepDims: true })], [x]);
        expect(shapes[0]).toEqual(out);
        expect(shapes[1]).toHaveLength(shape.length);
      }
    });
  }

  it("sums nothing to 0, and refuses the mean and the largest of nothing", async () => {
    const { outputs, gradients } = await evaluate(device, (x) => sum(x, { axes: 1 }), [host([], [2, 0, 3])]);
    expect(Array.from(outputs[0]!)).toEqual([0, 0, 0, 0, 0, 0]);
    expect(gradients[0]).toHaveLength(0);
    const empty = await evaluate(device, (x) => sum(x, { axes: 1 }), [host([], [0, 3])]);
    expect(empty.outputs[0]).toHaveLength(0);
    expectError(() => mean(upload(device, host([], [0]))), "E_SHAPE", /mean/);
    expectError(() => max(upload(device, host([], [2, 0])), { axes: 1 }), "E_SHAPE", /max/);
  });

  it("shares the gradient of a maximum equally among ties, over all reduced axes at once", async () => {
    const run = (options: ReduceOptions) => evaluate(device, (x) => max(x, options), [host([5, 5, 1, 5, 0, 2], [2, 3])]);
    const { gradients } = await run({});
    const [share] = gradients[0]! as unknown as number[];
    expect(Array.from(gradients[0]!)).toEqual([share, share, 0, share, 0, 0]);
    const single = await evaluate(device, (x) => max(x), [host([5], [1])]);
    expect(share).toBeCloseTo(single.gradients[0]![0]! / 3, 6);
  });

  it("lets NaN win a maximum, wherever it stands", async () => {
    for (const at of [0, 5, 16, 39]) {
      const data = Array.from({ length: 40 }, (_, i) => (i === at ? NaN : i % 7));
      for (const shape of [[40], [40, 1], [8, 5]]) {
        const { outputs } = await evaluate(device, (x) => [max(x), argmax(x)], [host(data, shape)], { gradients: false });
        expect(outputs[0]![0]).toBeNaN();
        if (shape.length === 1) expect(outputs[1]![0]).toBe(at);
      }
    }
    const { outputs } = await evaluate(device, (x) => max(x), [host([-Infinity, -Infinity], [2])], { gradients: false });
    expect(outputs[0]![0]).toBe(-Infinity);
  });

  for (const [name, f] of Object.entries({ softmax, logSoftmax })) {
    it(`${name} and its gradient agree with float64`, async () => {
      for (const shape of ROWS) await compareWithReference(device, f, [normals(3, shape, 4)]);
      await compareWithReference(device, f, [uniforms(4, [3, 50], 900, 1000)]);
      await compareWithReference(device, f, [uniforms(4, [3, 50], -1000, -900)]);
    });

    it(`${name} takes tensors with no elements`, async () => {
      for (const shape of [[0, 5], [3, 0]]) {
        const { outputs, gradients } = await evaluate(device, f, [host([], shape)]);
        expect([outputs[0]!.length, gradients[0]!.length]).toEqual([0, 0]);
      }
    });
  }

  it("gives probability 0 to what is masked with -infinity", async () => {
    const { outputs } = await evaluate(device, softmax, [host([1, -Infinity, 1, -Infinity], [4])]);
    expect(Array.from(outputs[0]!)).toEqual([0.5, 0, 0.5, 0]);
  });

  it("finds the first of the largest elements", async () => {
    for (const shape of ROWS) {
      const { data } = integers(9, shape, 0, 6);
      const width = shape.at(-1)!;
      const { outputs, shapes } = await evaluate(device, argmax, [host(data, shape)], { gradients: false });
      const expected = Array.from({ length: data.length / width }, (_, i) => {
        const row = data.slice(i * width, (i + 1) * width);
        return row.indexOf(Math.max(...row));
      });
      expect(Array.from(outputs[0]!)).toEqual(expected);
      expect(shapes[0]).toEqual(shape.slice(0, -1));
    }
  });

  it("leaves no memory behind", async () => {
    await checkLeaks(device, (x) => [sum(x, { axes: [0, 2] }), mean(x), max(x, { axes: [0, 2] }), softmax(x), logSoftmax(x), argmax(x)],
      [normals(1, [4, 5, 6])]);
  });

  it("refuses wrong axes, integers and scalars", () => {
    const x = (): Tensor => upload(device, normals(1, [2, 3]));
    expectError(() => sum(x(), { axes: 2 }), "E_ARGUMENT", /sum: axis 2/);
    expectError(() => mean(x(), { axes: [0, -2] }), "E_ARGUMENT", /twice/);
    expectError(() => max(upload(device, integers(1, [3], 0, 5))), "E_DTYPE");
    expectError(() => softmax(upload(device, host([1], []))), "E_SHAPE", /scalar/);
    expectError(() => argmax(upload(device, host([], [2, 0]))), "E_SHAPE", /no elements/);
    expectError(() => logSoftmax(upload(device, integers(1, [3], 0, 5))), "E_DTYPE");
  });
});

describe("gradients of reductions", () => {
  it("agree with finite differences", async () => {
    for (const { shape, axes } of CASES.slice(0, -3)) {
      for (const f of Object.values(FUNCTIONS)) await checkGradient((x) => f(x, { axes }), [normals(2, shape)], { samples: 12 });
    }
    for (const shape of ROWS.slice(0, -2)) {
      await checkGradient(softmax, [normals(2, shape)], { samples: 12 });
      await checkGradient(logSoftmax, [normals(2, shape)], { samples: 12 });
    }
  });
});

describe("reduction kernels", () => {
  it("give the same bits for any number of threads, on every instruction set", async () => {
    for (const { shape, axes } of CASES) {
      await checkSameBits((x) => Object.values(FUNCTIONS).map((f) => f(x, { axes })), [normals(5, shape, 1, 0.5)]);
    }
    for (const shape of ROWS) await checkSameBits((x) => [softmax(x), logSoftmax(x), argmax(x)], [normals(5, shape, 3)]);
  });
});
