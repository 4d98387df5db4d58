import { describe, expect, it } from "vitest";
import type { Device } from "../device";
import { open } from "../open";
import { dispose, scope, tensor } from "../tensor";
import { eachDevice, expectClose, expectError, instructionSets, normals, referenceDevice, relativeError, upload } from "../testing";
import { leaves } from "../tree";
import { adamW, adamWMoments, clipFactor, countNonFinite, globalNorm, unlessCounted } from "./optimizer";

const SIZES = [[1], [3, 5], [0], [16], [129, 257], [2, 1, 17], [16_384], [16_385]];

function tree(device: Device, seed: number, scale = 1, precise = false) {
  return { layers: SIZES.map((shape, i) => ({ w: upload(device, normals(seed + i, shape, scale), precise) })) };
}

/** All numbers of a tree, one after the other. */
async function numbers(value: unknown): Promise<number[]> {
  return (await Promise.all(leaves(value).map(({ tensor: t }) => t.read()))).flatMap((list) => [...list]);
}

/** Three AdamW steps with clipping; odd layers do not decay. */
async function train(device: Device, precise = false): Promise<{ parameters: number[]; m: number[]; v: number[] }> {
  const parameters = tree(device, 100, 1, precise);
  const moments = adamWMoments(parameters);
  for (let step = 1; step <= 3; step++) {
    scope(() => {
      const gradients = tree(device, 1000 * step, 10 ** -step, precise);
      const factor = clipFactor(globalNorm(gradients), 0.7);
      const decays = (path: string) => Number(path.split(".")[1]) % 2 === 0;
      adamW(parameters, gradients, moments, { learningRate: 1e-2, step, beta2: 0.95, weightDecay: 0.1, decays }, factor);
    });
  }
  const result = { parameters: await numbers(parameters), m: await numbers(moments.m), v: await numbers(moments.v) };
  dispose([parameters, moments]);
  return result;
}

