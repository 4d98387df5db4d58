/**
 * Every op on every device with numbers at the ends of float32: infinities, NaN, both zeros, the largest, the smallest normal and
 * subnormal ones. What training checks rests on it: what is not finite must never turn into something finite without a word.
 *
 * Two things are a device's own choice. It may take subnormal numbers for 0, as inputs and as results (the CPU device does,
 * and WGSL allows it). And WGSL lets a compiler assume that no number is infinite or NaN; the compilers that tests and
 * browsers run keep them in plain arithmetic, and where our kernels compare or clamp they go by bits.
 */
import { describe, expect, it } from "vitest";
import type { Device } from "./device";
import { attention } from "./ops/attention";
import { chunkAttention } from "./ops/chunkAttention";
import { causalConv } from "./ops/conv";
import { crossEntropy, logits } from "./ops/crossEntropy";
import { deltaRule } from "./ops/deltaRule";
import { add, addScalar, div, equal, exp, log, mul, neg, scale, sigmoid, silu, softplus, sqrt, square, sub, tanh } from "./ops/elementwise";
import { embedding } from "./ops/embedding";
import { gatedDeltaRule } from "./ops/gatedDeltaRule";
import { gatedLinearAttention } from "./ops/gatedLinearAttention";
import { ssmGates } from "./ops/gates";
import { layerNorm } from "./ops/layerNorm";
import { lerp } from "./ops/lerp";
import { linear, matmul } from "./ops/matmul";
import { addRmsNorm, gatedRmsNorm, rmsNorm } from "./ops/norm";
import { adamW, clipFactor, countNonFinite, globalNorm } from "./ops/optimizer";
import { logSoftmax, max, mean, softmax, sum } from "./ops/reduce";
import { rope } from "./ops/rope";
import { slidingWindowAttention } from "./ops/slidingWindow";
import { selectiveScan } from "./ops/selectiveScan";
import { ssd } from "./ops/ssd";
import { broadcastTo, concat, reshape, slice, transpose } from "./ops/view";
import { dispose, tensor } from "./tensor";
import { eachDevice, evaluate, type Evaluation, host, type HostTensor, normals, referenceDevice, type TestFunction,
  uniforms } from "./testing";

const [LARGEST, LEAST] = [3.4028234663852886e38, 2 ** -126];
const ENDS = [Infinity, -Infinity, NaN, 0, -0, LARGEST, -LARGEST, LEAST, -LEAST, LEAST / 4, -LEAST / 4, 2 ** -149, 1e-30, 1e30, 104,
  -104, 1, -1.5];

/** Takes subnormal numbers for 0, as a device may. */
const flushed = (x: number): number => (Math.abs(x) >= LEAST || Number.isNaN(x) ? x : 1 / x < 0 ? -0 : 0);

/** The same number to a few units in the last place, the same infinity, or NaN; below the smallest normal number anything as small. */
function agrees(actual: number, expected: number): boolean {
  if (Object.is(actual, expected) || actual === expected) return true;
  return Math.abs(actual - expected) <= Math.max(2e-6 * Math.abs(expected), 1.01 * LEAST);
}

/** What differs from the reference in outputs and gradients, whose elements depend on the inputs' elements of the same place. */
async function differences(device: Device, f: TestFunction, inputs: readonly HostTensor[]): Promise<string[]> {
  const small = inputs.map((input) => ({ ...input, data: input.data.map(flushed) }));
  const [actual, exact, coarse] = [
    await evaluate(device, f, inputs, { cotangent: 1 }),
    await evaluate(referenceDevice, f, inputs, { cotangent: 1 }),
    await evaluate(referenceDevice, f, small, { cotangent: 1 }),
  ];
  const all = ({ outputs, gradients }: Evaluation) => [...outputs, ...gradients.map((gradient) => gradient!)]
    .map((list) => Array.from(list));
  const [got, wanted, or] = [all(actual), all(exact), all(coarse)];
  return got.flatMap((list, k) => list.flatMap((x, i) => {
    if (agrees(x, wanted[k]![i]!) || agrees(x, or[k]![i]!)) return [];
    const what = k < actual.outputs.length ? `output ${k}` : `gradient ${k - actual.outputs.length}`;
    return [`${what} of ${inputs.map(({ data }) => data[i % data.length]).join(", ")} is ${x}, not ${wanted[k]![i]}`];
  }));
}

