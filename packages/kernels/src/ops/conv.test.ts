import { describe, expect, it } from "vitest";
import {
  checkGradient, checkLeaks, checkSameBits, compareEvaluations, compareWithReference, eachDevice, evaluate, expectClose, expectError,
  fromGolden, host, type HostTensor, mambaCases, normals, referenceDevice, type TestFunction,
} from "../testing";
import type { Tensor } from "../tensor";
import { zeros } from "./memory";
import { causalConv } from "./conv";
import { lengthsOf } from "./scan.fixture";
import { concat, slice, transpose } from "./view";

interface Case {
  T: number;
  C: number;
  K?: number;
  B?: number;
  split?: number[];
}

/** x, weight, bias, state */
function inputs({ T, C, K = 4, B = 2 }: Case): HostTensor[] {
  return [normals(1, [B, T, C]), normals(2, [C, K]), normals(3, [C]), normals(4, [B, K - 1, C])];
}

const full = (options: { silu?: boolean; split?: number[] } = {}): TestFunction => (x, weight, bias, state) => {
  const out = causalConv(x, weight, bias, state, options);
  return [...out.outputs, out.state];
};

/** The same in several calls, each starting from the state that the one before left. */
const pieces = (lengths: readonly number[], options: { silu?: boolean; split?: number[] }): TestFunction => (x, weight, bias, initial) => {
  let state = initial;
  let start = 0;
  const parts: (readonly Tensor[])[] = [];
  for (const length of lengths) {
    const out = causalConv(slice(x, 1, start, start + length), weight, bias, state, options);
    parts.push(out.outputs);
    state = out.state;
    start += length;
  }
  return [...parts[0]!.map((_, i) => concat(parts.map((outputs) => outputs[i]!), 1)), state];
};

describe("the reference convolution", () => {
  it("has the gradient that finite differences give, states included", async () => {
    await checkGradient(full(), inputs({ T: 5, C: 3 }));
    await checkGradient(full({ silu: true, split: [1, 2] }), inputs({ T: 6, C: 3 }));
    await checkGradient(full({ silu: true }), inputs({ T: 1, C: 2 }));
  });

  it("meets the newest input with the last weight", async () => {
    const given = [host([5, 7], [1, 2, 1]), host([1, 10, 100, 1000], [1, 4]), host([0.5], [1]), host([2, 3, 4], [1, 3, 1])];
    const { outputs } = await evaluate(referenceDevice, full(), given, { precise: true, gradients: false });
    expect(Array.from(outputs[0]!)).toEqual([2 + 30 + 400 + 5000 + 0.5, 3 + 40 + 500 + 7000 + 0.5]);
    expect(Array.from(outputs[1]!)).toEqual([4, 5, 7]);
  });
});

eachDevice("causalConv", (device) => {
  const shapes: Case[] = [
    { T: 1, C: 5 }, { T: 2, C: 16 }, { T: 3, C: 40 }, { T: 4, C: 1 }, { T: 37, C: 70, split: [33, 20, 17] },
    { T: 65, C: 96, split: [64, 16, 16] }, { T: 20, C: 19, K: 2 }, { T: 20, C: 33, K: 3 }, { T: 9, C: 24, K: 7 },
    { T: 300, C: 24, B: 3 },
  ];
  it.each(shapes)("agrees with float64: %o", async (shape) => {
    const { split } = shape;
    await compareWithReference(device, full({ split }), inputs(shape));
    await compareWithReference(device, full({ silu: true, split }), inputs(shape));
  });

  it("may be cut anywhere with the state carried over, gradients included", async () => {
    const options = { silu: true, split: [16, 4, 4] };
    const given = inputs({ T: 67, C: 24 });
    const expected = await evaluate(referenceDevice, full(options), given, { precise: true });
    const cuts = [...[1, 2, 3, 4, 63, 64, 65].map((length) => lengthsOf(67, length)), [1, 2, 1, 40, 3, 20]];
    for (const lengths of cuts) compareEvaluations(await evaluate(device, pieces(lengths, options), given), expected, 1e-5);
  });

  it("takes a missing bias and a missing state as zeros", async () => {
    const without: TestFunction = (x, weight) => {
      const out = causalConv(x, weight, null, null, { silu: true });
      return [...out.outputs, out.state];
    };
    await compareWithReference(device, without, inputs({ T: 2, C: 20 }).slice(0, 2));
    await compareWithReference(device, without, inputs({ T: 33, C: 20 }).slice(0, 2));
  });

  it("has a gradient when the loss sees only one output", async () => {
    const only = (i: number): TestFunction => (...given) => (full({ silu: true, split: [8, 9] })(...given) as Tensor[])[i]!;
    for (const i of [0, 1, 2]) await compareWithReference(device, only(i), inputs({ T: 12, C: 17 }));
  });

  it("leaves no memory behind", async () => {
    await checkLeaks(device, full({ silu: true }), inputs({ T: 5, C: 6 }));
  });

  it("refuses what does not fit, naming it", () => {
    const make = (x: number[], weight: number[], bias: number[] | null, state: number[] | null, split?: number[]) => () =>
      causalConv(zeros(device, x), zeros(device, weight), bias && zeros(device, bias), state && zeros(device, state), { split });
    expectError(make([1, 4], [4, 4], null, null), "E_SHAPE", /x \[1, 4\]/);
    expectError(make([1, 0, 4], [4, 4], null, null), "E_SHAPE", /at least one step/);
    expectError(make([1, 5, 4], [5, 4], null, null), "E_SHAPE", /weight \[5, 4\]/);
    expectError(make([1, 5, 4], [4, 4], [3], null), "E_SHAPE", /bias \[3\] must be \[4\]/);
    expectError(make([1, 5, 4], [4, 4], null, [1, 4, 4]), "E_SHAPE", /state \[1, 4, 4\] must be \[1, 3, 4\]/);
    expectError(make([1, 5, 4], [4, 4], null, null, [2, 1]), "E_ARGUMENT", /split \[2, 1\]/);
  });
});

describe("causalConv on every instruction set", () => {
  it("has the same bits with 1, 2 and 3 threads", async () => {
    await checkSameBits(full({ silu: true, split: [40, 21] }), inputs({ T: 130, C: 61, B: 5 }));
  });
});

const golden = await mambaCases("dw_causal_conv");

eachDevice("causalConv against causal-conv1d's CUDA kernels", (device) => {
  const compare = async (name: string, f: TestFunction, given: readonly string[]) => {
    const { inputs, outputs, gradients } = golden[name]!;
    const actual = await evaluate(device, f, given.map((input) => fromGolden(inputs[input]!)), { cotangent: 1 });
    expectClose(actual.outputs[0]!, fromGolden(outputs["y"]!).data, 2e-6, "y");
    given.forEach((input, i) => expectClose(actual.gradients[i]!, fromGolden(gradients[input]!).data, 2e-6, `gradient of ${input}`));
  };

  it("with bias and SiLU, channels first", () =>
    compare("channels_first_silu", (x, weight, bias) =>
      transpose(causalConv(transpose(x, [0, 2, 1]), weight, bias, null, { silu: true }).outputs[0]!, [0, 2, 1]), ["x", "weight", "bias"]));

  it("plain, channels last", () =>
    compare("channels_last_identity", (x, weight) => causalConv(x, weight, null, null).outputs[0]!, ["x", "weight"]));
});
