import { describe, expect, it } from "vitest";
import { open } from "../open";
import {
  checkGradient, checkLeaks, checkSameBits, compareWithReference, eachDevice, elementwiseError, evaluate, expectClose, expectError,
  fromGolden, host, type HostTensor, mambaCases, normals, referenceDevice, uniforms, upload,
} from "../testing";
import { type Tensor, tensor } from "../tensor";
import { add, addScalar, div, equal, exp, less, log, mul, neg, relu, scale, sigmoid, silu, softplus, sqrt, square, sub,
  tanh } from "./elementwise";
import { slice } from "./view";

const ANYWHERE = { neg, exp, square, sigmoid, silu, softplus, tanh, relu };
const POSITIVE = { log, sqrt };
const BINARY = { add, sub, mul, div };

/** Sizes around vector widths, and one that many threads share. */
const SIZES = [1, 3, 7, 8, 17, 63, 1000, 40_001];

const PAIRS: readonly (readonly [readonly number[], readonly number[]])[] = [
  [[5, 33], [5, 33]],
  [[5, 33], []],
  [[1], [5, 33]],
  [[5, 33], [33]],
  [[33], [5, 33]],
  [[5, 33], [5, 1]],
  [[5, 1], [1, 33]],
  [[2, 1, 4, 3], [3, 1, 3]],
  [[2, 3, 4], [2, 1, 4]],
  [[70, 500], [500]],
];

/** Away from 0, so that division is tame. */
function operands([a, b]: (typeof PAIRS)[number]): HostTensor[] {
  return [normals(1, a), uniforms(2, b, 0.5, 2)];
}

eachDevice("elementwise functions", (device) => {
  for (const [name, f] of Object.entries({ ...ANYWHERE, ...POSITIVE })) {
    it(`${name} and its gradient agree with float64 at every size`, async () => {
      for (const size of SIZES) {
        const x = name in POSITIVE ? uniforms(size, [size], 0.01, 5) : normals(size, [size], 3);
        await compareWithReference(device, f, [x]);
      }
    });

    it(`${name} takes tensors with no elements`, async () => {
      const { outputs, gradients } = await evaluate(device, f, [host([], [0, 3])]);
      expect([outputs[0]!.length, gradients[0]!.length]).toEqual([0, 0]);
    });
  }

  for (const [name, f] of Object.entries(ANYWHERE)) {
    it(`${name} stays exact to a few units in the last place over its whole range`, async () => {
      const points = [-87, -60, -30, -10, -3, -1, -0.5, -0.1, -1e-3, -1e-6, 0, 1e-6, 1e-3, 0.1, 0.5, 1, 3, 10, 30, 60, 87];
      const x = host(points, [points.length]);
      const expected = await evaluate(referenceDevice, f, [x], { precise: true, gradients: false });
      const actual = await evaluate(device, f, [x], { gradients: false });
      // Results below the smallest normal float may be flushed to 0.
      expect(elementwiseError(actual.outputs[0]!, expected.outputs[0]!, 1e-37)).toBeLessThan(1e-6);
    });
  }

  it("gives the limits at infinity, and NaN for NaN", async () => {
    const read = async (f: (x: Tensor) => Tensor, data: number[]) => {
      const { outputs } = await evaluate(device, f, [host(data, [data.length])], { gradients: false });
      return Array.from(outputs[0]!);
    };
    expect(await read(exp, [Infinity, -Infinity, 1000, -1000, NaN])).toEqual([Infinity, 0, Infinity, 0, NaN]);
    expect(await read(log, [0, Infinity, -1])).toEqual([-Infinity, Infinity, NaN]);
    expect(await read(sqrt, [0, 4, Infinity, -1])).toEqual([0, 2, Infinity, NaN]);
    expect(await read(sigmoid, [Infinity, -Infinity, 1000, -1000, NaN])).toEqual([1, 0, 1, 0, NaN]);
    expect(await read(softplus, [Infinity, -Infinity, 1000, -1000, NaN])).toEqual([Infinity, 0, 1000, 0, NaN]);
    expect(await read(tanh, [Infinity, -Infinity, NaN])).toEqual([1, -1, NaN]);
    expect((await read(relu, [Infinity, -Infinity, -0, -1e-40, NaN])).map((y) => y + 0)).toEqual([Infinity, 0, 0, 0, NaN]);
  });

  for (const [name, f] of Object.entries(BINARY)) {
    it(`${name} and its gradients agree with float64 for every way to broadcast`, async () => {
      for (const pair of PAIRS) await compareWithReference(device, f, operands(pair));
    });

    it(`${name} broadcasts tensors with no elements`, async () => {
      const { shapes, gradients } = await evaluate(device, f, [host([], [2, 0]), host([3], [1])]);
      expect(shapes).toEqual([[2, 0]]);
      expect(Array.from(gradients[1]!, Math.abs)).toEqual([0]);
    });
  }

  it("adds up the gradient of a tensor that is used twice", async () => {
    const { gradients } = await evaluate(device, (x) => add(mul(x, x), x), [host([3], [1])]);
    const single = await evaluate(device, (x) => add(x, x), [host([3], [1])]);
    expect(gradients[0]![0]! / (single.gradients[0]![0]! / 2)).toBeCloseTo(7, 5);
  });

  it("scales, shifts and compares", async () => {
    const x = normals(3, [37]);
    await compareWithReference(device, (t) => scale(t, -2.5), [x]);
    await compareWithReference(device, (t) => addScalar(t, 0.75), [x]);
    const { outputs, gradients } = await evaluate(device, (a, b) => equal(a, b), [host([1, 2, NaN], [3]), host([1, 3, NaN], [3])]);
    expect(Array.from(outputs[0]!)).toEqual([1, 0, 0]);
    expect(Array.from(gradients[0]!)).toEqual([0, 0, 0]);
  });

  it("tells which is less, also of infinities, and never of what is not a number", async () => {
    const pairs = [[1, 2], [2, 1], [2, 2], [-0, 0], [0, -0], [-2, -1], [-1, -2], [-1, 1], [-Infinity, -3e38], [3e38, Infinity],
      [Infinity, Infinity], [NaN, 1], [1, NaN], [NaN, NaN]] as const;
    const [a, b] = [0, 1].map((side) => host(pairs.map((pair) => pair[side]!), [pairs.length]));
    const { outputs, gradients } = await evaluate(device, (x, y) => less(x, y), [a!, b!]);
    expect(Array.from(outputs[0]!)).toEqual([1, 0, 0, 0, 0, 1, 0, 1, 1, 1, 0, 0, 0, 0]);
    expect(Array.from(gradients[0]!)).toEqual(pairs.map(() => 0));
  });

  it("leaves no memory behind", async () => {
    await checkLeaks(device, (a, b) => silu(div(add(a, b), mul(scale(a, 2), b))), operands([[5, 33], [33]]));
  });

  it("refuses shapes that do not broadcast, and integers", () => {
    const of = (shape: number[], dtype: "f32" | "i32" = "f32") =>
      tensor(device, new Array<number>(shape.reduce((a, b) => a * b, 1)).fill(1), shape, dtype);
    expectError(() => add(of([2, 3]), of([2, 4])), "E_SHAPE", /add.*\[2, 3\].*\[2, 4\]/);
    expectError(() => exp(of([2], "i32")), "E_DTYPE", /exp: x is i32/);
    expectError(() => mul(of([2]), of([2], "i32")), "E_DTYPE", /b is i32/);
    expectError(() => scale(of([2], "i32"), 2), "E_DTYPE");
  });
});