const UNARY: Readonly<Record<string, TestFunction>> = {
  neg, exp, log, sqrt, square, sigmoid, silu, softplus, tanh,
  scale: (x) => scale(x!, -2.5), "scale by 0": (x) => scale(x!, 0), addScalar: (x) => addScalar(x!, -3),
};
const BINARY: Readonly<Record<string, TestFunction>> = { add, sub, mul, div, equal };

const pairs = [0, 1].map((side) => host(ENDS.flatMap((a) => ENDS.map((b) => (side === 0 ? a : b))), [ENDS.length ** 2]));

/** dt = clamp(softplus(raw + bias)), a = -exp(aLog) dt: each end as raw, beside usual numbers. */
const gates = (limits: { minDt?: number; maxDt?: number }): TestFunction => (raw) => {
  const [bias, aLog] = [[0], [0.5]].map((data) => tensor(raw!.device, data, [1], raw!.dtype));
  const { dt, a } = ssmGates(reshape(raw!, [ENDS.length, 1]), bias!, aLog!, limits);
  return [dt, a];
};

interface Composite {
  readonly f: TestFunction;
  readonly inputs: readonly HostTensor[];
}

const whole = (data: readonly number[], shape: readonly number[]): HostTensor => ({ data, shape: [...shape], kind: "integer" });
const row = (width: number, seed = 2) => normals(seed, [width], 0.5, 1);

function ssdInputs(T: number): HostTensor[] {
  const [H, P, N] = [2, 3, 4];
  return [
    normals(1, [1, T, H, P]), uniforms(2, [1, T, H], 0.1, 1), uniforms(3, [1, T, H], -0.5, 0), normals(4, [1, T, 1, N]),
    normals(5, [1, T, 1, N]), normals(6, [H]),
    normals(7, [1, H, P, N]),
  ];
}
const scan: TestFunction = (x, dt, a, b, c, d, state) => {
  const out = ssd({ x: x!, dt: dt!, a: a!, b: b!, c: c!, d: d!, state: state! });
  return [out.y, out.state];
};
function selectiveInputs(T: number): HostTensor[] {
  const [D, N] = [5, 6];
  return [
    normals(1, [1, T, D]), uniforms(2, [1, T, D], 0.1, 1), uniforms(3, [D, N], -0.5, 0), normals(4, [1, T, 1, N]), normals(5, [1, T, 1, N]),
    normals(6, [D]), normals(7, [1, D, N]),
  ];
}
const selective: TestFunction = (x, dt, a, b, c, d, state) => {
  const out = selectiveScan({ x: x!, dt: dt!, a: a!, b: b!, c: c!, d: d!, state: state! });
  return [out.y, out.state];
};
const linearInputs = (T: number) => [
  normals(1, [1, T, 2, 3]), normals(2, [1, T, 2, 3]), normals(3, [1, T, 2, 4]), uniforms(4, [1, T, 2, 3], -0.5, 0),
  normals(5, [1, 2, 3, 4]),
];
const linearAttention: TestFunction = (q, k, v, a, state, bonus) =>
  Object.values(gatedLinearAttention({ q: q!, k: k!, v: v!, a: a!, state, bonus }));
const deltaInputs = (T: number) => [
  ...linearInputs(T).slice(0, 4), normals(6, [1, T, 2, 3], 0.3), normals(7, [1, T, 2, 3], 0.3), normals(5, [1, 2, 3, 4]),
];
const delta: TestFunction = (q, k, v, a, remove, write, state) => Object.values(deltaRule({ q, k, v, a, remove, write, state }));
const gatedInputs = (T: number) => [
  normals(1, [1, T, 1, 3]), normals(2, [1, T, 1, 3], 0.5), normals(3, [1, T, 2, 4]), uniforms(4, [1, T, 2], -0.5, 0),
  uniforms(5, [1, T, 2], 0, 1), normals(6, [1, 2, 3, 4]),
];
const gated: TestFunction = (q, k, v, a, beta, state) => Object.values(gatedDeltaRule({ q, k, v, a, beta, state }));
const heads = (T: number) => [1, 2, 3].map((seed) => normals(seed, [1, T, 2, 4]));

