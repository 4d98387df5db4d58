import { afterAll, describe, expect, it } from "vitest";
import type { Device } from "../../device";
import { devices, open } from "../../open";
import { ssd } from "../../ops/ssd";
import { compareWithReference, evaluate, host, type HostTensor, normals, relativeError, referenceDevice, type TestFunction,
  uniforms } from "../../testing";

const listing = (await devices({ fallback: true })).find(({ name }) => name === "webgpu")!;
if (!listing.available) console.warn(`tests of the scan on webgpu do not run: ${listing.reason}`);

interface Case {
  T: number;
  H?: number;
  P?: number;
  N?: number;
  G?: number;
  B?: number;
  a?: HostTensor;
}

/** x, dt, a, b, c, d, state */
const inputs = ({ T, H = 2, P = 8, N = 16, G = 1, B = 1, a = uniforms(3, [B, T, H], -1.5, 0) }: Case): HostTensor[] => [
  normals(1, [B, T, H, P]), uniforms(2, [B, T, H], 0.1, 1), a, normals(4, [B, T, G, N]), normals(5, [B, T, G, N]), normals(6, [H]),
  normals(7, [B, H, P, N]),
];

/** As many inputs as are given: d and the state may be left out. */
const full = (chunk?: number): TestFunction => (x, dt, a, b, c, d, state) =>
  Object.values(ssd({ x: x!, dt: dt!, a: a!, b: b!, c: c!, d, state }, { chunk }));
const ofY = (chunk?: number): TestFunction => (x, dt, a, b, c, d, state) =>
  ssd({ x: x!, dt: dt!, a: a!, b: b!, c: c!, d, state }, { chunk }).y;

