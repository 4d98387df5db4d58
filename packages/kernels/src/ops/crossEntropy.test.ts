import { describe, expect, it } from "vitest";
import { type Tensor, tensor } from "../tensor";
import { zeros } from "./memory";
import {
  checkGradient, checkLeaks, checkSameBits, compareWithReference, eachDevice, evaluate, expectClose, expectError, type HostTensor,
  integers, normals, referenceDevice,
} from "../testing";
import { crossEntropy, logits } from "./crossEntropy";

/** Hidden states, weight and targets; targets also hold a few that are ignored. */
function inputs(rows: number, width: number, vocabulary: number, scale = 1): HostTensor[] {
  return [
    normals(1, [rows, width], scale),
    normals(2, [vocabulary, width]),
    integers(3, [rows], -1, vocabulary),
  ];
}

const SHAPES: [rows: number, width: number, vocabulary: number][] = [
  [1, 1, 2], [3, 5, 2], [7, 17, 3], [33, 64, 256], [5, 96, 1000], [260, 31, 1025], [3, 130, 4097], [5, 12, 50_288], [2100, 16, 250],
];

eachDevice("crossEntropy", (device) => {
  it.each(SHAPES)("equals the float64 reference: %i rows, width %i, vocabulary %i", async (rows, width, vocabulary) => {
    await compareWithReference(device, crossEntropy, inputs(rows, width, vocabulary, 1 / Math.sqrt(width)), { tolerance: 1e-5 });
  });

  it("stays finite and right when logits are far apart", async () => {
    await compareWithReference(device, crossEntropy, inputs(20, 16, 50, 30), { tolerance: 1e-5 });
  });

  it("takes any leading axes", async () => {
    const flat = await evaluate(device, crossEntropy, inputs(24, 8, 10));
    const shaped = inputs(24, 8, 10).map((t, i) => ({ ...t, shape: [[2, 3, 4, 8], [10, 8], [2, 3, 4]][i]! }));
    const nested = await evaluate(device, crossEntropy, shaped);
    expect(nested.shapes).toEqual([[2, 3, 4]]);
    expect(nested.outputs).toEqual(flat.outputs);
    expect(nested.gradients).toEqual(flat.gradients);
  });

  it("ignores rows with a negative target: loss 0, no part in any gradient", async () => {
    const [hidden, weight] = inputs(4, 6, 5);
    const some = await evaluate(device, crossEntropy, [hidden!, weight!, { data: [2, -1, -100, 4], shape: [4], kind: "integer" }]);
    expect([some.outputs[0]![1], some.outputs[0]![2]]).toEqual([0, 0]);
    expect(Array.from(some.gradients[0]!).slice(6, 18).every((x) => x === 0)).toBe(true);
    const none = await evaluate(device, crossEntropy, [hidden!, weight!, { data: [-1, -1, -1, -1], shape: [4], kind: "integer" }]);
    for (const values of [...none.outputs, none.gradients[0]!, none.gradients[1]!])
      expect(Array.from(values).every((x) => x === 0)).toBe(true);
  });

  it("reads nothing out of bounds for a target beyond the vocabulary", async () => {
    const [hidden, weight] = inputs(2, 6, 5);
    const beyond = await evaluate(device, crossEntropy, [hidden!, weight!, { data: [5, 2 ** 31 - 1], shape: [2], kind: "integer" }]);
    const last = await evaluate(device, crossEntropy, [hidden!, weight!, { data: [4, 4], shape: [2], kind: "integer" }]);
    expect(beyond.outputs).toEqual(last.outputs);
    expect(beyond.gradients).toEqual(last.gradients);
  });

  it("gives zero gradients for no rows", async () => {
    const { outputs, gradients } = await evaluate(device, crossEntropy, inputs(0, 4, 3));
    expect(outputs[0]!.length).toBe(0);
    expect(Array.from(gradients[1]!)).toEqual(Array.from({ length: 12 }, () => 0));
  });

  it("is ln V for a hidden state of zeros", async () => {
    const { outputs } = await evaluate(device, crossEntropy, [normals(1, [3, 4], 0), normals(2, [7, 4]), integers(3, [3], 0, 7)]);
    expectClose(outputs[0]!, Array.from({ length: 3 }, () => Math.log(7)), 1e-6);
  });

  it("passes on what is not a number", async () => {
    const [, weight, targets] = inputs(2, 4, 40);
    for (const bad of [NaN, Infinity]) {
      const hidden: HostTensor = { data: [bad, 1, 1, 1, 1, 1, 1, 1], shape: [2, 4], kind: "real" };
      const { outputs } = await evaluate(device, crossEntropy, [hidden, weight!, { ...targets!, data: [1, 1] }], { gradients: false });
      expect(outputs[0]![0]).toBeNaN();
      expect(outputs[0]![1]).not.toBeNaN();
    }
  });

  it("never holds the logits whole", async () => {
    const [rows, width, vocabulary] = [8192, 4, 1024];
    using hidden = zeros(device, [rows, width]);
    using weight = zeros(device, [vocabulary, width]);
    using targets = zeros(device, [rows], "i32");
    await device.synchronize();
    device.resetPeak();
    const before = device.memory().used;
    using losses = crossEntropy(hidden, weight, targets);
    await losses.read();
    expect(device.memory().peak - before).toBeLessThan((rows * vocabulary * 4) / 3);
  });

  it("leaves no memory behind", () => checkLeaks(device, crossEntropy, inputs(10, 8, 20)));

  it("names what does not fit", () => {
    const make = (shape: number[], dtype: "f32" | "i32" = "f32"): Tensor => zeros(device, shape, dtype);
    expectError(() => crossEntropy(make([2, 3]), make([5, 4]), make([2], "i32")), "E_SHAPE", /weight \[5, 4\].*hidden \[2, 3\]/);
    expectError(() => crossEntropy(make([2, 3]), make([0, 3]), make([2], "i32")), "E_SHAPE", /V >= 1/);
    expectError(() => crossEntropy(make([2, 3]), make([5, 3]), make([3], "i32")), "E_SHAPE", /targets \[3\]/);
    expectError(() => crossEntropy(make([2, 3]), make([5, 3]), make([2])), "E_DTYPE", /targets must be i32/);
  });
});