/** Ops whose elements meet in sums. */
const COMPOSITE: Readonly<Record<string, Composite>> = {
  sum: { f: (x) => sum(x!, { axes: 1 }), inputs: [normals(1, [3, 70])] },
  "sum of columns": { f: (x) => sum(x!, { axes: 0 }), inputs: [normals(1, [70, 3])] },
  mean: { f: (x) => mean(x!), inputs: [normals(1, [3, 70])] },
  max: { f: (x) => max(x!, { axes: 1 }), inputs: [normals(1, [3, 70])] },
  softmax: { f: softmax, inputs: [normals(1, [3, 70])] },
  "softmax of a long row": { f: softmax, inputs: [normals(1, [1, 9000])] },
  logSoftmax: { f: logSoftmax, inputs: [normals(1, [3, 70])] },
  "logSoftmax of a long row": { f: logSoftmax, inputs: [normals(1, [1, 9000])] },
  matmul: { f: (a, b) => matmul(a!, b!), inputs: [normals(1, [20, 33]), normals(2, [33, 18])] },
  "linear of one row": { f: linear, inputs: [normals(1, [1, 64]), normals(2, [9, 64])] },
  "linear of many rows": { f: linear, inputs: [normals(1, [70, 40]), normals(2, [66, 40])] },
  rmsNorm: { f: (x, weight) => rmsNorm(x!, weight!), inputs: [normals(1, [5, 40]), row(40)] },
  addRmsNorm: {
    f: (x, residual, weight) => {
      const out = addRmsNorm(x!, residual!, weight!);
      return [out.normed, out.residual];
    },
    inputs: [normals(1, [5, 40]), normals(3, [5, 40]), row(40)],
  },
  gatedRmsNorm: { f: (y, gate, weight) => gatedRmsNorm(y!, gate!, weight!), inputs: [normals(1, [5, 40]), normals(3, [5, 40]), row(40)] },
  layerNorm: { f: (x, weight, bias) => layerNorm(x!, weight!, bias!), inputs: [normals(1, [5, 40]), row(40), row(40, 3)] },
  lerp: {
    f: (a, b, one, other, extra) => lerp(a!, b!, [one!, other!], extra!),
    inputs: [normals(1, [5, 20]), normals(2, [5, 20]), normals(3, [20]), normals(4, [20]), normals(5, [2, 5, 20])],
  },
  causalConv: {
    f: (x, weight, bias, state) => {
      const out = causalConv(x!, weight!, bias!, state!, { silu: true });
      return [...out.outputs, out.state];
    },
    inputs: [normals(1, [1, 30, 5]), normals(2, [5, 4]), normals(3, [5]), normals(4, [1, 3, 5])],
  },
  crossEntropy: { f: (hidden, weight, targets) => crossEntropy(hidden!, weight!, targets!),
    inputs: [normals(1, [6, 16]), normals(2, [40, 16]), whole([3, 0, 39, 7, -1, 20], [6])] },
  logits: { f: logits, inputs: [normals(1, [6, 16]), normals(2, [40, 16])] },
  embedding: { f: (weight, tokens) => embedding(weight!, tokens!), inputs: [normals(1, [7, 6]), whole([0, 3, 3, 6, 1, 2, 4, 5], [8])] },
  rope: { f: (x) => rope(x!, { start: 3 }), inputs: [normals(1, [1, 5, 2, 8])] },
  attention: { f: (q, k, v) => attention({ q: q!, k: k!, v: v! }, { causal: true }), inputs: heads(20) },
  slidingWindowAttention: { f: (q, k, v) => slidingWindowAttention({ q: q!, k: k!, v: v! }, { window: 6 }).out, inputs: heads(20) },
  chunkAttention: {
    f: (q, keys, values, weights, indices, offsets) =>
      chunkAttention({ q: q!, keys: keys!, values: values!, weights: weights!, indices: indices!, offsets: offsets! }),
    inputs: [
      normals(1, [1, 12, 2, 4]), normals(2, [1, 3, 16, 2, 4]), normals(3, [1, 3, 16, 2, 4]), uniforms(4, [1, 2, 2], 0.2, 1),
      whole([0, 1, 2, 1], [1, 2, 2]), whole([0, 6, 12], [1, 3]),
    ],
  },
  "selectiveScan of one step": { f: selective, inputs: selectiveInputs(1) },
  "selectiveScan of two chunks": { f: selective, inputs: selectiveInputs(40) },
  "ssd of one step": { f: scan, inputs: ssdInputs(1) },
  "ssd of two chunks": { f: scan, inputs: ssdInputs(70) },
  "gatedLinearAttention of one step": { f: linearAttention, inputs: linearInputs(1) },
  "gatedLinearAttention of two chunks": { f: linearAttention, inputs: linearInputs(70) },
  "gatedLinearAttention with a bonus": { f: linearAttention, inputs: [...linearInputs(70), normals(6, [2, 3])] },
  "deltaRule of one step": { f: delta, inputs: deltaInputs(1) },
  "deltaRule of two chunks": { f: delta, inputs: deltaInputs(40) },
  "gatedDeltaRule of one step": { f: gated, inputs: gatedInputs(1) },
  "gatedDeltaRule of two chunks": { f: gated, inputs: gatedInputs(70) },
  ssmGates: {
    f: (raw, bias, aLog) => {
      const { dt, a } = ssmGates(raw!, bias!, aLog!);
      return [dt, a];
    },
    inputs: [normals(1, [30, 5]), normals(2, [5]), normals(3, [5])],
  },
};

