import { describe, expect, it } from "vitest";
import {
  checkGradient, checkLeaks, checkSameBits, compareWithReference, eachDevice, evaluate, expectClose, expectError, fromGolden, host,
  type HostTensor, integers, mambaCases, normals, type TestFunction, upload,
} from "../testing";
import { add } from "./elementwise";
import { layerNorm } from "./layerNorm";

const SHAPES: readonly (readonly number[])[] = [[4], [5], [1, 16], [3, 7], [2, 3, 33], [5, 64], [130, 24], [2, 4, 512], [1, 1000]];

/** Rows with a mean of their own, so that it matters. */
const inputs = (shape: readonly number[], mean = 3): HostTensor[] =>
  [normals(1, shape, 2, mean), normals(2, [shape.at(-1)!], 0.5, 1), normals(3, [shape.at(-1)!])];

const FUNCTIONS: Readonly<Record<string, TestFunction>> = {
  layerNorm: (x, weight, bias) => layerNorm(x, weight, bias),
  "layerNorm with another eps": (x, weight, bias) => layerNorm(x, weight, bias, { eps: 0.1 }),
};
const withoutBias: TestFunction = (x, weight) => layerNorm(x, weight);

eachDevice("layer norm", (device) => {
  for (const [name, f] of Object.entries(FUNCTIONS)) {
    it(`${name}: values and gradients agree with float64`, async () => {
      for (const shape of SHAPES) await compareWithReference(device, f, inputs(shape));
    });
  }

  it("goes without a bias", async () => {
    for (const shape of SHAPES) await compareWithReference(device, withoutBias, inputs(shape).slice(0, 2));
  });

  it("takes tensors with no elements", async () => {
    const { outputs, gradients } = await evaluate(device, FUNCTIONS["layerNorm"]!, inputs([0, 8]));
    expect(outputs[0]).toHaveLength(0);
    for (const gradient of gradients.slice(1)) expect(Array.from(gradient!)).toEqual(new Array(8).fill(0));
    const narrow = await evaluate(device, FUNCTIONS["layerNorm"]!, inputs([3, 0]));
    expect(narrow.outputs[0]).toHaveLength(0);
  });

  it("leaves no memory behind", async () => {
    await checkLeaks(device, FUNCTIONS["layerNorm"]!, inputs([6, 33]));
    await checkLeaks(device, withoutBias, inputs([6, 33]).slice(0, 2));
  });

  it("keeps its digits where the mean is far from zero: 1000 plus or minus 1", async () => {
    // Inputs of 1000 have an error of 3e-5 beside a deviation of 1; the mean square less the squared mean would be off by 0.1.
    const [x, weight, bias] = inputs([8, 96]);
    const far = host(x!.data.map((value, i) => 1000 + (i % 2 === 0 ? 1 : -1) * (1 + (Math.round(value) % 4) / 4)), [8, 96]);
    await compareWithReference(device, FUNCTIONS["layerNorm"]!, [far, weight!, bias!], { tolerance: 3e-4 });
  });

  it("gives the bias for rows that are all alike", async () => {
    const { outputs, gradients } = await evaluate(device, FUNCTIONS["layerNorm"]!,
      [host([5, 5, 5, 0, 0, 0], [2, 3]), host([1, 2, 3], [3]), host([7, 8, 9], [3])]);
    expect(Array.from(outputs[0]!)).toEqual([7, 8, 9, 7, 8, 9]);
    expect(gradients.every((g) => Array.from(g!).every(Number.isFinite))).toBe(true);
  });

  it("norms rows of two, where only eps is left of the gradient", async () => {
    // With a small eps the gradient would be the rounding error of 1 - 1.
    await compareWithReference(device, (x, w, b) => layerNorm(x, w, b, { eps: 2 }), inputs([5, 2]));
  });

  it("norms rows of one: the bias, and no gradient but its own", async () => {
    const given = inputs([4, 1]);
    const { outputs, gradients } = await evaluate(device, FUNCTIONS["layerNorm with another eps"]!, given);
    expect(Array.from(outputs[0]!)).toEqual(new Array(4).fill(Math.fround(given[2]!.data[0]!)));
    for (const gradient of gradients.slice(0, 2)) for (const value of Array.from(gradient!)) expect(Math.abs(value)).toBeLessThan(1e-6);
    expect(Math.abs(gradients[2]![0]!)).toBeGreaterThan(0.01);
  });

  it("refuses wrong shapes, types and options", () => {
    const of = (...shape: number[]) => upload(device, normals(1, shape));
    const whole = (...shape: number[]) => upload(device, integers(1, shape, 0, 5));
    expectError(() => layerNorm(of(2, 3), of(4)), "E_SHAPE", /layerNorm: weight \[4\].*\[2, 3\]/);
    expectError(() => layerNorm(of(2, 3), of(3), of(2)), "E_SHAPE", /bias \[2\].*weight \[3\]/);
    expectError(() => layerNorm(of(), of(1)), "E_SHAPE");
    expectError(() => layerNorm(of(2, 3), of(3), null, { eps: -1 }), "E_ARGUMENT", /layerNorm: eps is -1/);
    expectError(() => layerNorm(whole(2, 3), of(3)), "E_DTYPE", /x is i32/);
    expectError(() => layerNorm(of(2, 3), of(3), whole(3)), "E_DTYPE", /bias is i32/);
  });
});

describe("gradients of layer norm", () => {
  it("agree with finite differences", async () => {
    for (const f of Object.values(FUNCTIONS)) for (const shape of SHAPES.slice(0, 6))
      await checkGradient(f, inputs(shape), { samples: 12 });
    await checkGradient(withoutBias, inputs([3, 7]).slice(0, 2));
  });
});

describe("layer norm kernels", () => {
  it("give the same bits for any number of threads, on every instruction set", async () => {
    for (const f of Object.values(FUNCTIONS)) for (const shape of SHAPES) await checkSameBits(f, inputs(shape));
    await checkSameBits(withoutBias, inputs([130, 24]).slice(0, 2));
  });
});

const golden = await mambaCases("layer_norms");

eachDevice("layerNorm against mamba_ssm's Triton kernel", (device) => {
  it("of a sum, with gradients", async () => {
    const { inputs, outputs, gradients } = golden["layer_norm_prenorm"]!;
    const given = ["x", "residual", "w", "b"];
    const f: TestFunction = (x, residual, w, b) => layerNorm(add(x, residual), w, b, { eps: 1e-6 });
    const actual = await evaluate(device, f, given.map((name) => fromGolden(inputs[name]!)), { cotangent: 1 });
    expectClose(actual.outputs[0]!, fromGolden(outputs["y"]!).data, 1e-6, "y");
    given.forEach((name, i) => expectClose(actual.gradients[i]!, fromGolden(gradients[name]!).data, 2e-6, `gradient of ${name}`));
  });
});
