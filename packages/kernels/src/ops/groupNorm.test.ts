import { expect, it } from "vitest";
import { dispose, type Tensor } from "../tensor";
import { checkGradient, compareWithReference, eachDevice, evaluate, expectError, host, normals, type TestFunction,
  upload } from "../testing";
import { groupNorm } from "./groupNorm";
import { layerNorm } from "./layerNorm";

const inGroups = (groups: number): TestFunction => (x, weight, bias) => groupNorm(x, groups, weight, bias);
const inputs = (shape: readonly number[]) => [normals(1, shape, 2, 1), normals(2, [shape.at(-1)!]), normals(3, [shape.at(-1)!])];

eachDevice("group norm", (device) => {
  it("norms each block of neighbours on its own", async () => {
    const x = host([1, 3, 10, 30, 5, 5], [1, 6]);
    const { outputs } = await evaluate(device, inGroups(3), [x, host([1, 1, 2, 2, 3, 3], [6]), host([0, 0, 0, 0, 7, 8], [6])],
      { gradients: false });
    expect(Array.from(outputs[0]!, (y) => Math.round(y * 1e3) / 1e3)).toEqual([-1, 1, -2, 2, 7, 8]);
  });

  it("agrees with float64, and with one group with layer norm", async () => {
    for (const [shape, groups] of [[[2, 3, 12], 4], [[5, 64], 2], [[4, 33], 11]] as const)
      await compareWithReference(device, inGroups(groups), inputs(shape));
    const [one, whole] = [await evaluate(device, inGroups(1), inputs([3, 8])),
      await evaluate(device, (x, w, b) => layerNorm(x, w, b), inputs([3, 8]))];
    Array.from(one.outputs[0]!).forEach((y, i) => expect(y).toBeCloseTo(whole.outputs[0]![i]!, 5));
  });

  it("refuses what does not divide or fit", () => {
    const given = inputs([2, 6]).map((t) => upload(device, t));
    const [x, weight] = given as [Tensor, Tensor];
    expectError(() => groupNorm(x, 4, weight), "E_ARGUMENT", /groups is 4; it must be a whole number that divides/);
    expectError(() => groupNorm(x, 2, x), "E_SHAPE", /groupNorm: weight \[2, 6\]/);
    dispose(given);
  });
});

it("group norm: gradients are those of differences", async () => {
  await checkGradient(inGroups(3), inputs([2, 9]));
});