const MOVES: Readonly<Record<string, TestFunction>> = {
  reshape: (x) => reshape(x!, [3, ENDS.length / 3]),
  slice: (x) => slice(x!, 0, 1),
  transpose: (x) => transpose(reshape(x!, [3, ENDS.length / 3])),
  concat: (x) => concat([x!, x!], 0),
  broadcastTo: (x) => broadcastTo(x!, [2, ENDS.length]),
};

/** Copies of the inputs, one for each real input and each of some places in it, with `value` there. */
function* poisoned(inputs: readonly HostTensor[], value: number): Generator<{ where: string; inputs: HostTensor[] }> {
  for (const [i, input] of inputs.entries()) {
    if (input.kind === "integer") continue;
    for (const place of new Set([0, Math.floor(input.data.length / 2), input.data.length - 1])) {
      const bad = { ...input, data: input.data.with(place, value) };
      yield { where: `${value} at ${place} of input ${i}`, inputs: inputs.map((other, k) => (k === i ? bad : other)) };
    }
  }
}

/** Places where the reference has something that is not finite and the device has a number. */
async function hidden(device: Device, { f, inputs }: Composite): Promise<string[]> {
  const found: string[] = [];
  for (const value of [NaN, Infinity, -Infinity]) {
    for (const bad of poisoned(inputs, value)) {
      const [actual, expected] = [await evaluate(device, f, bad.inputs), await evaluate(referenceDevice, f, bad.inputs)];
      const compare = (what: string, got: ArrayLike<number> | null, wanted: ArrayLike<number> | null) => {
        const places = Array.from(wanted ?? [], (x, i) => (!Number.isFinite(x) && Number.isFinite(got![i]) ? i : -1)).filter((i) => i >= 0);
        if (places.length > 0)
          found.push(`${bad.where}: ${what}[${places[0]}] is ${got![places[0]!]}, not ${wanted![places[0]!]} (${places.length} places)`);
      };
      expected.outputs.forEach((wanted, k) => compare(`output ${k}`, actual.outputs[k]!, wanted));
      expected.gradients.forEach((wanted, k) => compare(`gradient ${k}`, actual.gradients[k]!, wanted));
    }
  }
  return found;
}

