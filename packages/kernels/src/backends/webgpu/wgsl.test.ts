import { afterAll, describe, expect, it } from "vitest";
import { devices, open } from "../../open";
import { Tensor, tensor } from "../../tensor";
import { zeros } from "../../ops/memory";
import { elementwiseError, testRandom } from "../../testing";
import type { WebGpuDevice } from ".";
import { program } from "./program";
import { MATH, ORDER, rowReduce, workgroupReduce } from "./wgsl";

const listing = (await devices({ fallback: true })).find(({ name }) => name === "webgpu")!;
if (!listing.available) console.warn(`tests of shared WGSL do not run: ${listing.reason}`);

/** Evenly spread over the floats between two of the same sign: as many small ones as large ones. */
function floats(low: number, high: number, count: number): Float32Array {
  const bits = (x: number) => new Int32Array(Float32Array.of(x).buffer)[0]!;
  const [a, b] = [bits(low), bits(high)];
  return new Float32Array(Int32Array.from({ length: count }, (_, i) => Math.round(a + ((b - a) * i) / (count - 1))).buffer);
}
const evenly = (low: number, high: number, count: number) =>
  Float32Array.from({ length: count }, (_, i) => low + ((high - low) * i) / (count - 1));
const joined = (...lists: Float32Array[]) => Float32Array.from(lists.flatMap((list) => [...list]));
const bothSigns = (list: Float32Array) => joined(list, list.map((x) => -x));

const sigmoid = (x: number) => (x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x)));
const FUNCTIONS: Readonly<Record<string, { f(x: number): number; points: Float32Array }>> = {
  fine_exp: { f: Math.exp, points: joined(evenly(-87.3, 88.72, 20_001), bothSigns(floats(1e-30, 1, 2000))) },
  fine_log: { f: Math.log, points: joined(floats(1e-44, 3.4e38, 20_001), evenly(0.5, 2, 5001)) },
  fine_log1p: { f: Math.log1p, points: joined(floats(1e-37, 1, 20_001), Float32Array.of(0)) },
  fine_tanh: { f: Math.tanh, points: joined(bothSigns(floats(1e-37, 100, 10_001)), evenly(-2, 2, 5001)) },
  sigmoid: { f: sigmoid, points: evenly(-87, 100, 20_001) },
  silu: { f: (x) => x * sigmoid(x), points: joined(evenly(-87, 100, 10_001), bothSigns(floats(1e-37, 1, 5001))) },
  softplus: { f: (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))), points: joined(evenly(-87, 100, 20_001)) },
};