describe("crossEntropy", () => {
  it("has the gradient of its losses", async () => {
    await checkGradient(crossEntropy, inputs(6, 5, 9));
    await checkGradient(crossEntropy, inputs(3, 4, 2));
  });

  it("equals -log softmax of the logits at the target", async () => {
    const [hidden, weight, targets] = inputs(5, 4, 6);
    const { outputs: [losses] } = await evaluate(referenceDevice, crossEntropy, [hidden!, weight!, targets!], { precise: true });
    const { outputs: [z] } = await evaluate(referenceDevice, logits, [hidden!, weight!], { precise: true });
    const expected = targets!.data.map((target, i) => {
      const row = Array.from(z!).slice(6 * i, 6 * i + 6);
      return target < 0 ? 0 : -Math.log(Math.exp(row[target]!) / row.reduce((sum, x) => sum + Math.exp(x), 0));
    });
    expectClose(losses!, expected, 1e-12);
  });

  it("has the same bits with any number of threads", async () => {
    await checkSameBits(crossEntropy, inputs(300, 48, 1030, 0.2));
    await checkSameBits(crossEntropy, inputs(2100, 32, 256, 0.2));
  });

  it("gives only the gradients that are wanted", async () => {
    const [hidden, weight, targets] = inputs(4, 3, 5);
    const both = await evaluate(referenceDevice, crossEntropy, [hidden!, weight!, targets!]);
    const constant = tensor(referenceDevice, weight!.data, weight!.shape);
    const one = await evaluate(referenceDevice, (h, t) => crossEntropy(h, constant, t), [hidden!, targets!]);
    constant.dispose();
    expect(one.gradients[0]).toEqual(both.gradients[0]);
  });
});
