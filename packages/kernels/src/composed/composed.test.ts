import { afterAll, describe, expect, it } from "vitest";
import type { Device } from "../device";
import { open } from "../open";
import { causalConv } from "../ops/conv";
import { crossEntropy } from "../ops/crossEntropy";
import { deltaRule } from "../ops/deltaRule";
import { gatedDeltaRule } from "../ops/gatedDeltaRule";
import { gatedLinearAttention } from "../ops/gatedLinearAttention";
import { ssmGates } from "../ops/gates";
import { layerNorm } from "../ops/layerNorm";
import { lerp } from "../ops/lerp";
import { addRmsNorm, gatedRmsNorm, rmsNorm } from "../ops/norm";
import { rope } from "../ops/rope";
import { selectiveScan } from "../ops/selectiveScan";
import { ssd, ssdOp } from "../ops/ssd";
import {
  checkLeaks, compareWithReference, eachDevice, evaluate, expectClose, type HostTensor, integers, normals, referenceDevice,
  type TestFunction, uniforms,
} from "../testing";
import { COMPOSED, formsFor, kernelSupport, runComposed } from "./index";

interface Case {
  readonly op: string;
  readonly f: TestFunction;
  readonly inputs: readonly HostTensor[];
}

const [B, T, H, P, G, N] = [2, 7, 4, 3, 2, 5];
const scanInputs = [
  normals(1, [B, T, H, P]), uniforms(2, [B, T, H], 0.1, 1), uniforms(3, [B, T, H], -2, 0), normals(4, [B, T, G, N]),
  normals(5, [B, T, G, N]), normals(6, [H]), normals(7, [B, H, P, N]),
];
const scan = (count: number): TestFunction => (x, dt, a, b, c, d, state) => {
  const { y, state: final } = ssd({ x, dt, a, b, c, d: count > 5 ? d : null, state: count > 6 ? state : null }, { chunk: 4 });
  return [y, final];
};
const channelInputs = [
  normals(1, [B, T, P * G]), uniforms(2, [B, T, P * G], 0.1, 1), uniforms(3, [P * G, N], -2, 0), normals(4, [B, T, G, N]),
  normals(5, [B, T, G, N]), normals(6, [P * G]), normals(7, [B, P * G, N]),
];
const channelScan = (count: number): TestFunction => (x, dt, a, b, c, d, state) =>
  Object.values(selectiveScan({ x, dt, a, b, c, d: count > 5 ? d : null, state: count > 6 ? state : null }, { chunk: 4 }));
const deltaInputs = [
  ...[1, 2].map((seed) => normals(seed, [B, T, H, N])), normals(3, [B, T, H, P]), uniforms(4, [B, T, H, N], -2, 0),
  ...[5, 6].map((seed) => normals(seed, [B, T, H, N], 0.4)), normals(7, [B, H, N, P]),
];
const delta: TestFunction = (q, k, v, a, remove, write, state) =>
  Object.values(deltaRule({ q, k, v, a, remove, write, state }, { scale: 0.5, chunk: 4 }));
const gatedInputs = [
  ...[1, 2].map((seed) => normals(seed, [B, T, G, N], 0.5)), normals(3, [B, T, H, P]), uniforms(4, [B, T, H], -2, 0),
  uniforms(5, [B, T, H], 0, 1), normals(7, [B, H, N, P]),
];
const gated: TestFunction = (q, k, v, a, beta, state) =>
  Object.values(gatedDeltaRule({ q, k, v, a, beta, state }, { scale: 0.5, chunk: 4 }));
const linearInputs = [
  normals(1, [2, 6, 3, 4]), normals(2, [2, 6, 3, 4]), normals(3, [2, 6, 3, 5]), uniforms(4, [2, 6, 3, 4], -2, 0), normals(5, [2, 3, 4, 5]),
  normals(6, [3, 4]),
];
const linearAttention: TestFunction = (q, k, v, a, state, bonus) => {
  const { y, state: final } = gatedLinearAttention({ q, k, v, a, state, bonus }, { scale: 0.5, chunk: 4 });
  return [y, final];
};
const convInputs = [normals(1, [2, 9, 6]), normals(2, [6, 4]), normals(3, [6]), normals(4, [2, 3, 6])];