eachDevice("optimizer", (device) => {
  it("trains as the float64 reference does", async () => {
    const [got, expected] = [await train(device), await train(referenceDevice, true)];
    expectClose(got.parameters, expected.parameters, 1e-6, "parameters");
    expectClose(got.m, expected.m, 1e-6, "first moments");
    expectClose(got.v, expected.v, 1e-6, "second moments");
    const start = tree(referenceDevice, 100);
    expect(relativeError(got.parameters, await numbers(start))).toBeGreaterThan(1e-3);
    dispose(start);
  });

  it("does one step by the formula", async () => {
    const [p, g] = [{ w: tensor(device, [1, -2]), b: tensor(device, [3]) }, { w: tensor(device, [0.5, -0.25]), b: tensor(device, [0]) }];
    const moments = adamWMoments(p);
    adamW(p, g, moments, { learningRate: 0.1, step: 1, weightDecay: 0.5, decays: (path) => path === "w" });
    // At step 1 the update is g / (|g| + eps) = ±1; without gradient and decay nothing moves.
    expectClose(await p.w.read(), [1 - 0.1 * (0.5 + 1), -2 - 0.1 * (-1 - 1)], 1e-6);
    expect([...(await p.b.read())]).toEqual([3]);
    expectClose(await moments.m.w.read(), [0.05, -0.025], 1e-6);
    expectClose(await moments.v.w.read(), [0.001 * 0.25, 0.001 * 0.0625], 1e-6);
    dispose([p, g, moments]);
  });

  it("measures the norm of a whole tree, also of numbers whose squares overflow float32", async () => {
    const gradients = tree(device, 7);
    using norm = globalNorm(gradients);
    const expected = Math.hypot(...(await numbers(gradients)));
    expect(relativeError([await norm.item()], [expected])).toBeLessThan(1e-6);
    using huge = tensor(device, [3e30, 4e30]);
    using hugeNorm = globalNorm([huge]);
    expect(relativeError([await hugeNorm.item()], [5e30])).toBeLessThan(1e-6);
    // Subnormal numbers come in steps of 1.4e-45.
    using tiny = tensor(device, [3e-40, 4e-40]);
    using tinyNorm = globalNorm([tiny]);
    expect(Math.abs((await tinyNorm.item()) - 5e-40)).toBeLessThan(3e-45);
    dispose(gradients);
  });

  it("clips only what is longer than allowed", async () => {
    for (const [norm, maxNorm, expected] of [[2, 1, 0.5], [1, 1, 1], [0.1, 1, 1], [0, 1, 1], [Infinity, 1, 0], [NaN, 1, NaN]] as const) {
      using n = tensor(device, [norm]);
      using factor = clipFactor(n, maxNorm);
      expect(await factor.item()).toBe(expected);
    }
  });

  it("counts what is not finite", async () => {
    const clean = tree(device, 1);
    const bad = { a: tensor(device, [1, NaN, Infinity, -Infinity, 3.4e38, -0]),
      b: tensor(device, Array.from({ length: 40_000 }, () => NaN)) };
    using none = countNonFinite(clean);
    using some = countNonFinite([clean, bad]);
    expect([await none.item(), await some.item()]).toEqual([0, 40_003]);
    dispose([clean, bad]);
  });

  it.each([true, false])("leaves parameters and moments as they are, to the bit, where a step is skipped; with clipping: %s",
    async (clips) => {
    const run = async (skipped: readonly boolean[]): Promise<number[]> => {
      const parameters = tree(device, 5);
      const moments = adamWMoments(parameters);
      skipped.forEach((bad, i) => scope(() => {
        const gradients = bad ? { layers: SIZES.map(
          (shape) => ({ w: tensor(device, new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(NaN), shape) })) } : tree(device, 50 + i);
        const norm = globalNorm(gradients);
        const skip = countNonFinite([norm]);
        adamW(parameters, gradients, moments, { learningRate: 1e-2, step: i + 1, skip }, clips ? clipFactor(norm, 1) : null);
      }));
      const result = await numbers([parameters, moments]);
      dispose([parameters, moments]);
      return result;
    };
    expect(await run([false, true, true])).toEqual(await run([false]));
    expect((await run([false, true, false])).every((number) => Number.isFinite(number))).toBe(true);
    expect(await run([false, false])).not.toEqual(await run([false]));
  });

  it("chooses by a count", async () => {
    using none = tensor(device, [0], [1], "i32");
    using some = tensor(device, [3], [1], "i32");
    for (const size of [1, 5, 40_000]) {
      using x = tensor(device, Float32Array.from({ length: size }, (_, i) => (i % 3 === 0 ? Number.NaN : i)));
      using y = tensor(device, Float32Array.from({ length: size }, (_, i) => -i));
      using kept = unlessCounted(none, x);
      using cleared = unlessCounted(some, x);
      using replaced = unlessCounted(some, x, y);
      expect(await kept.read()).toEqual(await x.read());
      expect((await cleared.read()).every((value) => value === 0)).toBe(true);
      expect(await replaced.read()).toEqual(await y.read());
    }
    expectError(() => unlessCounted(tensor(device, [1]), none), "E_SHAPE", /count is f32 \[1\]; it must be one i32/);
    expectError(() => unlessCounted(none, none, tensor(device, [1])), "E_SHAPE", /otherwise is f32 \[1\]; it must be i32 \[1\]/);
  });

  it("frees what it makes", async () => {
    await device.synchronize();
    const before = device.memory().used;
    await train(device);
    await device.synchronize();
    expect(device.memory().used).toBe(before);
  });

  it("names what does not fit", () => {
    const options = { learningRate: 1e-3, step: 1 };
    const make = (n = 2) => ({ w: tensor(device, Array.from({ length: n }, () => 1)) });
    expectError(() => globalNorm({}), "E_ARGUMENT", /holds no tensors/);
    expectError(() => globalNorm({ a: tensor(device, [1], [1], "i32") }), "E_DTYPE", /a is i32/);
    expectError(() => clipFactor(tensor(device, [1]), 0), "E_ARGUMENT", /maxNorm 0/);
    expectError(() => clipFactor(tensor(device, [1, 2]), 1), "E_SHAPE", /one number/);
    const wrong = [
      ["step", 0], ["step", 1.5], ["learningRate", NaN], ["learningRate", -1], ["beta1", 1], ["beta2", -0.1], ["eps", 0],
      ["weightDecay", -1],
    ] as const;
    for (const [name, value] of wrong) {
      const p = scope(make);
      expectError(() => adamW(p, make(), adamWMoments(p), { ...options, [name]: value }), "E_ARGUMENT", new RegExp(`${name} is ${value}`));
      dispose(p);
    }
    expectError(() => adamW(make(), make(3), adamWMoments(make()), options), "E_SHAPE", /w must have its shape \[2\]/);
    const other = () => ({ other: make().w }) as never;
    expectError(() => adamW(make(), other(), adamWMoments(make()), options), "E_ARGUMENT", /trees differ at leaf 0: w against other/);
  });
});

describe("optimizer on the CPU", () => {
  it.runIf(instructionSets.length > 0)("has the same bits with any number of threads", async () => {
    for (const isa of instructionSets) {
      const results = [];
      for (const threads of [1, 2, 3]) {
        const device = await open("cpu", { isa, threads });
        results.push(await train(device));
        device.close();
      }
      expect(results[1]).toEqual(results[0]);
      expect(results[2]).toEqual(results[0]);
    }
  });
});
