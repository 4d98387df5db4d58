import { expect, it } from "vitest";
import type { Shape } from "../shape";
import { dispose, type Tensor } from "../tensor";
import {
  checkGradient, checkLeaks, checkSameBits, compareWithReference, eachDevice, evaluate, expectError, host, type HostTensor,
  integers, normals, type TestFunction, upload,
} from "../testing";
import { gather } from "./gather";

const along = (axis: number): TestFunction => (x, indices) => gather(x, indices, axis);

const indicesOf = (data: readonly number[], shape: Shape): HostTensor => ({ data, shape, kind: "integer" });
/** Indices of a shape from -1 to one beyond the last. */
const picks = (shape: Shape, size: number) => integers(size, shape, -1, size + 1);

eachDevice("gather", (device) => {
  it("picks by its definition", async () => {
    const x = host([1, 2, 3, 4, 5, 6], [2, 3]);
    const { outputs, gradients } = await evaluate(device, along(1), [x, indicesOf([2, 2, 0, -1], [2, 2])], { cotangent: 1 });
    expect(Array.from(outputs[0]!)).toEqual([3, 3, 4, 0]);
    expect(Array.from(gradients[0]!)).toEqual([0, 0, 2, 1, 0, 0]);
  });

  it("agrees with float64, and so does its gradient, where indices repeat, lack and lie beyond the end", async () => {
    for (const [shape, axis, count] of [[[9], 0, 4], [[3, 5, 70], 1, 8], [[3, 5, 70], 2, 3], [[4, 130], 1, 1],
      [[200, 3], 0, 500]] as const) {
      const indices = picks(shape.map((size, i) => (i === axis ? count : size)), shape[axis]!);
      await compareWithReference(device, along(axis), [normals(1, shape), indices]);
    }
  });

  it("takes no indices: then the gradient is 0", async () => {
    const { outputs, gradients } = await evaluate(device, along(1), [normals(1, [2, 3]), indicesOf([], [2, 0])]);
    expect(outputs[0]).toHaveLength(0);
    expect(Array.from(gradients[0]!)).toEqual([0, 0, 0, 0, 0, 0]);
  });

  it("leaves no memory behind, and says what does not fit", async () => {
    await checkLeaks(device, along(1), [normals(2, [2, 9, 3]), picks([2, 4, 3], 9)]);
    const given = [normals(1, [2, 3]), indicesOf([0, 0], [1, 2]), normals(1, [0]), indicesOf([0], [1])].map((t) => upload(device, t));
    const [x, indices, empty, one] = given as [Tensor, Tensor, Tensor, Tensor];
    expectError(() => gather(x, indices, 0), "E_SHAPE", /gather: indices \[1, 2\] must have the shape of x \[2, 3\] in all axes but 0/);
    expectError(() => gather(x, x, 0), "E_DTYPE", /gather: indices are f/);
    expectError(() => gather(empty, one, 0), "E_SHAPE", /must not be empty/);
    dispose(given);
  });
});

it("gather: the gradient is that of differences, and threads change no bit", async () => {
  await checkGradient(along(1), [normals(6, [2, 5, 3]), picks([2, 4, 3], 5)]);
  await checkSameBits(along(1), [normals(8, [5, 40, 130]), picks([5, 100, 130], 40)]);
});
