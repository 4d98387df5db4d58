/** Numbers below the smallest normal float32: what the device's threads make of them, and that nothing else is changed. */
import { describe, expect, it } from "vitest";
import { open } from "../../open";
import { log, scale } from "../../ops/elementwise";
import { ssd } from "../../ops/ssd";
import { transpose } from "../../ops/view";
import { dispose, scope, tensor } from "../../tensor";
import { expectClose, instructionSets, referenceDevice, uniforms } from "../../testing";

/** So many numbers that every thread of a pool gets some. */
const MANY = 200_000;

describe.each(instructionSets.map((isa) => ({ isa })))("subnormal numbers on the CPU with $isa", ({ isa }) => {
  it("are 0 as inputs and as results, on every thread", async () => {
    for (const threads of [1, 2, 3]) {
      const device = await open("cpu", { isa, threads });
      for (const [x, factor] of [[1e-40, 1e10], [1e-30, 1e-10]] as const) {
        const product = scope(() => scale(tensor(device, new Float32Array(MANY).fill(x)), factor));
        expect((await product.read()).every((y) => y === 0), `${x} times ${factor} with ${threads} threads`).toBe(true);
        product.dispose();
      }
      device.close();
    }
  });

  it("are left alone on JavaScript's thread", async () => {
    const device = await open("cpu", { isa, threads: 2 });
    const out = scope(() => scale(tensor(device, new Float32Array(MANY).fill(1e-30)), 1e-10));
    await out.read();
    const tiny = Float32Array.of(1e-30);
    tiny[0]! *= 1e-10;
    expect(tiny[0]).toBeCloseTo(1e-40, 44);
    out.dispose();
    device.close();
  });

  it("are kept where numbers are only moved, and have a logarithm", async () => {
    const device = await open("cpu", { isa });
    const x = Float32Array.from({ length: 35 }, (_, i) => (i % 2 ? -1 : 1) * (i + 1) * 1e-41);
    using there = tensor(device, x, [5, 7]);
    using turned = transpose(there);
    expect(await there.read()).toEqual(x);
    expect(await turned.read()).toEqual(Float32Array.from({ length: 35 }, (_, i) => x[(i % 5) * 7 + Math.floor(i / 5)]!));
    using sizes = tensor(device, x.map(Math.abs));
    using logarithms = log(sizes);
    expectClose(await logarithms.read(), Array.from(x, (y) => Math.log(Math.abs(y))), 1e-6);
    device.close();
  });

  it("of decays that underflow change nothing that is seen", async () => {
    const device = await open("cpu", { isa });
    const [T, H, P, N] = [300, 2, 16, 8];
    const shapes = { x: [1, T, H, P], dt: [1, T, H], a: [1, T, H], b: [1, T, 1, N], c: [1, T, 1, N] };
    const numbers = Object.entries(shapes).map(([name, shape], i) =>
      [name, uniforms(i, shape, name === "a" ? -3 : -1, name === "a" ? 0 : 1)] as const);
    const on = (where: typeof device, dtype: "f32" | "f64") => scope(() => {
      const inputs = Object.fromEntries(numbers.map(([name, { data, shape }]) => [name, tensor(where, data, shape, dtype)]));
      return ssd(inputs as unknown as Parameters<typeof ssd>[0], { chunk: 256 });
    });
    const [got, expected] = [on(device, "f32"), on(referenceDevice, "f64")];
    expectClose(await got.y.read(), await expected.y.read(), 1e-5, "y");
    expectClose(await got.state.read(), await expected.state.read(), 1e-5, "state");
    dispose([got, expected]);
    device.close();
  });
});
