import { afterAll, describe, expect, it } from "vitest";
import type { Device } from "../../device";
import { devices, open } from "../../open";
import { causalConv } from "../../ops/conv";
import { compareWithReference, evaluate, type HostTensor, normals, type TestFunction } from "../../testing";

const listing = (await devices({ fallback: true })).find(({ name }) => name === "webgpu")!;
if (!listing.available) console.warn(`tests of the convolution on webgpu do not run: ${listing.reason}`);

interface Case {
  T: number;
  C: number;
  K?: number;
  B?: number;
}

/** x, weight, bias, state */
const inputs = ({ T, C, K = 4, B = 2 }: Case): HostTensor[] =>
  [normals(1, [B, T, C]), normals(2, [C, K]), normals(3, [C]), normals(4, [B, K - 1, C])];

const full = (split?: readonly number[]): TestFunction => (x, weight, bias, state) => {
  const out = causalConv(x, weight, bias, state, { silu: true, split });
  return [...out.outputs, out.state];
};
const plain: TestFunction = (x, weight) => causalConv(x, weight, null, null).outputs;

describe.skipIf(!listing.available)("causalConv on webgpu", async () => {
  const openHere = (webgpu = {}) => (listing.available ? open("webgpu", { fallback: true, webgpu }) : (undefined as never));
  const device = await openHere();
  const narrow = await openHere({ maxBinding: 4096, features: [], defaultLimits: true });
  afterAll(() => [device, narrow].forEach((d) => d?.close()));

  async function dispatches(on: Device, f: TestFunction, given: readonly HostTensor[], gradients: boolean): Promise<number> {
    const before = on.counts!().dispatches;
    await evaluate(on, f, given, { gradients });
    return on.counts!().dispatches - before;
  }

  it("takes one dispatch for up to three outputs, and three for the gradient", async () => {
    for (const T of [1, 150]) {
      const given = inputs({ T, C: 48 });
      expect(await dispatches(device, full([32, 8, 8]), given, false)).toBe(1);
      expect(await dispatches(device, full([32, 8, 8]), given, true)).toBe(1 + 3);
      expect(await dispatches(device, full([24, 8, 8, 4, 4]), given, false)).toBe(2);
      expect(await dispatches(device, full([24, 8, 8, 4, 4]), given, true)).toBe(2 + 4);
    }
  });

  it("splits its output into as many as wanted", async () => {
    await compareWithReference(device, full([4, 8, 4, 12, 4, 8, 8]), inputs({ T: 21, C: 48 }));
    await compareWithReference(device, full([1, 2, 3, 4, 5]), inputs({ T: 21, C: 15 }));
  });

  it("has a gradient where the loss sees some outputs only", async () => {
    const some: TestFunction = (...given) => {
      const [, first, , , second] = full([4, 8, 4, 12, 8])(...given) as never[];
      return [first!, second!];
    };
    await compareWithReference(device, some, inputs({ T: 21, C: 36 }));
  });

  it.each([{ T: 1, C: 6, K: 9 }, { T: 30, C: 36, K: 5 }, { T: 300, C: 5, K: 40 },
    { T: 300, C: 4, K: 256, B: 1 }])("takes kernels of any width: %o", async (shape) => {
    await compareWithReference(device, full(), inputs(shape));
  });

  it("takes sequences over many blocks", async () => {
    await compareWithReference(device, full([96, 20, 20]), inputs({ T: 515, C: 136 }));
  });

  // 4,096 bytes are 42 rows of 24 channels and 34 of 30: parts of sequences, or a few of them at a time.
  it.each([{ T: 300, C: 24 }, { T: 43, C: 24 }, { T: 41, C: 24, B: 3 }, { T: 10, C: 24, B: 9 }, { T: 1, C: 24, B: 30 },
    { T: 90, C: 30, K: 7 }, { T: 3, C: 30, K: 9, B: 7 }])(
    "binds what is too large in parts: %o", async (shape) => {
      await compareWithReference(narrow, full([shape.C - 8, 4, 4]), inputs(shape));
      await compareWithReference(narrow, plain, inputs(shape).slice(0, 2));
    },
  );

  it("refuses rows that can't be bound", async () => {
    await expect(evaluate(narrow, plain, inputs({ T: 2, C: 2000 }).slice(0, 2))).rejects.toMatchObject({ code: "E_MEMORY" });
  });

  it("gives the same bits on every run", async () => {
    for (const on of [device, narrow]) {
      const once = await evaluate(on, full([16, 4, 4]), inputs({ T: 300, C: 24 }));
      expect(await evaluate(on, full([16, 4, 4]), inputs({ T: 300, C: 24 }))).toEqual(once);
    }
  });
});
