import { afterAll, describe, expect, it } from "vitest";
import { devices, open } from "../../open";
import { gatedLinearAttention } from "../../ops/gatedLinearAttention";
import { compareWithReference, evaluate, expectError, type HostTensor, normals, type TestFunction, uniforms } from "../../testing";
import { zeros } from "../../ops/memory";

const listing = (await devices({ fallback: true })).find(({ name }) => name === "webgpu")!;
if (!listing.available) console.warn(`tests of linear attention on webgpu do not run: ${listing.reason}`);

/** q, k, v, a, state, bonus */
const inputs = (B: number, T: number, H: number, K: number, V: number): HostTensor[] => [
  normals(1, [B, T, H, K]), normals(2, [B, T, H, K]), normals(3, [B, T, H, V]), uniforms(4, [B, T, H, K], -1.5, 0),
  normals(5, [B, H, K, V]), normals(6, [H, K]),
];
const full: TestFunction = (q, k, v, a, state, bonus) => Object.values(gatedLinearAttention({ q, k, v, a, state, bonus }, { scale: 0.5 }));

describe.skipIf(!listing.available)("gatedLinearAttention on webgpu", async () => {
  const openHere = (webgpu = {}) => (listing.available ? open("webgpu", { fallback: true, webgpu }) : (undefined as never));
  const device = await openHere();
  // 256 KiB: what the gradient of three chunks of 64 steps needs for two heads with keys of 8.
  const narrow = await openHere({ maxBinding: 1 << 18, features: [], defaultLimits: true });
  afterAll(() => [device, narrow].forEach((d) => d?.close()));

  it("takes few dispatches", async () => {
    const take = async (T: number, count: number) => {
      const given = inputs(2, T, 2, 8, 12).slice(0, count);
      const dispatches = async (gradients: boolean) => {
        await device.synchronize();
        const before = device.counts!().dispatches;
        await evaluate(device, full, given, { gradients });
        return device.counts!().dispatches - before;
      };
      const forward = await dispatches(false);
      return [forward, (await dispatches(true)) - 5];
    };
    expect(await take(1, 6)).toEqual([1, 11]);
    expect(await take(70, 5)).toEqual([5, 10]);
    expect(await take(70, 6)).toEqual([5, 11]);
  });

  it.each([1, 2])("is cut where it is too large to be bound at once: %i sequences", async (B) => {
    const given = inputs(B, 64 * 7 + 5, 2, 8, 12);
    await compareWithReference(narrow, full, given);
    await compareWithReference(narrow, full, given.slice(0, 5));
    await compareWithReference(narrow, (q, k, v, a) => gatedLinearAttention({ q: q!, k: k!, v: v!, a: a! }).y, given.slice(0, 4));
  });

  it("refuses what no binding holds", () => {
    const of = (...shape: number[]) => zeros(narrow, shape);
    expectError(() => gatedLinearAttention({ q: of(1, 2, 9, 8), k: of(1, 2, 9, 8), v: of(1, 2, 9, 8), a: of(1, 2, 9, 8) }), "E_MEMORY",
      /the gradient of q and k of 64 steps \(9 heads, keys of 8, values of 8\) has 369\d+ bytes/);
  });
});
