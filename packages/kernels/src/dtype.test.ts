/** Weights of f16: what tensors hold, what the ops that read them make of it on every device, and what is refused. */
import { describe, expect, it } from "vitest";
import type { Device } from "./device";
import { open } from "./open";
import { fromF16 } from "./half.fixture";
import { crossEntropy } from "./ops/crossEntropy";
import { add } from "./ops/elementwise";
import { embedding, tokenTensor } from "./ops/embedding";
import { linear, linearSplit } from "./ops/matmul";
import { normal } from "./ops/random";
import { key } from "./random";
import type { Shape } from "./shape";
import { vjp } from "./tape";
import { dispose, scope, type Tensor, tensor } from "./tensor";
import { full } from "./ops/memory";
import { eachDevice, expectClose, expectError, instructionSets, integers, normals, referenceDevice } from "./testing";

/** The same weight as f16 on a device and, as it was rounded, as f64 on the reference. */
async function weights(device: Device, seed: number, shape: Shape): Promise<{ half: Tensor; exact: Tensor }> {
  const { data } = normals(seed, shape);
  const half = tensor(device, data, shape, "f16");
  return { half, exact: tensor(referenceDevice, await half.read(), shape, "f64") };
}

async function compare(device: Device, shapes: { x: Shape; weight: Shape }, op: (x: Tensor, weight: Tensor) => Tensor,
  tolerance = 1e-5): Promise<void> {
  const { half, exact } = await weights(device, 1, shapes.weight);
  const { data } = normals(2, shapes.x);
  const x = [tensor(device, data, shapes.x), tensor(referenceDevice, data, shapes.x, "f64")] as const;
  const [actual, expected] = [scope(() => op(x[0], half)), scope(() => op(x[1], exact))];
  expect(actual.dtype).toBe("f32");
  expect(actual.shape).toEqual(expected.shape);
  expectClose(await actual.read(), await expected.read(), tolerance, `${JSON.stringify(shapes)} on ${device.kind}`);
  dispose([half, exact, x, actual, expected]);
}

