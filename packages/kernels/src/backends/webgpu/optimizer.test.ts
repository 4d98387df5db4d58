import { afterAll, describe, expect, it } from "vitest";
import type { Device } from "../../device";
import { devices, open } from "../../open";
import { adamW, adamWMoments, clipFactor, countNonFinite, globalNorm } from "../../ops/optimizer";
import { dispose, scope, tensor, type Tensor } from "../../tensor";
import { expectClose, normals, referenceDevice, relativeError, testRandom, upload } from "../../testing";

const listing = (await devices({ fallback: true })).find(({ name }) => name === "webgpu")!;
if (!listing.available) console.warn(`tests of the optimiser on webgpu do not run: ${listing.reason}`);

/** Twenty tensors, three of them with a size that is no multiple of 4. */
const SIZES = [1, 7, 9001, ...Array.from({ length: 17 }, (_, i) => 64 * (i + 1))];

const tree = (device: Device, seed: number, scale = 1): Record<string, Tensor> =>
  Object.fromEntries(SIZES.map((size, i) => [`w${i}`, upload(device, normals(seed + i, [size], scale))]));

/** Two steps with clipping; gives parameters and moments, one after the other. */
async function train(device: Device): Promise<number[]> {
  const parameters = tree(device, 1);
  const moments = adamWMoments(parameters);
  for (const step of [1, 2]) {
    scope(() => {
      const gradients = tree(device, 100 * step);
      adamW(parameters, gradients, moments, { learningRate: 0.01, step, weightDecay: 0.1 }, clipFactor(globalNorm(gradients), 1));
    });
  }
  const all = [parameters, moments.m, moments.v].flatMap((values) => Object.values(values));
  const read = (await Promise.all(all.map((t) => t.read()))).flatMap((values) => [...values]);
  dispose(all);
  return read;
}

async function normOf(device: Device, numbers: readonly number[]): Promise<number> {
  const x = tensor(device, numbers);
  const norm = globalNorm([x]);
  const value = await norm.item();
  dispose([x, norm]);
  return value;
}

describe.skipIf(!listing.available)("optimizer on webgpu", async () => {
  const device = listing.available ? await open("webgpu", { fallback: true }) : (undefined as never);
  const narrow = listing.available
    ? await open("webgpu", { fallback: true, webgpu: { maxBinding: 4096, features: [], defaultLimits: true } })
    : (undefined as never);
  afterAll(() => [device, narrow].forEach((d) => d?.close()));

  it("takes one dispatch for seven gradients, and one per parameter", async () => {
    const parameters = tree(device, 1);
    const moments = adamWMoments(parameters);
    const dispatches = (): number => device.counts!().dispatches;
    const spent = async (body: () => unknown): Promise<number> => {
      await device.synchronize();
      const before = dispatches();
      scope(() => void body());
      await device.synchronize();
      return dispatches() - before;
    };
    expect(await spent(() => globalNorm(parameters))).toBe(Math.ceil(20 / 7) + 1);
    expect(await spent(() => countNonFinite(parameters))).toBe(Math.ceil(20 / 7) + 1);
    expect(await spent(() => adamW(parameters, parameters, moments, { learningRate: 0, step: 1 }))).toBe(20);
    dispose([parameters, moments]);
  });

  it("binds what is too large in parts, and gives the same bits on every run", async () => {
    const [expected, whole, parted] = [await train(referenceDevice), await train(device), await train(narrow)];
    expectClose(whole, expected, 1e-6);
    expectClose(parted, expected, 1e-6);
    expect(await train(device)).toEqual(whole);
    expect(await train(narrow)).toEqual(parted);
  });

  it("counts in parts", async () => {
    const x = tensor(narrow, Array.from({ length: 5000 }, (_, i) => (i % 10 === 3 ? NaN : i % 10 === 4 ? -Infinity : i)));
    const count = countNonFinite([x, x]);
    expect(await count.item()).toBe(2000);
    dispose([x, count]);
  });

  // Numbers of all sizes that float32 has, alone and side by side; 2 ** 47 is where the classes of squares meet.
  it.each([
    ["nothing", []], ["zeros", [0, -0]], ["the largest", [3.4e38, 1e38]], ["too much", [3e38, 3e38]], ["small ones", [3e-20, 4e-20]],
    ["tiny ones", [3e-37, -4e-37]],
    ["small and middling", [1e-14, ...Array.from({ length: 3000 }, () => 7e-15)]],
    ["middling and large", [1.5e14, ...Array.from({ length: 3000 }, () => 1.4e14)]],
    ["all", [1e30, 1, 1e-30]], ["the thousands", Array.from({ length: 100_003 }, (_, i) => Math.sin(i))],
  ] as [string, number[]][])("measures %s", async (_, numbers) => {
    const expected = await normOf(referenceDevice, numbers);
    expect(relativeError([await normOf(device, numbers)], [expected])).toBeLessThan(1e-6);
  });

  it("knows what is not finite by its bits", async () => {
    expect(await normOf(device, [1, Infinity, 2])).toBe(Infinity);
    expect(await normOf(device, [1, -Infinity, NaN])).toBeNaN();
  });

  it("clips by the reference's bits", async () => {
    const next = testRandom(3);
    const norms = Array.from({ length: 200 }, () => Math.fround(10 ** (80 * next() - 40))).concat(1, 1e-45, 3.4e38);
    for (const maxNorm of [1, 0.7, 1e-30, Infinity]) {
      const factors = (on: Device) => Promise.all(norms.map(async (n) => {
        const norm = tensor(on, [n]);
        const factor = clipFactor(norm, maxNorm);
        const value = await factor.item();
        dispose([norm, factor]);
        return value;
      }));
      // The reference divides the float64 number maxNorm: give it the float32 one.
      expect(await factors(device)).toEqual(norms.map((n) => Math.min(1, Math.fround(Math.fround(maxNorm) / n))));
    }
  });

  it("moves nothing that has neither gradient nor decay, however small eps is", async () => {
    const parameters = { w: tensor(device, [1, -2, 3]) };
    const gradients = { w: tensor(device, [0, 0, 0]) };
    const moments = adamWMoments(parameters);
    adamW(parameters, gradients, moments, { learningRate: 0.1, step: 1, weightDecay: 0, eps: 1e-300 });
    expect([...(await parameters.w.read())]).toEqual([1, -2, 3]);
    dispose([parameters, gradients, moments]);
  });
});