describe.skipIf(!listing.available)("shared WGSL", async () => {
  const device = listing.available ? ((await open("webgpu", { fallback: true })) as WebGpuDevice) : (undefined as never);
  afterAll(() => device?.close());

  async function evaluated(code: string, f: string, points: ArrayLike<number>): Promise<ArrayLike<number>> {
    const map = program({
      name: "map", reads: { x: "f32" }, writes: { y: "f32" }, params: {}, workgroup: 64,
      code: `${code}\nfn run(group: u32, lane: u32) { let i = group * 64u + lane; if (i < arrayLength(&y)) { y[i] = ${f}(x[i]); } }`,
    });
    using x = tensor(device, points);
    using y = zeros(device, [points.length]);
    device.launcher.run(map, { x, y }, {}, Math.ceil(points.length / 64));
    return y.read();
  }

  for (const [name, { f, points }] of Object.entries(FUNCTIONS)) {
    it(`${name} is right to a few units in the last place`, async () => {
      // Below the smallest normal number there is less precision, or none.
      expect(elementwiseError(await evaluated(MATH, name, points), Array.from(points, f), 2e-38)).toBeLessThan(5e-7);
    });
  }

  it("keeps to the limits at both ends, and to NaN", async () => {
    const points = [Infinity, -Infinity, 89, -1e30, 1e30, 0, -0, NaN];
    const at = async (f: string) => Array.from(await evaluated(MATH, f, points), (y) => (y === 0 ? 0 : y));
    expect(await at("fine_exp")).toEqual([Infinity, 0, Infinity, 0, Infinity, 1, 1, NaN]);
    expect(await at("fine_log"))
      .toEqual([Infinity, NaN, expect.closeTo(Math.log(89), 6), NaN, expect.closeTo(Math.log(1e30), 5), -Infinity, -Infinity, NaN]);
    expect(await at("fine_tanh")).toEqual([1, -1, 1, -1, 1, 0, 0, NaN]);
    expect(await at("sigmoid")).toEqual([1, 0, 1, 0, 1, 0.5, 0.5, NaN]);
    expect(await at("softplus"))
      .toEqual([Infinity, 0, 89, 0, Math.fround(1e30), expect.closeTo(Math.LN2, 7), expect.closeTo(Math.LN2, 7), NaN]);
  });

  it("orders floats as integers, and back", async () => {
    const points = [-Infinity, -3.4e38, -1, -1e-40, 0, 1e-45, 1e-40, 1, 3.4e38, Infinity, NaN];
    const order = program({
      name: "order", reads: { x: "u32" }, writes: { orders: "i32", back: "u32" }, params: {}, workgroup: 64,
      code: `${ORDER}\nfn run(group: u32, lane: u32) { if (lane < ${points.length}u) { orders[lane] = order_of(x[lane]); `
        + "back[lane] = bits_of(orders[lane]); } }",
    });
    using x = tensor(device, points);
    using orders = zeros(device, [points.length], "i32");
    using back = zeros(device, [points.length]);
    device.launcher.run(order, { x, orders, back }, {}, 1);
    const values = Array.from(await orders.read());
    expect(values).toEqual(values.toSorted((a, b) => a - b));
    expect(new Set(values).size).toBe(points.length);
    expect(Array.from(await back.read())).toEqual(points.map(Math.fround));
    expect(Array.from(await evaluated(`${ORDER}\nfn f(x: f32) -> f32 { return f32(order_of(bitcast<u32>(x))); }`, "f", [-0, 0])))
      .toEqual([0, 0]);
  });

  // Both paths give every lane the same result, over and over, whatever was there before.
  for (const subgroups of [false, true]) {
    const available = listing.available && device.launcher.subgroups;
    describe.skipIf(subgroups && !available)(`reductions over a group ${subgroups ? "with" : "without"} subgroups`, () => {
      const next = testRandom(5);
      const TURNS = 5;

      async function reduced(width: number, declaration: string, call: string, type: string,
        values: readonly number[]): Promise<ArrayLike<number>> {
        const kind = type === "i32" || type === "u32" ? "i32" : "f32";
        const joins = program({
          name: "joins", reads: { x: kind }, writes: { y: kind }, params: {}, workgroup: width, subgroups,
          code: `${declaration}
fn run(group: u32, lane: u32) {
  for (var turn = 0u; turn < ${TURNS}u; turn++) {
    y[turn * WORKGROUP + lane] = ${kind}(${call.replace("VALUE", `${type}(x[turn * WORKGROUP + lane])`)});
  }
}`,
        });
        using x = tensor(device, values, [values.length], kind);
        using y = Tensor.empty(device, [values.length], kind);
        device.launcher.run(joins, { x, y }, {}, 1);
        return y.read();
      }

      for (const width of [1, 2, 8, 32, 64, 128, 256]) {
        it(`of ${width}`, async () => {
          // Whole numbers, so that sums are exact in any order.
          const values = Array.from({ length: TURNS * width }, () => Math.floor(next() * 2000) - 1000);
          const rows = Array.from({ length: TURNS }, (_, i) => values.slice(i * width, (i + 1) * width));
          const expected = (join: (row: readonly number[]) => number) => rows.flatMap((row) => row.map(() => join(row)));
          const total = (row: readonly number[]) => row.reduce((a, b) => a + b, 0);
          const sums = expected(total);
          expect(Array.from(await reduced(width, workgroupReduce("sum", width, subgroups), "workgroup_sum(VALUE, lane)", "f32", values)))
            .toEqual(sums);
          expect(Array.from(await reduced(width, workgroupReduce("sum", width, subgroups, "vec4f"),
            "workgroup_sum(vec4f(1.0, 2.0, VALUE, 0.0), lane).z", "f32", values))).toEqual(sums);
          const largest = expected((row) => Math.max(...row));
          expect(Array.from(await reduced(width, workgroupReduce("max", width, subgroups, "i32", "most"), "most(VALUE, lane)", "i32",
            values))).toEqual(largest);
          const least = expected((row) => Math.min(...row.map((value) => value + 1000)));
          expect(Array.from(await reduced(width, workgroupReduce("min", width, subgroups, "u32"), "workgroup_min(VALUE, lane)", "u32",
            values.map((value) => value + 1000)))).toEqual(least);
        });
      }

      it("gives fractions the same bits in all lanes and on every run", async () => {
        const values = Array.from({ length: TURNS * 256 }, () => next() - 0.5);
        const run = () => reduced(256, workgroupReduce("sum", 256, subgroups), "workgroup_sum(VALUE, lane)", "f32", values);
        const first = await run();
        for (let turn = 0; turn < TURNS; turn++) expect(new Set(Array.from(first).slice(turn * 256, (turn + 1) * 256)).size).toBe(1);
        expect(await run()).toEqual(first);
      });

      it("joins rows of a few lanes each", async () => {
        for (const lanes of [1, 2, 4, 16, 64, 128, 256]) {
          const values = Array.from({ length: TURNS * 256 }, () => Math.floor(next() * 100));
          const expected = values.map((_, i) => values.slice(i - (i % lanes), i - (i % lanes) + lanes).reduce((a, b) => a + b, 0));
          expect(Array.from(await reduced(256, rowReduce("sum", 256, lanes, subgroups), "row_sum(VALUE, lane)", "f32", values)))
            .toEqual(expected);
        }
      });
    });
  }

  it("refuses groups that are no power of two", () => {
    expect(() => workgroupReduce("sum", 96, false)).toThrow(/power of two/);
  });
});
