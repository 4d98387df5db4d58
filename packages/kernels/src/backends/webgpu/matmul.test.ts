import { afterAll, describe, expect, it } from "vitest";
import { devices, open } from "../../open";
import { linear, matmul as product, type MatmulOptions } from "../../ops/matmul";
import { sizeOf } from "../../shape";
import { dispose, tensor, Tensor } from "../../tensor";
import { compareWithReference, evaluate, expectClose, expectError, normals } from "../../testing";
import type { WebGpuDevice } from ".";
import type { Launcher } from "./launcher";
import { matmul, multiply, type Plan } from "./matmul";

const listing = (await devices({ fallback: true })).find(({ name }) => name === "webgpu")!;
if (!listing.available) console.warn(`tests of matrix products on webgpu do not run: ${listing.reason}`);
const openHere = async (webgpu = {}) => (await open("webgpu", { fallback: true, webgpu })) as WebGpuDevice;

const TRANSPOSES: readonly Required<MatmulOptions>[] = [
  { transposeA: false, transposeB: true },
  { transposeA: false, transposeB: false },
  { transposeA: true, transposeB: false },
  { transposeA: true, transposeB: true },
];

interface Case extends Required<MatmulOptions> {
  readonly batch: number;
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly shared?: boolean;
  readonly summed?: boolean;
  readonly accumulate?: boolean;
}

/** The kernel's result by a plan, beside plain loops in float64. */
async function check(device: WebGpuDevice, plan: Plan,
  { batch, m, n, k, transposeA, transposeB, shared = false, summed = false, accumulate = false }: Case): Promise<void> {
  const host = [normals(1, [batch, m, k]), normals(2, [shared ? 1 : batch, k, n]), normals(3, [summed ? 1 : batch, m, n])];
  const [a, b, out] = host.map(({ data, shape }) => tensor(device, data, shape)) as [Tensor, Tensor, Tensor];
  const expected = host[2]!.data.map((x) => (accumulate ? x : 0));
  for (let s = 0; s < batch; s++) {
    for (let i = 0; i < m; i++) {
      for (let j = 0; j < n; j++) {
        let sum = 0;
        for (let l = 0; l < k; l++) {
          const x = host[0]!.data[s * m * k + (transposeA ? l * m + i : i * k + l)]!;
          sum += x * host[1]!.data[(shared ? 0 : s * k * n) + (transposeB ? j * k + l : l * n + j)]!;
        }
        expected[(summed ? 0 : s * m * n) + i * n + j]! += sum;
      }
    }
  }
  const matrix = (t: Tensor, row: number, stride: number, transposed: boolean) => ({ tensor: t, start: 0, row, stride, transposed });
  multiply(device.launcher, {
    a: matrix(a, transposeA ? m : k, m * k, transposeA), b: matrix(b, transposeB ? k : n, shared ? 0 : k * n, transposeB),
    out: matrix(out, n, summed ? 0 : m * n, false), batch, m, n, k, accumulate,
  }, plan);
  expectClose(await out.read(), expected, 1e-5,
    JSON.stringify([plan, { batch, m, n, k, transposeA, transposeB, shared, summed, accumulate }]));
  dispose([a, b, out]);
}

