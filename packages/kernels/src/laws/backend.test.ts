import { expect, it } from "vitest";
import { runComposed } from "../composed";
import { open } from "../open";
import { eachDevice } from "../testing";
import { BACKEND_OPS, checkBackend } from "./backend";

eachDevice("the laws of a backend", ({ kind }) => {
  it.each(BACKEND_OPS)("hold: %s", async (op) => {
    const device = await open(kind, { fallback: true });
    await checkBackend(device, { ops: [op] });
    device.close();
  });

  it("hold for composed forms", async () => {
    const device = await open(kind, { fallback: true });
    runComposed(device);
    await checkBackend(device,
      { ops: ["rmsNorm", "addRmsNorm", "gatedRmsNorm", "layerNorm", "crossEntropy", "ssmGates", "causalConv", "ssd", "rope"],
        tolerance: 1e-4 });
    device.close();
  });
});

it("the laws of a backend name what is broken: a wrong number, a gradient, memory that is kept", async () => {
  const device = await open("reference");
  const { kernels } = device;
  const breakKernel = (name: string,
    after: (args: Record<string, { write(data: number[]): void; size: number; device: typeof device }>) => void) =>
    Object.assign(device, { kernels: { ...kernels, [name]: (args: never) => {
      const saved = kernels[name]!(args);
      after(args);
      return saved;
    } } });
  breakKernel("rmsNorm", ({ y }) => y!.write(new Array<number>(y!.size).fill(1)));
  await expect(checkBackend(device, { ops: ["rmsNorm"] })).rejects.toMatchObject({ code: "E_LAW",
    message: expect.stringMatching(/reference: rmsNorm: outputs\.0\[\d, \d, \d+\] is 1 and should be/) });
  breakKernel("rmsNormGradient", ({ dweight }) => dweight!.write(new Array<number>(dweight!.size).fill(0)));
  await expect(checkBackend(device, { ops: ["rmsNorm"] })).rejects.toMatchObject({ code: "E_LAW",
    message: expect.stringMatching(/rmsNorm: gradients\.1\[\d+\] is 0 and should be/) });
  breakKernel("unary", ({ x }) => void x!.device.allocate(8));
  await expect(checkBackend(device, { ops: ["exp"] })).rejects.toMatchObject({ code: "E_LAW",
    message: expect.stringMatching(/exp: 8 bytes are held after the call/) });
  await expect(checkBackend(device, { ops: ["exq"] })).rejects.toMatchObject({ code: "E_UNKNOWN_NAME",
    message: expect.stringMatching(/did you mean "exp"/) });
  device.close();
});
