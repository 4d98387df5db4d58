import { afterAll, describe, expect, it } from "vitest";
import type { Device } from "../../device";
import { devices, open } from "../../open";
import { embedding } from "../../ops/embedding";
import { compareWithReference, evaluate, type HostTensor, integers, normals } from "../../testing";

const listing = (await devices({ fallback: true })).find(({ name }) => name === "webgpu")!;
if (!listing.available) console.warn(`tests of embedding on webgpu do not run: ${listing.reason}`);

/** Tokens of which most are the first few, as in a text. */
function skewed(seed: number, count: number, vocabulary: number): HostTensor {
  const { data } = integers(seed, [count], 0, 2 ** 20);
  return { data: data.map((n) => Math.min(vocabulary - 1, Math.floor(vocabulary * (n / 2 ** 20) ** 6))), shape: [count], kind: "integer" };
}

describe.skipIf(!listing.available)("embedding on webgpu", async () => {
  const openHere = (webgpu = {}) => (listing.available ? open("webgpu", { fallback: true, webgpu }) : (undefined as never));
  const device = await openHere();
  const narrow = await openHere({ maxBinding: 1024, features: [], defaultLimits: true });
  afterAll(() => [device, narrow].forEach((d) => d?.close()));

  const dispatches = async (on: Device, vocabulary: number, count: number, width: number, gradients: boolean) => {
    const before = on.counts!().dispatches;
    await evaluate(on, embedding, [normals(1, [vocabulary, width]), skewed(2, count, vocabulary)], { gradients });
    return on.counts!().dispatches - before;
  };

  // Few rows and many, few tokens and many, in vectors of four and not.
  for (const [vocabulary, count, width] of [[3, 20_000, 8], [3, 9000, 5], [60, 4200, 12], [1025, 3000, 4], [1100, 40_000, 3],
    [1030, 50, 260]] as const) {
    it(`picks rows and adds up their gradients: ${vocabulary} rows of ${width} for ${count} tokens`, async () => {
      await compareWithReference(device, embedding, [normals(1, [vocabulary, width]), skewed(2, count, vocabulary)], { tolerance: 1e-5 });
    });
  }

  it("binds what is too large in parts", async () => {
    for (const [vocabulary, count, width] of [[5, 300, 8], [100, 50, 8], [70, 90, 7], [5, 20, 128]] as const) {
      await compareWithReference(narrow, embedding, [normals(1, [vocabulary, width]), skewed(2, count, vocabulary)], { tolerance: 1e-5 });
    }
  });

  it("takes one dispatch, and one or two for the gradient", async () => {
    expect(await dispatches(device, 30, 2048, 64, false)).toBe(1);
    expect(await dispatches(device, 30, 2048, 64, true)).toBe(1 + 1);
    expect(await dispatches(device, 30, 20_000, 64, true)).toBe(1 + 2);
    expect(await dispatches(device, 1100, 2048, 64, true)).toBe(1 + 2);
  });

  it("gives the same bits on every run", async () => {
    for (const vocabulary of [20, 1100]) {
      const inputs = [normals(1, [vocabulary, 33]), skewed(2, 5000, vocabulary)];
      expect(await evaluate(device, embedding, inputs)).toEqual(await evaluate(device, embedding, inputs));
    }
  });
});
