/** Weights of f16 with the feature shader-f16 and without it: the same numbers. */
import { afterAll, describe, expect, it } from "vitest";
import type { WebGpuOptions } from "../../device";
import { devices, open } from "../../open";
import { crossEntropy } from "../../ops/crossEntropy";
import { embedding, tokenTensor } from "../../ops/embedding";
import { linear } from "../../ops/matmul";
import { scope, tensor } from "../../tensor";
import { expectClose, normals } from "../../testing";
import type { WebGpuDevice } from ".";
import { boundAs, loadCode } from "./half";
import { program, shaderOf } from "./program";

const listing = (await devices({ fallback: true })).find(({ name }) => name === "webgpu")!;
const has = String(listing.details["features"]).includes("shader-f16");
if (!listing.available) console.warn(`tests of f16 weights on webgpu do not run: ${listing.reason}`);
else if (!has) console.warn("tests of f16 weights with the feature shader-f16 do not run: the adapter lacks it (node "
  + "scripts/test-lavapipe.mjs has one)");

describe.skipIf(!listing.available)("weights of f16 on webgpu", async () => {
  const openWith = async (features: WebGpuOptions["features"]) =>
    (await open("webgpu", { fallback: true, webgpu: { features } })) as WebGpuDevice;
  const packed = listing.available ? await openWith([]) : (undefined as never);
  const native = has ? await openWith(["shader-f16"]) : (undefined as never);
  afterAll(() => {
    packed?.close();
    native?.close();
  });

  /** Few rows, tiles, quads and single numbers; rows of an embedding; losses. */
  const numbersOn = async (device: WebGpuDevice) => {
    const results = scope(() => [[3, 40, 64], [3, 40, 66], [20, 40, 64], [20, 40, 66], [20, 3, 64], [3, 41, 33], [20, 41, 65]]
      .flatMap(([m, n, k]) => {
      const x = tensor(device, normals(1, [m!, k!]).data, [m!, k!]);
      const weight = tensor(device, normals(2, [n!, k!]).data, [n!, k!], "f16");
      const tokens = tokenTensor(device, Array.from({ length: m! }, (_, i) => i % n!), [m!], n!);
      return [linear(x, weight), embedding(weight, tokens), crossEntropy(x, weight, tokens)];
    }));
    const found = await Promise.all(results.map((t) => t.read()));
    for (const t of results) t.dispose();
    return found;
  };

  it("need no feature", async () => {
    expect(packed.launcher.halves).toBe(false);
    for (const numbers of await numbersOn(packed)) expect(numbers.every(Number.isFinite)).toBe(true);
  });

  it("are read in parts that begin in the middle of a pair", async () => {
    const narrow = (await open("webgpu", { fallback: true, webgpu: { features: [], maxBinding: 4096 } })) as WebGpuDevice;
    for (const [m, n, k] of [[3, 90, 33], [20, 91, 65], [3, 5, 601]] as const) {
      const found = await Promise.all([narrow, packed].map(async (device) => {
        const results = scope(() => {
          const weight = tensor(device, normals(2, [n, k]).data, [n, k], "f16");
          const tokens = tokenTensor(device, Array.from({ length: m }, (_, i) => n - 1 - i), [m], n);
          return [linear(tensor(device, normals(1, [m, k]).data, [m, k]), weight), embedding(weight, tokens)];
        });
        const numbers = await Promise.all(results.map((t) => t.read()));
        for (const t of results) t.dispose();
        return numbers;
      }));
      expectClose(found[0]![0]!, found[1]![0]!, 1e-5, `linear ${m} ${n} ${k}`);
      expect(found[0]![1]).toEqual(found[1]![1]);
    }
    narrow.close();
  });

  it.skipIf(!has)("are the same bits with the feature", async () => {
    expect(native.launcher.halves).toBe(true);
    expect(await numbersOn(native)).toEqual(await numbersOn(packed));
  });

  it.skipIf(has)("are refused a feature that the adapter lacks", async () => {
    await expect(openWith(["shader-f16"])).rejects.toMatchObject({ code: "E_DEVICE_UNAVAILABLE",
      message: expect.stringContaining("lacks the feature shader-f16") as string });
  });
});

describe("shaders of f16", () => {
  it.each([["f16", "enable f16;", "array<vec4h>"], ["words", undefined, "array<vec2u>"], ["f32", undefined, "array<vec4f>"]] as const)(
    "%s enable what they use", (stored, enable, type) => {
      const text = shaderOf(program({
        name: "test", reads: { x: boundAs(true, stored) }, writes: {}, params: {}, workgroup: 1, code: loadCode("x", stored, true),
      }));
      expect(text).toContain(type);
      expect(text.includes("enable f16;")).toBe(enable !== undefined);
    });
});