describe.skipIf(!listing.available)("ssd on webgpu", async () => {
  const openHere = (webgpu = {}) => (listing.available ? open("webgpu", { fallback: true, webgpu }) : (undefined as never));
  const device = await openHere();
  // 256 KiB: temporaries of five chunks of 64 steps for 8 heads that share b and c; a matrix [64,64] alone has 16 KiB.
  const narrow = await openHere({ maxBinding: 1 << 18, features: [], defaultLimits: true });
  afterAll(() => [device, narrow].forEach((d) => d?.close()));

  async function counts(on: Device, f: TestFunction, given: readonly HostTensor[],
    gradients: boolean): Promise<{ dispatches: number; copies: number }> {
    await on.synchronize();
    const before = on.counts!();
    const { outputs } = await evaluate(on, f, given, { gradients });
    const after = on.counts!();
    const reads = outputs.length + (gradients ? given.length : 0);
    return { dispatches: after.dispatches - before.dispatches, copies: after.copies - before.copies - reads };
  }

  it("takes few dispatches", async () => {
    const take = async (T: number, f: TestFunction, count: number) => {
      const given = inputs({ T }).slice(0, count);
      const forward = await counts(device, f, given, false);
      const both = await counts(device, f, given, true);
      expect(both.copies).toBe(forward.copies);
      return [forward.dispatches, both.dispatches - forward.dispatches, forward.copies];
    };
    // A single step copies x, its only copy: see ssdStep.
    expect(await take(1, full(), 7)).toEqual([1, 5, 1]);
    // Without a state, and a loss that does not see the final one.
    expect(await take(64, ofY(), 6)).toEqual([2, 3, 0]);
    expect(await take(128, ofY(), 6)).toEqual([3, 5, 0]);
    // With states that come in and go out.
    expect(await take(64, full(), 7)).toEqual([2, 5, 0]);
    expect(await take(128, full(), 7)).toEqual([3, 5, 0]);
    // Whatever the chunk, states are kept at the start of the kernels' own.
    expect(await take(512, full(256), 7)).toEqual([3, 5, 0]);
  });

  const wide = { H: 8, P: 16, N: 32 };
  it.each<Case & { chunk?: number }>([
    // Rows of the batch that can't be bound together.
    { ...wide, T: 128, B: 3 }, { ...wide, T: 40, B: 9 }, { T: 70, H: 4, P: 33, N: 17, G: 2, B: 5 },
    // Rows that can't be bound whole.
    { ...wide, T: 650, B: 2 }, { ...wide, T: 400, chunk: 3 }, { T: 800, H: 2, P: 7, N: 5, G: 2 }, { ...wide, T: 600, chunk: 100 },
    { ...wide, T: 650, G: 2, B: 2, chunk: 160 },
    // A single step whose state is too large.
    { ...wide, T: 1, B: 20 },
  ])("binds what is too large in parts: %o", async ({ chunk, ...shape }) => {
    await compareWithReference(narrow, full(chunk), inputs(shape));
    await compareWithReference(narrow, ofY(chunk), inputs(shape).slice(0, 5));
  });

  it("says what is too large to be cut", async () => {
    const states = inputs({ T: 70, H: 4, P: 96, N: 256 });
    await expect(evaluate(narrow, full(), states, { gradients: false })).rejects.toMatchObject({
      code: "E_MEMORY", message: expect.stringMatching(
        /ssd: the state of 64 steps \(4 heads of 96, 1 groups, states of 256\) has 393216 bytes/),
    });
  });

  it.each<Case>([{ T: 150, H: 6, P: 72, N: 68, G: 3 }, { T: 66, H: 1, P: 130, N: 3, B: 2 }, { T: 64, H: 2, P: 1, N: 1 },
    { T: 130, H: 48, P: 4, N: 4, G: 2 }])(
    "takes heads and states of any size: %o", async (shape) => {
      await compareWithReference(device, full(), inputs(shape));
    });

  it("keeps weak decays exact beside strong ones, and forgets all where told to", async () => {
    // A step of -1e4 or -300 forgets; between such steps what is remembered decays by 1e-6 to 1e-3 a step.
    const steps = Array.from({ length: 140 }, (_, t) => (t % 23 === 7 ? -1e4 : t % 31 === 4 ? -300 : -(10 ** -(3 + (t % 4)))));
    const given = inputs({ T: 140, H: 1, a: host(steps, [1, 140, 1]) });
    await compareWithReference(device, full(), given);
    const { outputs } = await evaluate(device, full(), given, { gradients: false });
    const changed = given.map((t, i) => (i === 0 ? { ...t, data: t.data.map((x, j) => (j < 99 * 8 ? x + 1e6 : x)) } : t));
    const forgotten = await evaluate(device, full(), changed, { gradients: false });
    // Step 99 is one of -1e4: from there on nothing of what was before is left.
    const rest = (values: ArrayLike<number>) => Array.from(values).slice(99 * 8);
    expect(rest(forgotten.outputs[0]!)).toEqual(rest(outputs[0]!));
  });

  it("stays as close over many chunks", async () => {
    const given = inputs({ T: 1000, H: 2, a: uniforms(3, [1, 1000, 2], -0.02, 0) });
    const expected = await evaluate(referenceDevice, full(), given, { precise: true });
    const actual = await evaluate(device, full(), given);
    expected.gradients.forEach((values, i) => expect(relativeError(actual.gradients[i]!, values!), `gradient of input ${i}`)
      .toBeLessThan(3e-6));
    expected.outputs.forEach((values, i) => expect(relativeError(actual.outputs[i]!, values), `output ${i}`).toBeLessThan(3e-6));
  });

  it("does not lose a NaN among the log decays", async () => {
    const broken = inputs({ T: 70, H: 1 }).map((t, i) => (i === 2 ? { ...t, data: t.data.with(30, NaN) } : t));
    const { outputs: [y, state] } = await evaluate(device, full(), broken, { gradients: false });
    expect([...Array.from(y!).slice(30 * 8), ...Array.from(state!)].every(Number.isNaN)).toBe(true);
  });

  it("gives the same bits on every run", async () => {
    for (const on of [device, narrow]) {
      const given = inputs({ ...wide, T: 200, G: 2 });
      const once = await evaluate(on, full(), given);
      expect(await evaluate(on, full(), given)).toEqual(once);
    }
  });
});
