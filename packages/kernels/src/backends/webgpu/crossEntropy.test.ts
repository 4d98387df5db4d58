import { afterAll, describe, expect, it } from "vitest";
import { devices, open } from "../../open";
import { crossEntropy as loss } from "../../ops/crossEntropy";
import { dispose, tensor, Tensor } from "../../tensor";
import { full } from "../../ops/memory";
import { compareWithReference, evaluate, expectClose, type HostTensor, integers, normals, referenceDevice,
  type TestFunction } from "../../testing";
import type { WebGpuDevice } from ".";
import { crossEntropy } from "./crossEntropy";
import type { Launcher } from "./launcher";

const listing = (await devices({ fallback: true })).find(({ name }) => name === "webgpu")!;
if (!listing.available) console.warn(`tests of cross-entropy on webgpu do not run: ${listing.reason}`);
const openHere = async (webgpu = {}) => (await open("webgpu", { fallback: true, webgpu })) as WebGpuDevice;

const inputs = (rows: number, width: number, vocabulary: number, scale = 1): HostTensor[] =>
  [normals(1, [rows, width], scale), normals(2, [vocabulary, width]), integers(3, [rows], -1, vocabulary)];
const f: TestFunction = (...[hidden, weight, targets]) => loss(hidden!, weight!, targets!);

describe.skipIf(!listing.available)("cross-entropy on webgpu", async () => {
  const device = listing.available ? await openHere() : (undefined as never);
  afterAll(() => device?.close());

  /** The kernels' launches for these sizes, by a launcher that may run them. */
  function launches(gpu: Launcher, rows: number, width: number, vocabulary: number): [forward: number, gradient: number] {
    const make = (...shape: number[]): Tensor => Tensor.empty(device, shape);
    const [hidden, weight, targets] = [make(rows, width), make(vocabulary, width), Tensor.empty(device, [rows], "i32")];
    const [losses, dlosses, dhidden, dweight] = [make(rows), make(rows), make(rows, width), make(vocabulary, width)];
    let count = 0;
    const kernels = crossEntropy({ ...gpu, run: () => count++ });
    const saved = kernels.crossEntropy({ hidden, weight, targets, losses, rows, width, vocabulary, recording: true });
    const forward = count;
    kernels.crossEntropyGradient({ hidden, weight, targets, saved: { logsumexp: saved.logsumexp! }, dlosses, dhidden, dweight, rows, width,
      vocabulary });
    dispose([hidden, weight, targets, losses, saved, dlosses, dhidden, dweight]);
    return [forward, count - forward];
  }

  it("takes few dispatches for bytes", () => {
    for (const rows of [16, 512, 2048, 16384, 32768]) {
      const [forward, gradient] = launches(device.launcher, rows, 128, 256);
      expect(forward).toBe(2);
      expect(gradient).toBeLessThanOrEqual(5);
    }
    expect(launches(device.launcher, 2048, 64, 50_288)[0]).toBe(2);
  });

  it("is cut where bindings are small: rows, vocabulary and both", async () => {
    const small = await openHere({ maxBinding: 4096, features: [], defaultLimits: true });
    for (const [rows, width, vocabulary] of [[40, 8, 20], [5, 8, 300], [150, 12, 130]] as const) {
      await compareWithReference(small, f, inputs(rows, width, vocabulary, 0.3));
    }
    small.close();
  });

  it("is the same with tiles of one stage", async () => {
    const [rows, width, vocabulary] = [70, 20, 90];
    const host = inputs(rows, width, vocabulary, 0.3);
    const expected = await evaluate(referenceDevice, f, host, { precise: true, cotangent: 1 });
    const gpu = { ...device.launcher, groupMemory: 4096 };
    const [hidden, weight] = host.slice(0, 2).map(({ data, shape }) => tensor(device, data, shape)) as [Tensor, Tensor];
    const targets = tensor(device, host[2]!.data, [rows], "i32");
    const dlosses = full(device, [rows], 1);
    const [losses, dhidden, dweight] = [[rows], [rows, width], [vocabulary, width]].map((shape) => Tensor.empty(device, shape)) as [Tensor,
      Tensor, Tensor];
    const kernels = crossEntropy(gpu);
    const saved = kernels.crossEntropy({ hidden, weight, targets, losses, rows, width, vocabulary, recording: true });
    kernels.crossEntropyGradient({ hidden, weight, targets, saved: { logsumexp: saved.logsumexp! }, dlosses, dhidden, dweight, rows, width,
      vocabulary });
    expectClose(await losses.read(), expected.outputs[0]!, 1e-5, "losses");
    expectClose(await dhidden.read(), expected.gradients[0]!, 1e-5, "dhidden");
    expectClose(await dweight.read(), expected.gradients[1]!, 1e-5, "dweight");
    dispose([hidden, weight, targets, dlosses, losses, saved, dhidden, dweight]);
  });

  it("stays finite with logits of 10,000", async () => {
    const host = inputs(20, 16, 50, 3000);
    const { outputs, gradients } = await evaluate(device, f, host);
    const expected = await evaluate(referenceDevice, f, host, { precise: true, gradients: false });
    expectClose(outputs[0]!, expected.outputs[0]!, 1e-6);
    expect(Math.max(...Array.from(outputs[0]!))).toBeGreaterThan(10_000);
    for (const gradient of gradients) if (gradient) expect(Array.from(gradient).every(Number.isFinite)).toBe(true);
  });

  it("has the same bits on every run", async () => {
    const host = inputs(300, 20, 130, 0.3);
    expect(await evaluate(device, f, host)).toEqual(await evaluate(device, f, host));
  });
});
