import { afterAll, describe, expect, it } from "vitest";
import { devices, open } from "../../open";
import { deltaRule } from "../../ops/deltaRule";
import { gatedDeltaRule } from "../../ops/gatedDeltaRule";
import { zeros } from "../../ops/memory";
import { compareWithReference, evaluate, expectError, type HostTensor, normals, type TestFunction, uniforms } from "../../testing";

const listing = (await devices({ fallback: true })).find(({ name }) => name === "webgpu")!;
if (!listing.available) console.warn(`tests of the delta rules on webgpu do not run: ${listing.reason}`);

const delta: TestFunction = (q, k, v, a, remove, write, state) => Object.values(deltaRule({ q, k, v, a, remove, write, state }));
const gated: TestFunction = (q, k, v, a, beta, state) => Object.values(gatedDeltaRule({ q, k, v, a, beta, state }));

function deltaInputs(B: number, T: number, H = 2, K = 8, V = 8): HostTensor[] {
  const keys = [B, T, H, K];
  return [normals(1, keys), normals(2, keys), normals(3, [B, T, H, V]), uniforms(4, keys, -0.6, 0), normals(5, keys, 0.2),
    normals(6, keys, 0.2), normals(7, [B, H, K, V])];
}

const gatedInputs = (B: number, T: number, H = 1, HV = 2, K = 8, V = 8): HostTensor[] => [
  normals(1, [B, T, H, K]), normals(2, [B, T, H, K], 0.3), normals(3, [B, T, HV, V]), uniforms(4, [B, T, HV], -0.6, 0),
  uniforms(5, [B, T, HV], 0, 1), normals(6, [B, HV, K, V]),
];

describe.skipIf(!listing.available)("delta rules on webgpu", async () => {
  const openHere = (webgpu = {}) => (listing.available ? open("webgpu", { fallback: true, webgpu }) : (undefined as never));
  const device = await openHere();
  // 48 KiB: two chunks of 64 steps of two heads of 8, whose q, k, a, remove and write have 20 KiB.
  const narrow = await openHere({ maxBinding: 3 << 14, features: [], defaultLimits: true });
  afterAll(() => [device, narrow].forEach((d) => d?.close()));

  it("takes few dispatches", async () => {
    const count = async (f: TestFunction, given: HostTensor[], gradients: boolean) => {
      await device.synchronize();
      const before = device.counts!().dispatches;
      await evaluate(device, f, given, { gradients });
      return device.counts!().dispatches - before;
    };
    for (const T of [1, 200]) {
      expect(await count(delta, deltaInputs(1, T), false)).toBe(1);
      expect(await count(delta, deltaInputs(1, T), true)).toBe(3);
      expect(await count(gated, gatedInputs(1, T), true)).toBe(5);
    }
  });

  it("cuts what can't be bound at once along time and by sequences, gradients included", async () => {
    await compareWithReference(narrow, delta, deltaInputs(2, 300));
    await compareWithReference(narrow, delta, deltaInputs(2, 300).slice(0, 6));
    await compareWithReference(narrow, gated, gatedInputs(2, 300));
    await compareWithReference(narrow, gated, gatedInputs(5, 40));
  });

  it("says what is too large", () => {
    const [q, v] = [zeros(narrow, [1, 1, 8, 64]), zeros(narrow, [1, 1, 8, 64])];
    expectError(() => deltaRule({ q, k: q, v, a: q, remove: q, write: q }), "E_MEMORY", /q, k and what goes with them of 64 steps/);
    q.dispose();
    v.dispose();
  });
});
