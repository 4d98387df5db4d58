import { afterAll, describe, expect, it } from "vitest";
import type { Device } from "../../device";
import { devices, open } from "../../open";
import { alibiSlopes, attention } from "../../ops/attention";
import { rope } from "../../ops/rope";
import { tensor } from "../../tensor";
import { compareWithReference, evaluate, type HostTensor, normals, type TestFunction } from "../../testing";

const listing = (await devices({ fallback: true })).find(({ name }) => name === "webgpu")!;
if (!listing.available) console.warn(`tests of attention on webgpu do not run: ${listing.reason}`);

interface Case {
  T: number;
  U?: number;
  B?: number;
  H?: number;
  K?: number;
  D?: number;
  window?: number;
  alibi?: boolean;
  lengths?: readonly number[];
}

/** q, k, v */
const inputs = ({ T, U = T, B = 1, H = 2, K = H, D = 8 }: Case): HostTensor[] =>
  [normals(1, [B, T, H, D]), normals(2, [B, U, K, D]), normals(3, [B, U, K, D])];

const of = ({ H = 2, window, alibi = false, lengths }: Case): TestFunction => (q, k, v) => attention({
  q: q!, k: k!, v: v!, slopes: alibi ? tensor(q!.device, alibiSlopes(H), [H], q!.dtype) : null, lengths: lengths
    ? tensor(q!.device, lengths, [lengths.length], "i32") : null,
}, { window });

describe.skipIf(!listing.available)("attention on webgpu", async () => {
  const openHere = (webgpu = {}) => (listing.available ? open("webgpu", { fallback: true, webgpu }) : (undefined as never));
  const device = await openHere();
  const narrow = await openHere({ maxBinding: 8192, features: [], defaultLimits: true });
  afterAll(() => [device, narrow].forEach((d) => d?.close()));

  async function dispatches(on: Device, f: TestFunction, given: readonly HostTensor[], gradients: boolean): Promise<number> {
    const before = on.counts!().dispatches;
    await evaluate(on, f, given, { gradients });
    return on.counts!().dispatches - before;
  }

  it("takes one dispatch, and three for the gradient; rope one each way", async () => {
    for (const shape of [{ T: 70, window: 20, alibi: true }, { T: 1, U: 66 }]) {
      expect(await dispatches(device, of(shape), inputs(shape), false)).toBe(1);
      expect(await dispatches(device, of(shape), inputs(shape), true)).toBe(1 + 3);
    }
    const turn: TestFunction = (x) => rope(x!);
    expect(await dispatches(device, turn, inputs({ T: 70 }).slice(0, 1), true)).toBe(2);
  });

  // 8,192 bytes are 2,048 numbers: several rows of the batch, one, or a head of one.
  it.each<Case>([
    { T: 40, B: 5 }, { T: 100, B: 3, lengths: [100, 0, 70] }, { T: 70, U: 90, B: 2, H: 4, K: 2, alibi: true, window: 30 },
    { T: 100, B: 2, H: 3, lengths: [90, 30], alibi: true },
    { T: 300, H: 4, D: 6, window: 70 },
  ])("binds what is too large in parts: %o", async (shape) => {
    await compareWithReference(narrow, of(shape), inputs(shape), { tolerance: 2e-5 });
  });

  it("turns what is too large in parts", async () => {
    await compareWithReference(narrow, (x) => rope(x!, { start: 7 }), [normals(1, [2, 150, 3, 6])], { tolerance: 1e-6 });
  });

  it("refuses a head that can't be bound", async () => {
    await expect(evaluate(narrow, of({ T: 300 }), inputs({ T: 300 }), { gradients: false })).rejects.toMatchObject({ code: "E_MEMORY" });
  });

  it("takes heads above one tile, gives the same bits on every run, and leaves no memory behind", async () => {
    for (const [on, shape] of [[device, { T: 66, D: 132, window: 40, alibi: true }], [narrow, { T: 60, H: 4, K: 2, D: 10 }]] as const) {
      await compareWithReference(on, of(shape), inputs(shape), { tolerance: 2e-5 });
      const [before, once] = [on.memory().used, await evaluate(on, of(shape), inputs(shape))];
      expect(await evaluate(on, of(shape), inputs(shape))).toEqual(once);
      expect(on.memory().used).toBe(before);
    }
  });
});