const CASES: readonly Case[] = [
  { op: "rmsNorm", f: (x, w) => rmsNorm(x, w), inputs: [normals(1, [3, 5, 12]), normals(2, [12])] },
  {
    op: "addRmsNorm", inputs: [normals(1, [3, 12]), normals(3, [3, 12]), normals(2, [12])],
    f: (x, r, w) => {
      const { normed, residual } = addRmsNorm(x, r, w);
      return [normed, residual];
    },
  },
  { op: "gatedRmsNorm", f: (y, z, w) => gatedRmsNorm(y, z, w, { groups: 3 }),
    inputs: [normals(1, [2, 3, 12]), normals(3, [2, 3, 12]), normals(2, [12])] },
  { op: "layerNorm", f: (x, w, b) => layerNorm(x, w, b), inputs: [normals(1, [3, 5, 12], 2, 1), normals(2, [12]), normals(3, [12])] },
  { op: "layerNorm", f: (x, w) => layerNorm(x, w), inputs: [normals(1, [4, 6]), normals(2, [6])] },
  { op: "lerp", f: (a, b, s, r) => lerp(a, b, [s, r]), inputs: [...[1, 2].map((seed) => normals(seed, [2, 5, 6])), normals(3, [6]),
    normals(4, [6])] },
  { op: "lerp", f: (a, b, s, r, extra) => lerp(a, b, [s, r], extra), inputs: [...[1, 2].map((seed) => normals(seed, [2, 5, 6])),
    normals(3, [6]), normals(4, [6]), normals(5, [2, 2, 5, 6])] },
  { op: "selectiveScan", f: channelScan(7), inputs: channelInputs },
  { op: "selectiveScan", f: channelScan(5), inputs: channelInputs.slice(0, 5) },
  { op: "gatedLinearAttention", f: linearAttention, inputs: linearInputs },
  { op: "gatedLinearAttention", f: linearAttention, inputs: linearInputs.slice(0, 5) },
  { op: "gatedLinearAttention", f: linearAttention, inputs: linearInputs.slice(0, 4) },
  { op: "ssd", f: scan(7), inputs: scanInputs },
  { op: "ssd", f: scan(5), inputs: scanInputs.slice(0, 5) },
  { op: "deltaRule", f: delta, inputs: deltaInputs },
  { op: "deltaRule", f: delta, inputs: deltaInputs.slice(0, 6) },
  { op: "gatedDeltaRule", f: gated, inputs: gatedInputs },
  { op: "gatedDeltaRule", f: gated, inputs: gatedInputs.slice(0, 5) },
  {
    op: "causalConv", inputs: convInputs,
    f: (x, w, b, s) => {
      const { outputs, state } = causalConv(x, w, b, s, { silu: true, split: [2, 4] });
      return [...outputs, state];
    },
  },
  {
    op: "causalConv", inputs: convInputs.slice(0, 2),
    f: (x, w) => {
      const { outputs, state } = causalConv(x, w, null, null);
      return [...outputs, state];
    },
  },
  { op: "crossEntropy", f: (h, w, t) => crossEntropy(h, w, t),
    inputs: [normals(1, [3, 4, 6]), normals(2, [10, 6]), integers(3, [3, 4], -1, 12)] },
  {
    op: "ssmGates", inputs: [normals(1, [3, 5, 4], 3), normals(2, [4]), normals(3, [4])],
    f: (raw, bias, aLog) => {
      const { dt, a } = ssmGates(raw, bias, aLog, { minDt: 0.5, maxDt: 3 });
      return [dt, a];
    },
  },
  { op: "rope", f: (x) => rope(x, { start: 70 }), inputs: [normals(1, [2, 5, 3, 8])] },
];

it("every form has a case", () => {
  expect(new Set(CASES.map(({ op }) => op))).toEqual(new Set(COMPOSED.map(({ op }) => op.name)));
});

it("a form says the same as the reference's kernels, in float64", async () => {
  const device = await open("reference");
  runComposed(device);
  for (const { op, f, inputs } of CASES) {
    const [one, other] = [await evaluate(device, f, inputs, { precise: true }),
      await evaluate(referenceDevice, f, inputs, { precise: true })];
    one.outputs.forEach((values, i) => expectClose(values, other.outputs[i]!, 1e-12, `${op}: output ${i}`));
    one.gradients.forEach((values, i) => values && expectClose(values, other.gradients[i]!, 1e-11, `${op}: gradient ${i}`));
  }
  device.close();
});

eachDevice("composed forms", ({ kind }) => {
  let device: Device;
  afterAll(() => device?.close());

  it.each(CASES)("$op agrees with the reference, outputs and gradients", async ({ f, inputs }) => {
    device ??= await composedDevice(kind);
    await compareWithReference(device, f, inputs, { tolerance: 5e-5 });
  });

  it.each(CASES)("$op leaves no memory behind", async ({ f, inputs }) => {
    device ??= await composedDevice(kind);
    await checkLeaks(device, f, inputs);
  });
});

async function composedDevice(kind: Device["kind"]): Promise<Device> {
  const device = await open(kind, { fallback: true });
  runComposed(device);
  return device;
}

describe("the forms that a device needs", () => {
  it("are those of which a kernel is missing", () => {
    const { ssdGradient: _, ...kernels } = referenceDevice.kernels;
    expect(formsFor(referenceDevice.kernels, COMPOSED)).toBeUndefined();
    expect([...formsFor(kernels as Device["kernels"], COMPOSED)!.keys()]).toEqual([ssdOp]);
  });
});

eachDevice("what a device has of kernels", ({ kind }) => {
  it("is all, fused, until it runs forms in their place", async () => {
    const device = await open(kind, { fallback: true });
    expect(kernelSupport(device).filter(({ how }) => how !== "fused")).toEqual([]);
    runComposed(device, ["ssd", "rmsNorm"]);
    // The kernels of rmsNorm are addRmsNorm's too, which still runs them.
    expect(kernelSupport(device).filter(({ how }) => how !== "fused").map(({ kernel, how }) => [kernel, how]))
      .toEqual([["ssd", "composed"], ["ssdGradient", "composed"]]);
    device.close();
  });
});
