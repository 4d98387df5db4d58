import { describe, expect, it } from "vitest";
import {
  checkGradient, checkLeaks, checkSameBits, compareWithReference, eachDevice, evaluate, expectClose, expectError, fromGolden, host,
  type HostTensor, integers, mambaCases, normals, type TestFunction, upload,
} from "../testing";
import { dispose } from "../tensor";
import { add } from "./elementwise";
import { addRmsNorm, gatedRmsNorm, rmsNorm } from "./norm";

const SHAPES: readonly (readonly number[])[] = [[2], [5], [1, 16], [3, 7], [2, 3, 33], [5, 64], [130, 24], [2, 4, 512], [1, 1000]];

const plain = (shape: readonly number[]) => [normals(1, shape, 2), normals(2, [shape.at(-1)!], 0.5, 1)];
const summed = (shape: readonly number[]) => [normals(1, shape, 2), normals(3, shape, 2), normals(2, [shape.at(-1)!], 0.5, 1)];

const both: TestFunction = (x, residual, weight) => {
  const result = addRmsNorm(x, residual, weight);
  return [result.normed, result.residual];
};
const FUNCTIONS: Readonly<Record<string, { f: TestFunction; inputs: (shape: readonly number[]) => HostTensor[] }>> = {
  rmsNorm: { f: (x, weight) => rmsNorm(x, weight), inputs: plain },
  "rmsNorm with another eps": { f: (x, weight) => rmsNorm(x, weight, { eps: 0.1 }), inputs: plain },
  addRmsNorm: { f: both, inputs: summed },
  "addRmsNorm of which only the norm is used": { f: (...args) => (both(...args) as never)[0], inputs: summed },
  "addRmsNorm of which only the sum is used": { f: (...args) => (both(...args) as never)[1], inputs: summed },
  "addRmsNorm without a residual": {
    f: (x, weight) => {
      const { normed, residual } = addRmsNorm(x, null, weight);
      return add(normed, residual);
    },
    inputs: plain,
  },
  gatedRmsNorm: { f: (y, gate, weight) => gatedRmsNorm(y, gate, weight), inputs: summed },
};

/** Widths that groups divide. */
const GROUPED: readonly { shape: readonly number[]; groups: number }[] = [
  { shape: [3, 6], groups: 2 },
  { shape: [4, 6], groups: 3 },
  { shape: [2, 3, 60], groups: 3 },
  { shape: [70, 256], groups: 4 },
];

eachDevice("norms", (device) => {
  for (const [name, { f, inputs }] of Object.entries(FUNCTIONS)) {
    it(`${name}: values and gradients agree with float64`, async () => {
      for (const shape of SHAPES) await compareWithReference(device, f, inputs(shape));
    });

    it(`${name} takes tensors with no elements`, async () => {
      const { outputs, gradients } = await evaluate(device, f, inputs([0, 8]));
      expect(outputs[0]).toHaveLength(0);
      expect(Array.from(gradients.at(-1)!)).toEqual(new Array(8).fill(0));
      const narrow = await evaluate(device, f, inputs([3, 0]));
      expect(narrow.outputs[0]).toHaveLength(0);
    });

    it(`${name} leaves no memory behind`, () => checkLeaks(device, f, inputs([6, 33])));
  }

  it("norms groups each on its own", async () => {
    for (const { shape, groups } of GROUPED) {
      await compareWithReference(device, (y, gate, weight) => gatedRmsNorm(y, gate, weight, { groups }), summed(shape));
    }
  });

  it("norms groups of one, where only eps is left of the gradient", async () => {
    // With a small eps the gradient would be the rounding error of 1 - 1.
    const options = { eps: 2, groups: 6 };
    await compareWithReference(device, (y, gate, weight) => gatedRmsNorm(y, gate, weight, options), summed([4, 6]));
    await compareWithReference(device, (x, weight) => rmsNorm(x, weight, options), plain([4, 1]));
  });

  it("stays finite for rows of zeros and for gates far out", async () => {
    const inputs = [host([0, 0, 0, 0], [2, 2]), host([1, 2, 3, 4], [2, 2]), host([1, 1], [2])];
    const { outputs, gradients } = await evaluate(device, (y, gate, weight) => gatedRmsNorm(y, gate, weight), inputs);
    expect(Array.from(outputs[0]!)).toEqual([0, 0, 0, 0]);
    expect(gradients.every((g) => Array.from(g!).every(Number.isFinite))).toBe(true);
    const far = [normals(1, [2, 4]), host([-200, 200, -90, 90, 1, -1, 0, 88], [2, 4]), normals(2, [4])];
    await compareWithReference(device, (y, gate, weight) => gatedRmsNorm(y, gate, weight), far);
  });

  it("refuses wrong shapes, types and options", () => {
    const of = (...shape: number[]) => upload(device, normals(1, shape));
    const whole = () => upload(device, integers(1, [2, 3], 0, 5));
    expectError(() => rmsNorm(of(2, 3), of(4)), "E_SHAPE", /weight \[4\].*\[2, 3\]/);
    expectError(() => rmsNorm(of(), of(1)), "E_SHAPE");
    expectError(() => rmsNorm(of(2, 3), of(3), { eps: -1 }), "E_ARGUMENT", /eps is -1/);
    expectError(() => rmsNorm(whole(), of(3)), "E_DTYPE");
    expectError(() => addRmsNorm(of(2, 3), of(3, 2), of(3)), "E_SHAPE", /residual/);
    expectError(() => addRmsNorm(of(2, 3), whole(), of(3)), "E_DTYPE", /residual is i32/);
    expectError(() => gatedRmsNorm(of(2, 3), of(2, 4), of(3)), "E_SHAPE", /gate/);
    expectError(() => gatedRmsNorm(of(2, 3), of(2, 3), of(3), { groups: 2 }), "E_ARGUMENT", /groups is 2/);
    expectError(() => gatedRmsNorm(of(2, 3), of(2, 3), of(3), { groups: 0 }), "E_ARGUMENT");
  });
});