eachDevice("weights of f16", (device) => {
  it("hold the nearest number, and are read back as it is", async () => {
    const numbers = [0, -0, 1, -2.5, 1 / 3, 65504, 65519, 65520, -1e6, 2 ** -14, 2 ** -24, 3 * 2 ** -26, 2 ** -26, NaN];
    using t = tensor(device, numbers, [7, 2], "f16");
    expect([t.dtype, t.byteLength]).toEqual(["f16", 28]);
    expect(Array.from(await t.read()))
      .toEqual([0, -0, 1, -2.5, 1365 / 4096, 65504, 65504, Infinity, -Infinity, 2 ** -14, 2 ** -24, 2 ** -24, 0, NaN]);
    using row = t.window([2], 2);
    expect(Array.from(await row.read())).toEqual([1, -2.5]);
    expect(await row.read(new Float32Array(2))).toEqual(Float32Array.of(1, -2.5));
    row.write([7, 8]);
    expect(Array.from(await t.read()).slice(0, 6)).toEqual([0, -0, 7, 8, 1365 / 4096, 65504]);
  });

  it("are widened exactly, every one of them", async () => {
    const all = Array.from({ length: 1 << 16 }, (_, bits) => fromF16(bits));
    using weight = tensor(device, all, [1 << 10, 64], "f16");
    using tokens = tokenTensor(device, Array.from({ length: 1 << 10 }, (_, i) => i), [1 << 10], 1 << 10);
    using rows = embedding(weight, tokens);
    const found = await rows.read();
    // WGSL lets a device take subnormal numbers for 0, and say nothing of infinity and NaN.
    const isExact = (x: number) => device.kind !== "webgpu" || (Math.abs(x) >= 2 ** -14 && Number.isFinite(x));
    expect(all.filter((x, i) => isExact(x) && !Object.is(x, found[i]))).toEqual([]);
    expect(all.filter((x, i) => Math.abs(x) < 2 ** -14 && found[i] !== 0 && found[i] !== x)).toEqual([]);
  });

  it.each([[1, 1, 1], [1, 300, 131], [3, 33, 65], [9, 41, 7], [40, 3, 33], [71, 141, 99], [1, 1, 2], [1, 300, 130], [2, 5, 64], [3, 33, 66],
    [7, 1, 256], [8, 129, 512], [9, 40, 6], [40, 3, 34], [70, 140, 100], [130, 70, 258], [0, 4, 8], [4, 0, 8], [3, 4, 0]])(
    "are read by linear: %i rows times [%i, %i]", async (m, n, k) => {
      await compare(device, { x: [m, k], weight: [n, k] }, (x, weight) => linear(x, weight));
    });

  it("are read by linearSplit, block by block", async () => {
    for (const part of [0, 1, 2]) {
      await compare(device, { x: [2, 5, 24], weight: [13, 24] }, (x, weight) => linearSplit(x, weight, [4, 8, 1])[part]!);
      // Blocks that begin in the middle of a pair.
      await compare(device, { x: [2, 5, 23], weight: [13, 23] }, (x, weight) => linearSplit(x, weight, [3, 9, 1])[part]!);
    }
  });

  it.each([[5, 7, 2], [3, 65, 64], [20, 11, 34], [5, 7, 1], [20, 11, 33]])("are read by embedding: %i tokens from [%i, %i]",
    async (count, vocabulary, width) => {
    const { data } = integers(3, [count], 0, vocabulary);
    await compare(device, { x: [1], weight: [vocabulary, width] },
      (x, weight) => embedding(weight, tokenTensor(x.device, data, [count], vocabulary)), 0);
  });

  it.each([[1, 9, 2], [6, 300, 34], [70, 65, 64], [33, 1500, 16], [1, 9, 1],
    [6, 301, 33]])("are read by crossEntropy: %i rows against [%i, %i]", async (rows, vocabulary, width) => {
    const { data } = integers(4, [rows], -1, vocabulary);
    await compare(device, { x: [rows, width], weight: [vocabulary, width] },
      (x, weight) => crossEntropy(x, weight, tensor(x.device, data, [rows], "i32")));
  });

  it("may be odd in number, and windows begin and end in the middle of a pair", async () => {
    const numbers = Array.from({ length: 21 }, (_, i) => i - 7.5);
    using t = tensor(device, numbers, [3, 7], "f16");
    expect(t.byteLength).toBe(42);
    expect(Array.from(await t.read())).toEqual(numbers);
    for (const [start, size] of [[0, 7], [7, 7], [14, 7], [7, 14], [1, 1], [20, 1], [3, 0], [5, 6]] as const) {
      using window = t.window([size], start);
      expect(Array.from(await window.read())).toEqual(numbers.slice(start, start + size));
    }
    using two = t.window([2], 1);
    expect(await two.read(new Float32Array(2))).toEqual(Float32Array.of(-6.5, -5.5));
    using rows = t.window([2, 7], 7);
    await expectRows(rows, numbers.slice(7));
    using last = t.window([1], 20);
    last.write([99]);
    using first = t.window([2, 2], 0);
    first.write([1, 2, 3, 4]);
    expect(Array.from(await t.read())).toEqual([1, 2, 3, 4, ...numbers.slice(4, 20), 99]);
    for (const [start, size] of [[0, 7], [7, 7], [1, 2]] as const) {
      using window = t.window([size], start);
      expectError(() => window.write(Array.from({ length: size }, () => 0)), "E_SHAPE",
        /written in pairs, .* from element \d+ has a part of one/);
    }
  });

  /** What the ops that read f16 make of a matrix [2, 7]. */
  async function expectRows(rows: Tensor, numbers: readonly number[]): Promise<void> {
    using tokens = tokenTensor(device, [1, 0, 1], [3], 2);
    using found = embedding(rows, tokens);
    expect(Array.from(await found.read())).toEqual([...numbers.slice(7), ...numbers.slice(0, 7), ...numbers.slice(7)]);
    using x = tensor(device, [1, 0, 0, 0, 0, 0, 2, 0, 1, 0, 0, 0, 0, 0], [2, 7]);
    using products = linear(x, rows);
    expect(Array.from(await products.read()))
      .toEqual([numbers[0]! + 2 * numbers[6]!, numbers[7]! + 2 * numbers[13]!, numbers[1], numbers[8]]);
  }

  it("are refused where they are not read, and where a gradient is wanted", () => {
    using half = tensor(device, [1, 2, 3, 4, 5, 6], [3, 2], "f16");
    using x = tensor(device, [1, 2], [1, 2]);
    expectError(() => add(half, half), "E_DTYPE", /add.*\[3, 2\] is f16/);
    expectError(() => linear(half, half), "E_DTYPE", /linear: x \[3, 2\] is f16, a type for weights .*; this op takes f32/);
    expectError(() => vjp((t: Tensor) => linear(t, half), x), "E_DTYPE", /linear: weight \[3, 2\] is f16.*load the model as f32/);
    expectError(() => vjp((t: Tensor) => linear(x, t), half), "E_DTYPE", /no gradient/);
    expectError(() => full(device, [2], 1, "f16"), "E_DTYPE", /made from numbers/);
    expectError(() => normal(key(0), device, [2], { dtype: "f16" }), "E_DTYPE", /not f16/);
    using whole = tensor(device, [1, 2], [1, 2], "i32");
    expectError(() => linear(whole, half), "E_DTYPE", /linear: x is i32; beside an f16 weight it must be f32/);
  });
});

