import { expect, it } from "vitest";
import { checkGradient, compareWithReference, eachDevice, evaluate, expectError, host, normals, upload } from "../testing";
import { scope } from "../tensor";
import { clamp, maximum, minimum } from "./extrema";

eachDevice("extrema", (device) => {
  it("take the larger and the smaller; what is not a number wins, and of equals the first has the gradient", async () => {
    const [a, b] = [host([1, 5, 2, NaN, 4, -Infinity], [6]), host([3, 4, 2, 0, NaN, Infinity], [6])];
    const larger = await evaluate(device, maximum, [a, b], { cotangent: 1 });
    expect(Array.from(larger.outputs[0]!)).toEqual([3, 5, 2, NaN, NaN, Infinity]);
    expect(larger.gradients.map((g) => Array.from(g!))).toEqual([[0, 1, 1, 1, 0, 0], [1, 0, 0, 0, 1, 1]]);
    const smaller = await evaluate(device, minimum, [a, b], { gradients: false });
    expect(Array.from(smaller.outputs[0]!)).toEqual([1, 4, 2, NaN, NaN, -Infinity]);
  });

  it("broadcast, and agree with float64", async () => {
    for (const f of [maximum, minimum]) await compareWithReference(device, f, [normals(1, [4, 33]), normals(2, [33])]);
    for (const [low, high] of [[-0.5, 1], [-Infinity, 0], [0, Infinity], [-Infinity, Infinity]] as const) {
      await compareWithReference(device, (x) => clamp(x, low, high), [normals(3, [70])]);
    }
  });

  it("refuse limits in the wrong order", () => {
    const x = upload(device, normals(1, [2]));
    scope(() => expectError(() => clamp(x, 1, 0), "E_ARGUMENT", /low 1 must be at most high 0/));
    x.dispose();
  });
});

it("extrema: gradients are those of differences", async () => {
  await checkGradient(maximum, [normals(1, [3, 5]), normals(2, [5])]);
  await checkGradient((x) => clamp(x, -0.5, 0.5), [normals(3, [20])]);
});
