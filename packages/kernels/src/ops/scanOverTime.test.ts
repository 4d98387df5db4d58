import { expect, it } from "vitest";
import { dispose, type Tensor } from "../tensor";
import { checkGradient, compareWithReference, eachDevice, evaluate, expectError, host, normals, type TestFunction, uniforms,
  upload } from "../testing";
import { add, mul } from "./elementwise";
import { scanOverTime } from "./scanOverTime";

/** s_t = a_t s_{t-1} + x_t, and the output is s_t. */
const decaying: TestFunction = (x, a, initial) => {
  const { outputs, state } = scanOverTime({ x, a }, initial, (s, rows) => {
    const next = add(mul(rows.a, s), rows.x);
    return { state: next, output: next };
  });
  return [outputs, state];
};
const inputs = [normals(1, [2, 5, 3]), uniforms(2, [2, 5, 3], 0, 1), normals(3, [2, 3])];

eachDevice("a scan over time", (device) => {
  it("is the recurrence that its step says", async () => {
    const { outputs } = await evaluate(device, decaying, [host([1, 2, 3], [1, 3, 1]), host([0.5, 0.5, 2], [1, 3, 1]), host([4], [1, 1])],
      { gradients: false });
    expect(outputs.map((values) => Array.from(values))).toEqual([[3, 3.5, 10], [10]]);
  });

  it("agrees with float64, gradients of inputs and of the first state too", async () => {
    await compareWithReference(device, decaying, inputs);
  });

  it("refuses inputs of different lengths", () => {
    const given = [normals(1, [2, 5]), normals(2, [2, 4])].map((t) => upload(device, t));
    const [x, a] = given as [Tensor, Tensor];
    expectError(() => scanOverTime({ x, a }, null, () => ({ state: null, output: x })), "E_SHAPE",
      /a \[2, 4\] must begin with \[2, 5\], as x does/);
    dispose(given);
  });
});

it("a scan over time: gradients are those of differences", async () => {
  await checkGradient(decaying, inputs);
});
