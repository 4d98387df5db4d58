import { afterAll, describe, expect, it } from "vitest";
import { devices, open } from "../../open";
import { retrieve as find } from "../../ops/retrieve";
import { type Key, key } from "../../random";
import { dispose, type Tensor } from "../../tensor";
import { zeros } from "../../ops/memory";
import { compareWithReference, evaluate, host, type HostTensor, normals } from "../../testing";
import type { WebGpuDevice } from ".";
import { retrieve } from "./retrieve";

const listing = (await devices({ fallback: true })).find(({ name }) => name === "webgpu")!;
if (!listing.available) console.warn(`tests of retrieval on webgpu do not run: ${listing.reason}`);
const openHere = async (webgpu = {}) => (await open("webgpu", { fallback: true, webgpu })) as WebGpuDevice;

const inputs = (batch: number, queries: number, landmarks: number, width: number): HostTensor[] =>
  [normals(1, [batch, queries, width]), normals(2, [batch, landmarks, width])];
const both = (options: { k: number; first?: number; noise?: Key }) => (...[queries, landmarks]: Tensor[]): [Tensor, Tensor] => {
  const { indices, weights } = find({ queries: queries!, landmarks: landmarks! }, options);
  return [indices, weights];
};

describe.skipIf(!listing.available)("retrieval on webgpu", async () => {
  const device = listing.available ? await openHere() : (undefined as never);
  afterAll(() => device?.close());

  it("takes few dispatches", () => {
    let count = 0;
    const kernels = retrieve({ ...device.launcher, run: () => count++ });
    const launches = (batch: number, queries: number, landmarks: number, first: number): [number, number] => {
      const k = 8;
      const make = (...shape: number[]): Tensor => zeros(device, shape);
      const sizes = { batch, queryCount: queries, landmarkCount: landmarks, width: 64, k };
      const given = { queries: make(batch, queries, 64), landmarks: make(batch, landmarks, 64),
        indices: zeros(device, [batch, queries, k], "i32"), weights: make(batch, queries, k) };
      count = 0;
      kernels.retrieve({ ...sizes, ...given, first, noise: null });
      const forward = count;
      const gradients = { dweights: make(batch, queries, k), dqueries: make(batch, queries, 64), dlandmarks: make(batch, landmarks, 64) };
      kernels.retrieveGradient({ ...sizes, ...given, ...gradients });
      dispose([Object.values(given), Object.values(gradients)]);
      return [forward, count - forward];
    };
    expect(launches(8, 256, 256, 0)).toEqual([2, 2]);
    expect(launches(1, 256, 256, 0)).toEqual([2, 2]);
    expect(launches(1, 16, 20_000, 20_000)).toEqual([3, 2]);
  });

  it("is cut where bindings are small: scores, landmarks, queries", async () => {
    const small = await openHere({ maxBinding: 4096, features: [], defaultLimits: true });
    for (const [batch, queries, landmarks, width, options] of [
      [2, 9, 300, 8, { k: 5, first: 290 }], [1, 70, 150, 12, { k: 8, first: 100, noise: key(3) }], [1, 2, 2500, 4, { k: 16, first: 2500 }],
      [3, 12, 12, 6, { k: 3 }],
    ] as const) await compareWithReference(small, both(options), inputs(batch, queries, landmarks, width));
    small.close();
  });

  it("finds the same bits whether queries come together or one by one", async () => {
    const [queries, landmarks] = inputs(1, 70, 400, 20);
    const k = 6;
    const whole = await evaluate(device, both({ k, first: 300 }), [queries!, landmarks!], { gradients: false });
    for (const c of [0, 33, 69]) {
      const query = host(queries!.data.slice(20 * c, 20 * c + 20), [1, 1, 20]);
      const one = await evaluate(device, both({ k, first: 300 + c }), [query, landmarks!], { gradients: false });
      one.outputs.forEach((values, i) => expect(Array.from(values)).toEqual(Array.from(whole.outputs[i]!).slice(k * c, k * c + k)));
    }
  });

  it("has the same bits on every run", async () => {
    const given = inputs(2, 60, 3000, 12);
    const f = both({ k: 20, first: 2950, noise: key(8) });
    expect(await evaluate(device, f, given)).toEqual(await evaluate(device, f, given));
  });
});
