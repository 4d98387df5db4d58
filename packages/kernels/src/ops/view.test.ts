import { describe, expect, it } from "vitest";
import {
  checkGradient, checkLeaks, checkSameBits, compareWithReference, eachDevice, evaluate, expectError, host, type HostTensor, integers,
  normals, type TestFunction, upload,
} from "../testing";
import { assignSlice, broadcastTo, concat, extended, firstRows, reshape, slice, transpose } from "./view";
import { mul, square } from "./elementwise";
import { sum } from "./reduce";
import { vjp } from "../tape";
import { dispose, keep, scope, type Tensor } from "../tensor";

const count = (shape: readonly number[]): HostTensor => {
  const size = shape.reduce((a, b) => a * b, 1);
  return { data: Array.from({ length: size }, (_, i) => i), shape, kind: "integer" };
};

const sumOf = (x: Tensor) => sum(x, { axes: 0 });

const CASES: Readonly<Record<string, { f: TestFunction; inputs: HostTensor[] }>> = {
  "reshape, then use": { f: (x) => square(reshape(x, [3, -1])), inputs: [normals(1, [2, 3, 4])] },
  "reshape and use both": { f: (x) => mul(reshape(x, [4, 6]), reshape(square(x), [4, 6])), inputs: [normals(1, [2, 3, 4])] },
  "first rows": { f: (x) => square(firstRows(x, 2)), inputs: [normals(1, [3, 5])] },
  "first rows, then the whole": { f: (x) => mul(firstRows(x, 2), sumOf(x)), inputs: [normals(1, [3, 5])] },
  "first rows, twice": { f: (x) => [firstRows(x, 1), square(firstRows(x, 3))], inputs: [normals(1, [4, 5])] },
  "first rows of what was computed, handed on as they are": { f: (x) => firstRows(square(x), 2), inputs: [normals(1, [3, 5])] },
  "first rows of first rows": { f: (x) => firstRows(firstRows(square(x), 3), 2), inputs: [normals(1, [4, 5])] },
  "all first rows, and none": { f: (x) => [firstRows(x, 3), firstRows(x, 0)], inputs: [normals(1, [3, 5])] },
  "slice of the first axis": { f: (x) => slice(x, 0, 1, 3), inputs: [normals(1, [4, 5])] },
  "slice of a middle axis": { f: (x) => slice(x, 1, 2), inputs: [normals(1, [3, 5, 7])] },
  "slice of the last axis": { f: (x) => slice(x, -1, -2), inputs: [normals(1, [3, 5])] },
  "slice of nothing": { f: (x) => slice(x, 0, 2, 2), inputs: [normals(1, [3, 5])] },
  "concat along the first axis": { f: (a, b) => concat([a, b], 0), inputs: [normals(1, [2, 5]), normals(2, [3, 5])] },
  "concat along the last axis": { f: (a, b, c) => concat([a, b, c], -1),
    inputs: [normals(1, [2, 5]), normals(2, [2, 1]), normals(3, [2, 0])] },
  "concat of one tensor with itself": { f: (a) => concat([a, a], 1), inputs: [normals(1, [3, 4])] },
  "transpose of a matrix": { f: (x) => transpose(x), inputs: [normals(1, [37, 53])] },
  "transpose that keeps the last axis": { f: (x) => transpose(x, [0, 2, 1, 3]), inputs: [normals(1, [2, 3, 5, 7])] },
  "transpose of every axis": { f: (x) => transpose(x, [2, -1, 0, 1]), inputs: [normals(1, [2, 3, 5, 7])] },
  "broadcast of a row": { f: (x) => broadcastTo(x, [4, 9]), inputs: [normals(1, [9])] },
  "broadcast of a column": { f: (x) => broadcastTo(x, [4, 9]), inputs: [normals(1, [4, 1])] },
  "broadcast of a scalar": { f: (x) => broadcastTo(x, [4, 9]), inputs: [normals(1, [])] },
  "broadcast to nothing": { f: (x) => broadcastTo(x, [0, 3]), inputs: [normals(1, [3])] },
  "broadcast to the same shape": { f: (x) => broadcastTo(x, [4]), inputs: [normals(1, [4])] },
};

