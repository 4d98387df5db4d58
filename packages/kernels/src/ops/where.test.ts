import { expect, it } from "vitest";
import { dispose, type Tensor } from "../tensor";
import { checkGradient, checkLeaks, compareWithReference, eachDevice, evaluate, expectError, host, integers, normals, type TestFunction,
  upload } from "../testing";
import { where } from "./where";

const choose: TestFunction = (condition, a, b) => where(condition, a, b);
const mask = (shape: readonly number[]) =>
  host(Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => [0, 1, -0, -2, 0.5][i % 5]!), shape);

eachDevice("where", (device) => {
  it("takes a where the condition is not 0, and what is not chosen does not matter", async () => {
    const { outputs, gradients } = await evaluate(device, choose,
      [host([1, 0, -0, NaN], [4]), host([1, NaN, Infinity, 4], [4]), host([NaN, 2, 3, Infinity], [4])], { cotangent: 1 });
    expect(Array.from(outputs[0]!)).toEqual([1, 2, 3, 4]);
    expect(gradients.slice(1).map((g) => Array.from(g!))).toEqual([[1, 0, 0, 1], [0, 1, 1, 0]]);
  });

  it("broadcasts; gradients are summed over what was stretched", async () => {
    for (const [c, a, b] of [[[7], [7], [7]], [[5, 1], [3], [1]], [[2, 3, 33], [33], [3, 1]], [[1], [4, 65], [4, 65]]] as const) {
      await compareWithReference(device, choose, [mask(c), normals(1, a), normals(2, b)]);
    }
  });

  it("leaves no memory behind, and says what does not fit", async () => {
    await checkLeaks(device, choose, [mask([2, 5]), normals(2, [5]), normals(3, [2, 1])]);
    const given = [mask([2]), normals(1, [3]), integers(1, [2], 0, 2)].map((t) => upload(device, t));
    const [two, three, whole] = given as [Tensor, Tensor, Tensor];
    expectError(() => where(two, three, two), "E_SHAPE", /where/);
    expectError(() => where(whole, two, two), "E_DTYPE", /where: condition is i32/);
    dispose(given);
  });
});

it("where: the gradient is that of differences", async () => {
  await checkGradient(choose, [mask([2, 5]), normals(1, [5]), normals(2, [2, 1])]);
});