describe.each(instructionSets.map((isa) => ({ isa })))("f16 on the CPU with $isa", ({ isa }) => {
  it("is widened exactly, every number and any remainder of a vector", async () => {
    const device = await open("cpu", { isa });
    const all = Array.from({ length: 1 << 16 }, (_, bits) => fromF16(bits));
    for (const width of [64, 2, 14, 30, 1, 33]) {
      const rows = Math.floor(all.length / width);
      const found = scope(() => embedding(tensor(device, all.slice(0, rows * width), [rows, width], "f16"),
        tokenTensor(device, Array.from({ length: rows }, (_, i) => i), [rows], rows)));
      expect(Array.from(await found.read())).toEqual(all.slice(0, rows * width));
      found.dispose();
    }
    device.close();
  });

  it("gives the same bits with any number of threads", async () => {
    for (const [m, n, k] of [[1, 700, 66], [8, 300, 130], [40, 700, 66], [200, 90, 514], [1, 701, 67], [40, 701, 67]] as const) {
      const results = [];
      for (const threads of [1, 2, 3]) {
        const device = await open("cpu", { isa, threads });
        const out = scope(() => linear(tensor(device, normals(1, [m, k]).data, [m, k]),
          tensor(device, normals(2, [n, k]).data, [n, k], "f16")));
        results.push(await out.read());
        out.dispose();
        device.close();
      }
      expect(results[1]).toEqual(results[0]);
      expect(results[2]).toEqual(results[0]);
      const exact = scope(() => {
        const weight = tensor(referenceDevice, normals(2, [n, k]).data, [n, k], "f16");
        return linear(tensor(referenceDevice, normals(1, [m, k]).data, [m, k]), weight);
      });
      expectClose(results[0]!, await exact.read(), 1e-5, `${m} ${n} ${k}`);
      exact.dispose();
    }
  });
});

describe("f16 on the reference", () => {
  it("does not mix with f64", () => {
    using half = tensor(referenceDevice, [1, 2], [1, 2], "f16");
    using x = tensor(referenceDevice, [1, 2], [1, 2], "f64");
    expectError(() => linear(x, half), "E_DTYPE", /x is f64; beside an f16 weight it must be f32/);
  });
});