describe("gradients of norms", () => {
  it("agree with finite differences", async () => {
    for (const { f, inputs } of Object.values(FUNCTIONS)) {
      for (const shape of SHAPES.slice(0, 6)) await checkGradient(f, inputs(shape), { samples: 12 });
    }
    for (const { shape, groups } of GROUPED.slice(0, 3)) {
      await checkGradient((y, gate, weight) => gatedRmsNorm(y, gate, weight, { groups }), summed(shape), { samples: 12 });
    }
  });
});

describe("norm kernels", () => {
  it("give the same bits for any number of threads, on every instruction set", async () => {
    for (const { f, inputs } of Object.values(FUNCTIONS)) for (const shape of SHAPES) await checkSameBits(f, inputs(shape));
    for (const { shape, groups } of GROUPED) {
      await checkSameBits((y, gate, weight) => gatedRmsNorm(y, gate, weight, { groups }), summed(shape));
    }
  });
});

const golden = await mambaCases("layer_norms");

eachDevice("norms against mamba_ssm's Triton kernels, which ran with eps 1e-6", (device) => {
  const options = { eps: 1e-6 };

  it("rmsNorm", async () => {
    const { inputs, outputs, gradients } = golden["rms_norm"]!;
    const given = ["x", "w"];
    const f: TestFunction = (x, w) => rmsNorm(x, w, options);
    const actual = await evaluate(device, f, given.map((name) => fromGolden(inputs[name]!)), { cotangent: 1 });
    expectClose(actual.outputs[0]!, fromGolden(outputs["y"]!).data, 1e-6);
    given.forEach((name, i) => expectClose(actual.gradients[i]!, fromGolden(gradients[name]!).data, 2e-6, `gradient of ${name}`));
  });

  it("gatedRmsNorm, to which it adds a bias; and for groups those of each by itself", async () => {
    const { inputs, outputs } = golden["gated_rms_norm"]!;
    const [x, z, w, b] = ["x", "z", "w", "b"].map((name) => fromGolden(inputs[name]!).data) as [number[], number[], number[], number[]];
    const wanted = fromGolden(outputs["y_norm_after"]!).data.map((y, i) => y - b[i % b.length]!);
    // The same numbers as rows of 1, 2, 4 and 8 groups: a row is so many of the golden rows side by side.
    for (const groups of [1, 2, 4, 8]) {
      const shape = [x.length / (w.length * groups), w.length * groups];
      const weight = Array.from({ length: groups }, () => w).flat();
      const on = (data: readonly number[], of: readonly number[]) => upload(device, host(data, of));
      const given = [on(x, shape), on(z, shape), on(weight, [weight.length])] as const;
      using out = gatedRmsNorm(...given, { ...options, groups });
      expectClose(await out.read(), wanted, 1e-6, `${groups} groups`);
      // transformers norms the whole width: something else, unless there is one group.
      using whole = gatedRmsNorm(...given, options);
      const off = Math.max(...Array.from(await whole.read(), (y, i) => Math.abs(y - wanted[i]!)));
      expect(off > 0.05).toBe(groups > 1);
      dispose(given);
    }
  });
});