describe("elementwise gradients", () => {
  it("agree with finite differences", async () => {
    for (const f of Object.values(ANYWHERE)) await checkGradient(f, [normals(1, [19], 2)]);
    for (const f of Object.values(POSITIVE)) await checkGradient(f, [uniforms(1, [19], 0.3, 3)]);
    for (const f of Object.values(BINARY)) for (const pair of PAIRS.slice(0, -1)) await checkGradient(f, operands(pair), { samples: 8 });
    await checkGradient((x) => scale(addScalar(x, 3), -2), [normals(1, [19])]);
  });

  it("refuse operands of two types, and of two devices", async () => {
    const other = await open("reference");
    expectError(() => add(upload(referenceDevice, host([1], [1])), upload(referenceDevice, host([1], [1]), true)), "E_DTYPE",
      /b is f64 but a is f32/);
    expectError(() => add(upload(referenceDevice, host([1], [1])), upload(other, host([1], [1]))), "E_DEVICE",
      /^add: b is on reference, a on another reference; move them to one device first$/);
    other.close();
  });
});

describe("what is no tensor", () => {
  it("is refused by its name", () => {
    const x = upload(referenceDevice, host([1], [1]));
    expectError(() => add(x, 3 as never), "E_ARGUMENT", /^add: b is 3, where a tensor must be; addScalar and scale take plain numbers$/);
    expectError(() => add(x, undefined as never), "E_ARGUMENT", /^add: b is undefined, where a tensor must be/);
    expectError(() => add([1, 2] as never, x), "E_ARGUMENT", /^add: a is a list with 1 in it, where a tensor must be/);
    expectError(() => scale(x, x as never), "E_ARGUMENT",
      /^scale: factor is a tensor, and must be a plain number; mul and add take tensors$/);
    expectError(() => addScalar(x, undefined as never), "E_ARGUMENT", /^addScalar: term is undefined, and must be a plain number/);
    x.dispose();
    expectError(() => neg(x), "E_DISPOSED", /^neg: x \[1\] was used after it had been freed$/);
  });
});

describe("elementwise kernels", () => {
  it("give the same bits for any number of threads, on every instruction set", async () => {
    await checkSameBits((x) => Object.values(ANYWHERE).map((f) => f(x)), [normals(5, [70_003], 2)]);
    await checkSameBits((x) => Object.values(POSITIVE).map((f) => f(x)), [uniforms(5, [70_003], 0.01, 5)]);
    for (const pair of PAIRS) await checkSameBits((a, b) => Object.values(BINARY).map((f) => f(a, b)), operands(pair));
  });
});

const golden = await mambaCases("swiglu");

eachDevice("elementwise functions against mamba_ssm's Triton kernel", (device) => {
  it("silu(x) y of the two halves of each row, with gradients", async () => {
    const { inputs, outputs, gradients } = golden["swiglu"]!;
    const f = (xy: Tensor) => mul(silu(slice(xy, 1, 0, 8)), slice(xy, 1, 8));
    const actual = await evaluate(device, f, [fromGolden(inputs["xy"]!)], { cotangent: 1 });
    expectClose(actual.outputs[0]!, fromGolden(outputs["y"]!).data, 1e-6);
    expectClose(actual.gradients[0]!, fromGolden(gradients["xy"]!).data, 1e-6);
  });
});
