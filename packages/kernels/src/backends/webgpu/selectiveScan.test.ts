import { afterAll, describe, expect, it } from "vitest";
import type { Device } from "../../device";
import { devices, open } from "../../open";
import { selectiveScan } from "../../ops/selectiveScan";
import { compareWithReference, evaluate, type HostTensor, normals, type TestFunction, uniforms } from "../../testing";

const listing = (await devices({ fallback: true })).find(({ name }) => name === "webgpu")!;
if (!listing.available) console.warn(`tests of the selective scan on webgpu do not run: ${listing.reason}`);

interface Case {
  T: number;
  B?: number;
  D?: number;
  N?: number;
  G?: number;
}

/** x, dt, a, b, c, d, state */
const inputs = ({ T, B = 1, D = 40, N = 16, G = 1 }: Case): HostTensor[] => [
  normals(1, [B, T, D]), uniforms(2, [B, T, D], 0.01, 0.5), uniforms(3, [D, N], -4, 0), normals(4, [B, T, G, N]), normals(5, [B, T, G, N]),
  normals(6, [D]), normals(7, [B, D, N]),
];

/** As many inputs as are given: d and the state may be left out. */
const scan: TestFunction = (x, dt, a, b, c, d, state) => Object.values(selectiveScan({ x, dt, a, b, c, d, state }));
const onlyY: TestFunction = (x, dt, a, b, c, d, state) => selectiveScan({ x, dt, a, b, c, d, state }).y;

describe.skipIf(!listing.available)("selectiveScan on webgpu", async () => {
  const openHere = (webgpu = {}) => (listing.available ? open("webgpu", { fallback: true, webgpu }) : (undefined as never));
  const device = await openHere();
  // 64 KiB: what the gradient keeps of 64 steps of 40 channels with 16 states is 43 KiB.
  const narrow = await openHere({ maxBinding: 1 << 16, features: [], defaultLimits: true });
  afterAll(() => [device, narrow].forEach((d) => d?.close()));

  async function dispatches(on: Device, f: TestFunction, given: readonly HostTensor[], gradients: boolean): Promise<number> {
    await on.synchronize();
    const before = on.counts!().dispatches;
    await evaluate(on, f, given, { gradients });
    return on.counts!().dispatches - before;
  }

  it("takes few dispatches", async () => {
    const take = async (T: number) => {
      const forward = await dispatches(device, scan, inputs({ T }), false);
      return [forward, (await dispatches(device, scan, inputs({ T }), true)) - forward];
    };
    expect(await take(1)).toEqual([1, 4]);
    expect(await take(16)).toEqual([1, 4]);
    expect(await take(17)).toEqual([3, 6]);
    expect(await take(500)).toEqual([3, 6]);
  });

  it.each<Case>([{ T: 200, B: 2 }, { T: 130, B: 3, G: 2 }, { T: 64 }, { T: 9, B: 70 }])(
    "is cut where a device can't bind it whole: %o", async (shape) => {
      await compareWithReference(narrow, scan, inputs(shape));
      await compareWithReference(narrow, onlyY, inputs(shape).slice(0, 5));
    });

  it("says what is too large where not even 64 steps can be bound", async () => {
    const failure = evaluate(narrow, scan, inputs({ T: 20, D: 400 }), { gradients: false });
    await expect(failure).rejects.toMatchObject(
      { code: "E_MEMORY", message: expect.stringMatching(/selectiveScan: .* of 64 steps/) as string });
  });

  it.each<Case>([{ T: 20, N: 33 }, { T: 40, N: 100, D: 70 }])("takes any number of states: %o", async (shape) => {
    await compareWithReference(device, scan, inputs(shape));
  });
});