describe.skipIf(!listing.available)("matrix products on webgpu", async () => {
  const device = listing.available ? await openHere() : (undefined as never);
  afterAll(() => device?.close());

  for (const options of TRANSPOSES) {
    it(`are right with tiles of every size (${JSON.stringify(options)})`, async () => {
      for (const size of [32, 64, 128] as const) {
        const plan: Plan = { kind: "tile", size, splits: 1, stages: 1 };
        await check(device, plan, { ...options, batch: 1, m: 140, n: 132, k: 36 });
        await check(device, plan, { ...options, batch: 3, m: 4, n: 40, k: 20, accumulate: true });
        await check(device, { ...plan, splits: 3 }, { ...options, batch: 2, m: 36, n: 28, k: 148, accumulate: true });
      }
    });
  }

  it("are right with two stages", async () => {
    const plan: Plan = { kind: "tile", size: 64, splits: 1, stages: 2 };
    await check(device, plan, { ...TRANSPOSES[0]!, batch: 1, m: 68, n: 72, k: 100 });
    await check(device, { ...plan, splits: 4 }, { ...TRANSPOSES[0]!, batch: 1, m: 68, n: 72, k: 100 });
    await check(device, { ...plan, size: 128 }, { ...TRANSPOSES[1]!, batch: 1, m: 130, n: 132, k: 16 });
  });

  it("sum a batch, its matrices in several splits", async () => {
    for (const splits of [1, 2, 5, 9]) {
      const plan: Plan = { kind: "tile", size: 32, splits, stages: 1 };
      await check(device, plan, { ...TRANSPOSES[2]!, batch: 4, m: 8, n: 36, k: 40, summed: true });
      await check(device, plan, { ...TRANSPOSES[0]!, batch: 3, m: 33, n: 9, k: 18, summed: true, shared: true, accumulate: true });
    }
  });

  it("of few rows or columns are right", async () => {
    for (const options of TRANSPOSES) {
      for (const few of [1, 3, 8]) {
        for (const [long, k] of [[68, 132], [41, 37], [300, 24]] as const) {
          await check(device, { kind: "few" }, { ...options, batch: 1, m: few, n: long, k });
          await check(device, { kind: "few" }, { ...options, batch: 2, m: long, n: few, k, shared: true, accumulate: true });
        }
      }
    }
  });

  it("have the same bits on every run", async () => {
    const inputs = [normals(1, [70, 600]), normals(2, [90, 600])];
    const [once, again] = [await evaluate(device, (...[x, w]) => linear(x!, w!), inputs),
      await evaluate(device, (...[x, w]) => linear(x!, w!), inputs)];
    expect(again).toEqual(once);
  });

  it("are cut where bindings are small, whatever is too large", async () => {
    const small = await openHere({ maxBinding: 4096, features: [], defaultLimits: true });
    for (const options of TRANSPOSES) {
      const f = (...[a, b]: Tensor[]) => product(a!, b!, options);
      const shaped = (m: number, n: number, k: number, batchA: number[], batchB: number[]) =>
        [normals(1, [...batchA, ...(options.transposeA ? [k, m] : [m, k])]),
          normals(2, [...batchB, ...(options.transposeB ? [n, k] : [k, n])])];
      await compareWithReference(small, f, shaped(41, 30, 52, [], []));
      await compareWithReference(small, f, shaped(12, 9, 20, [7], [7]));
      await compareWithReference(small, f, shaped(36, 34, 40, [2], []));
      await compareWithReference(small, f, shaped(2, 700, 3, [], []));
    }
    expectError(() => product(tensor(small, new Float32Array(1200), [1, 1200]), tensor(small, new Float32Array(1200), [1200, 1])),
      "E_MEMORY", /a row of 1200 numbers/);
    small.close();
  });

  it("take few dispatches", () => {
    const dispatches = (m: number, n: number, k: number, options: MatmulOptions): number => {
      let count = 0;
      const counting: Launcher = { ...device.launcher, run: () => count++ };
      const shapes = [[m, k], [k, n], [m, n]].map((shape) => Tensor.empty(device, [sizeOf(shape)]));
      const [a, b, out] = shapes as [Tensor, Tensor, Tensor];
      const { transposeA = false, transposeB = false } = options;
      matmul(counting).matmul({ a, b, out, batch: 1, m, n, k, transposeA, transposeB, aStride: m * k, bStride: k * n, outStride: m * n,
        accumulate: false });
      dispose(shapes);
      return count;
    };
    for (const [rows, from, into] of [[2048, 128, 648], [2048, 256, 128], [4096, 768, 3352]] as const) {
      expect(dispatches(rows, into, from, { transposeB: true }), "forward").toBe(1);
      expect(dispatches(rows, from, into, {}), "gradient of x").toBe(1);
      expect(dispatches(into, from, rows, { transposeA: true }), "gradient of the weight").toBeLessThanOrEqual(2);
    }
  });
});