eachDevice("numbers at the ends of float32", (device) => {
  it.each(Object.keys(UNARY))("%s and its gradient", async (name) => {
    expect(await differences(device, UNARY[name]!, [host(ENDS, [ENDS.length])])).toEqual([]);
  });

  it.each(Object.keys(BINARY))("%s and its gradients, each end with each", async (name) => {
    expect(await differences(device, BINARY[name]!, pairs)).toEqual([]);
  });

  it.each([{}, { minDt: 0.01 }, { maxDt: 2 }, { minDt: 1e-40, maxDt: 1e38 }])("ssmGates and their gradient within %o", async (limits) => {
    expect(await differences(device, gates(limits), [host(ENDS, [ENDS.length])])).toEqual([]);
  });

  it.each(Object.keys(COMPOSITE))("%s hides nothing that is not finite", async (name) => {
    expect(await hidden(device, COMPOSITE[name]!)).toEqual([]);
  });

  it.each(Object.keys(MOVES))("%s keeps every bit", async (name) => {
    const bits = ({ outputs }: Evaluation) => Array.from(new Uint32Array(Float32Array.from(outputs[0]!).buffer));
    const given = [host(ENDS.map((x) => (Number.isNaN(x) ? 0 : x)), [ENDS.length])];
    expect(bits(await evaluate(device, MOVES[name]!, given, { gradients: false })))
      .toEqual(bits(await evaluate(referenceDevice, MOVES[name]!, given, { gradients: false })));
  });

  it("max takes the largest, and NaN above all", async () => {
    const rows = [[1, -Infinity, Infinity], [-Infinity, -Infinity, -Infinity], [NaN, 1, Infinity], [1, 2, NaN],
      [-LARGEST, -Infinity, -LARGEST], [LARGEST, 3, 2]];
    const { outputs } = await evaluate(device, (x) => max(x!, { axes: 1 }), [host(rows.flat(), [rows.length, 3])], { gradients: false });
    expect(Array.from(outputs[0]!)).toEqual([Infinity, -Infinity, NaN, NaN, -LARGEST, LARGEST]);
  });

  it("are counted, make the norm and the factor of clipping say so, and stay in what the optimiser writes", async () => {
    for (const [data, count, norm] of [[[1, NaN], 1, NaN], [[Infinity, -Infinity], 2, Infinity], [[-0, 2 ** -149], 0, 2 ** -149],
      [[LARGEST, 0], 0, LARGEST]] as const) {
      const gradient = { w: tensor(device, data) };
      const [counted, length] = [countNonFinite(gradient), globalNorm(gradient)];
      const factor = clipFactor(length, 1);
      expect([await counted.item(), await length.item()]).toEqual([count, norm]);
      expect(Number.isNaN(await factor.item())).toBe(Number.isNaN(norm));
      dispose([gradient, counted, length, factor]);
    }
    const [p, g] = [{ w: tensor(device, [1, 1, 1]) }, { w: tensor(device, [NaN, Infinity, 1]) }];
    const moments = { m: { w: tensor(device, [0, 0, 0]) }, v: { w: tensor(device, [0, 0, 0]) } };
    adamW(p, g, moments, { learningRate: 0.1, step: 1, weightDecay: 0 });
    const written = [await p.w.read(), await moments.m.w.read(), await moments.v.w.read()].map((list) => Array.from(list, Number.isFinite));
    expect(written).toEqual([[false, false, true], [false, false, true], [false, false, true]]);
    dispose([p, g, moments]);
  });
});

describe("the reference at the ends of float32", () => {
  it("follows IEEE 754", async () => {
    const { outputs } = await evaluate(referenceDevice, (x) => square(x!), [host([Infinity, -Infinity, NaN, LARGEST, 2 ** -149], [5])],
      { gradients: false });
    expect(Array.from(outputs[0]!)).toEqual([Infinity, Infinity, NaN, Infinity, 0]);
  });
});