eachDevice("views", (device) => {
  for (const [name, { f, inputs }] of Object.entries(CASES)) {
    it(`${name}: values and gradients agree with float64`, () => compareWithReference(device, f, inputs, { tolerance: 1e-6 }));
  }

  it("writes in place, and into a window of a buffer", async () => {
    const target = keep(scope(() => {
      const buffer = upload(device, count([2, 3, 2]));
      assignSlice(buffer, upload(device, { data: [90, 91, 92, 93], shape: [2, 1, 2], kind: "integer" }), 1, 1);
      assignSlice(buffer, upload(device, count([2, 0, 2])), 1, 3);
      assignSlice(buffer.window([3, 2], 6), upload(device, { data: [7, 7], shape: [1, 2], kind: "integer" }), 0, 0);
      return buffer;
    }));
    expect([...await target.read()]).toEqual([0, 1, 90, 91, 4, 5, 7, 7, 92, 93, 10, 11]);
    target.dispose();
  });

  it("writes the first rows of a longer tensor", async () => {
    const target = keep(scope(() => {
      const buffer = upload(device, count([2, 3]));
      assignSlice(buffer, upload(device, { data: [70, 71, 72, 73, 74, 75], shape: [2, 3], kind: "integer" }), 1, 1, 2);
      return buffer;
    }));
    expect([...await target.read()]).toEqual([0, 70, 71, 3, 73, 74]);
    target.dispose();
  });

  // [outer axes, rows, more rows]: within a block of memory, beyond it, and where rows lie apart
  for (const [outer, rows, more] of [[1, 2, 3], [1, 0, 5], [1, 3, 100_000], [2, 3, 7]] as const) {
    it(`gives [${outer}, ${rows}, 4] room for ${more} rows`, async () => {
      const x = upload(device, count([outer, rows, 4]));
      const before = [...await x.read()];
      const longer = extended(x, 1, more);
      expect(longer.shape).toEqual([outer, more, 4]);
      const last = keep(scope(() => {
        const ones = upload(device, { data: Array<number>(outer * 4).fill(1), shape: [outer, 1, 4], kind: "integer" });
        assignSlice(longer, ones, 1, more - 1);
        return slice(longer, 1, more - 1);
      }));
      const kept = keep(scope(() => slice(longer, 1, 0, rows)));
      expect([...await kept.read()]).toEqual(before);
      expect([...await last.read()]).toEqual(Array<number>(outer * 4).fill(1));
      expect([...await x.read()], "the shorter one is as it was").toEqual(before);
      x.dispose();
      expect((await longer.read()).length).toBe(longer.size);
      dispose([longer, last, kept]);
    });
  }

  it("gives room only where there is less and nothing is recorded", () => {
    const x = upload(device, normals(1, [2, 3]));
    expectError(() => extended(x, 1, 2), "E_SHAPE", /axis 1 of \[2, 3\] can't be made 2/);
    expectError(() => extended(x, 0, 2.5), "E_SHAPE");
    expectError(() => vjp((y: Tensor) => extended(square(y), 0, 9), x), "E_SCOPE", /recording/);
    x.dispose();
  });

  it("writes in place only where it fits and nothing is recorded", () => {
    const target = upload(device, normals(1, [2, 3]));
    const row = upload(device, normals(1, [1, 3]));
    expectError(() => assignSlice(target, upload(device, normals(1, [2, 2])), 1, 2), "E_SHAPE", /from 2 of axis 1/);
    expectError(() => assignSlice(target, upload(device, normals(1, [3, 1])), 1, 0), "E_SHAPE");
    expectError(() => assignSlice(target, upload(device, normals(1, [2, 1])), 1, -1), "E_SHAPE");
    expectError(() => assignSlice(target, row, 0, 0, 2), "E_SHAPE", /2 of \[1, 3\] does not fit/);
    expectError(() => assignSlice(target, upload(device, integers(1, [2, 1], 0, 9)), 1, 0), "E_DTYPE");
    expectError(() => vjp((x: Tensor) => {
      assignSlice(target, square(x), 0, 0);
      return x;
    }, row), "E_SCOPE", /recording/);
    dispose([target, row]);
  });

  const read = async (f: TestFunction, ...inputs: HostTensor[]) => {
    const { outputs, shapes } = await evaluate(device, f, inputs, { gradients: false });
    return { values: Array.from(outputs[0]!), shape: shapes[0] };
  };

  it("moves every element to its place, integers too", async () => {
    expect(await read((x) => transpose(x), count([2, 3]))).toEqual({ values: [0, 3, 1, 4, 2, 5], shape: [3, 2] });
    expect(await read((x) => transpose(x, [1, 2, 0]), count([2, 2, 3]))).toEqual({
      values: [0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11], shape: [2, 3, 2],
    });
    expect(await read((x) => slice(x, 1, 1, 3), count([2, 4]))).toEqual({ values: [1, 2, 5, 6], shape: [2, 2] });
    expect(await read((a, b) => concat([a, b], 1), count([2, 2]), count([2, 1]))).toEqual({ values: [0, 1, 0, 2, 3, 1], shape: [2, 3] });
    expect(await read((x) => broadcastTo(x, [2, 2, 2]), count([2, 1]))).toEqual({ values: [0, 0, 1, 1, 0, 0, 1, 1], shape: [2, 2, 2] });
    expect(await read((x) => reshape(x, [-1, 2]), count([4]))).toEqual({ values: [0, 1, 2, 3], shape: [2, 2] });
  });

  it("slices a large tensor as it slices a small one", async () => {
    const x = count([300, 70, 5]);
    const { values } = await read((t) => slice(t, 1, 3, 69), x);
    expect(values).toEqual(x.data.filter((i) => Math.floor(i / 5) % 70 >= 3 && Math.floor(i / 5) % 70 < 69));
  });

  it("shares memory when it reshapes, and frees it with the last owner", async () => {
    const before = device.memory().used;
    // Large beside the smallest piece of memory that a device gives.
    const x = upload(device, normals(1, [40, 40]));
    const y = reshape(x, [1600]);
    const held = device.memory().used - before;
    expect(held).toBeLessThan(2 * x.byteLength);
    x.dispose();
    expect((await y.read()).length).toBe(1600);
    y.dispose();
    await device.synchronize();
    expect(device.memory().used).toBe(before);
  });

  it("makes neither zeros nor copies for the rows behind the first ones, on the way back too", async () => {
    const rows = 4096;
    const x = upload(device, normals(1, [rows, 64]));
    const cotangent = upload(device, normals(2, [rows - 8, 64]));
    await device.synchronize();
    const peakOf = (f: (x: Tensor) => Tensor[]) => scope(() => {
      device.resetPeak();
      const before = device.memory().used;
      vjp(f, x).pullback([cotangent, null]);
      return device.memory().peak - before;
    });
    // A gradient of the rows arrives first, one of the whole after it, as they do for tied embeddings.
    const whole = (x: Tensor) => square(x);
    expect(peakOf((x) => [square(firstRows(x, rows - 8)), whole(x)]))
      .toBeLessThan(peakOf((x) => [square(slice(x, 0, 0, rows - 8)), whole(x)]) - x.byteLength / 2);
    dispose([x, cotangent]);
  });

  it("leaves no memory behind", async () => {
    for (const { f, inputs } of Object.values(CASES)) await checkLeaks(device, f, inputs);
  });

  it("refuses what does not fit", () => {
    const x = () => upload(device, normals(1, [2, 3]));
    expectError(() => reshape(x(), [4]), "E_SHAPE", /reshape: \[2, 3\] with 6 elements/);
    expectError(() => reshape(x(), [-1, -1]), "E_SHAPE");
    expectError(() => reshape(x(), [4, -1]), "E_SHAPE");
    expectError(() => reshape(upload(device, host([], [0])), [0, -1]), "E_SHAPE");
    expectError(() => firstRows(x(), 3), "E_ARGUMENT", /\[2, 3\] has no 3 rows/);
    expectError(() => firstRows(x(), -1), "E_ARGUMENT");
    expectError(() => firstRows(upload(device, host([1], [])), 1), "E_ARGUMENT");
    expectError(() => slice(x(), 2, 0, 1), "E_ARGUMENT", /axis 2/);
    expectError(() => slice(x(), 1, 2, 1), "E_ARGUMENT", /2 \.\.\. 1/);
    expectError(() => slice(x(), 1, 0, 4), "E_ARGUMENT");
    expectError(() => slice(x(), 1, 0.5, 2), "E_ARGUMENT");
    expectError(() => concat([], 0), "E_ARGUMENT", /empty/);
    expectError(() => concat([x(), x()], 2), "E_ARGUMENT", /axis 2/);
    expectError(() => concat([x(), upload(device, normals(1, [2, 4]))], 0), "E_SHAPE", /item 1/);
    expectError(() => concat([x(), upload(device, normals(1, [2]))], 0), "E_SHAPE");
    expectError(() => concat([x(), upload(device, integers(1, [2, 3], 0, 9))], 0), "E_DTYPE");
    expectError(() => transpose(x(), [0, 0]), "E_ARGUMENT", /once/);
    expectError(() => transpose(x(), [0]), "E_ARGUMENT");
    expectError(() => broadcastTo(x(), [2, 4]), "E_SHAPE");
    expectError(() => broadcastTo(x(), [3]), "E_SHAPE");
  });
});

describe("gradients of views", () => {
  for (const [name, { f, inputs }] of Object.entries(CASES)) {
    it(`${name}: agrees with finite differences`, () => checkGradient(f, inputs, { samples: 12 }));
  }
});

describe("view kernels", () => {
  it("give the same bits for any number of threads, on every instruction set", async () => {
    for (const { f, inputs } of Object.values(CASES)) await checkSameBits(f, inputs, { tolerance: 1e-6 });
    await checkSameBits((x) => transpose(x), [normals(1, [310, 257])], { tolerance: 1e-6 });
  });
});
