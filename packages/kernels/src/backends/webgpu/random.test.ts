import { afterAll, describe, expect, it } from "vitest";
import type { Device } from "../../device";
import { devices, open } from "../../open";
import { normal, uniform } from "../../ops/random";
import { key } from "../../random";
import { Tensor } from "../../tensor";
import { referenceDevice, kernelsIn } from "../../testing";

const listing = (await devices({ fallback: true })).find(({ name }) => name === "webgpu")!;
if (!listing.available) console.warn(`tests of random numbers on webgpu do not run: ${listing.reason}`);

const bitsOf = async (t: Tensor): Promise<Uint32Array> => {
  const numbers = await t.read();
  t.dispose();
  return new Uint32Array(numbers.buffer, numbers.byteOffset, numbers.length);
};

async function expectReferenceBits(device: Device, draw: (device: Device) => Tensor): Promise<void> {
  const [got, expected] = [await bitsOf(draw(device)), await bitsOf(draw(referenceDevice))];
  expect(got.length).toBe(expected.length);
  expect(got.findIndex((bits, i) => bits !== expected[i]), "place of the first other bits").toBe(-1);
}

const LARGEST = Math.fround(3.4028235e38);
const TINY = 2 ** -149;

describe.skipIf(!listing.available)("random on webgpu", async () => {
  const device = listing.available ? await open("webgpu", { fallback: true }) : (undefined as never);
  const narrow = listing.available
    ? await open("webgpu", { fallback: true, webgpu: { maxBinding: 1024, features: [], defaultLimits: true } }) : (undefined as never);
  afterAll(() => [device, narrow].forEach((d) => d?.close()));

  it.each([
    [0, 1], [0, TINY], [1, TINY], [0, 3e-45], [TINY, 2 ** -126], [-1e-38, 1e-44], [0, 2 ** -126], [-5, 0], [1e8, 1], [-0, 1e-30],
    [0, LARGEST], [LARGEST, LARGEST], [-LARGEST, LARGEST], [LARGEST, 1e38], [1e-3, 1e30], [1 / 3, 1e-7],
  ])("has the reference's bits for mean %d and std %d", (mean, std) =>
    expectReferenceBits(device, (d) => normal(key(77), d, [5000], { mean, std })));

  it.each([
    [0, 1], [-1, 1], [0, TINY], [0, 1e-44], [-1e-38, 1e-38], [5, 5], [-0, 0], [0, -0], [-LARGEST, 0], [0, LARGEST], [-1.7e38, 1.7e38],
    [1e8, 1e8 + 64], [-1 / 3, 2 / 3], [LARGEST, LARGEST],
  ])("has the reference's bits for numbers from %d to %d", (low, high) =>
    expectReferenceBits(device, (d) => uniform(key(78), d, [5000], { low, high })));

  it("has the reference's bits for a hundred keys, all 64 bits of them", async () => {
    for (let i = 0n; i < 100n; i++)
      await expectReferenceBits(device, (d) => normal(key((i * 0x9e3779b97f4a7c15n) % (1n << 64n)), d, [301]));
  });

  it("is one dispatch", () => {
    const before = device.counts!().dispatches;
    normal(key(1), device, [300, 1001]).dispose();
    uniform(key(1), device, [300, 1001]).dispose();
    return device.synchronize().then(() => expect(device.counts!().dispatches - before).toBe(2));
  });

  it("fills what is too large to be bound in parts", async () => {
    await expectReferenceBits(narrow, (d) => normal(key(3), d, [3001]));
    await expectReferenceBits(narrow, (d) => uniform(key(3), d, [3001], { low: -2 }));
  });

  it("fills a window that begins anywhere", async () => {
    const all = Tensor.empty(device, [1000]);
    const middle = all.window([701], 133);
    kernelsIn(device).randomNormal({ out: middle, key: key(9), mean: 0, std: 1 });
    all.dispose();
    const bits = await bitsOf(middle);
    expect(bits).toEqual(await bitsOf(normal(key(9), referenceDevice, [701])));
  });
});
