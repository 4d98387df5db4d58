import { expect, it } from "vitest";
import { dispose } from "../tensor";
import {
  checkGradient, checkLeaks, checkSameBits, compareWithReference, eachDevice, evaluate, expectError, host, integers, normals,
  type TestFunction, upload,
} from "../testing";
import { cumulativeSum } from "./cumulativeSum";

const along = (axis: number, reverse = false): TestFunction => (x) => cumulativeSum(x, axis, { reverse });

eachDevice("running sums", (device) => {
  it("are those of the definition", async () => {
    const x = host([1, 2, 3, 4, 5, 6], [2, 3]);
    const of = async (f: TestFunction) => Array.from((await evaluate(device, f, [x], { gradients: false })).outputs[0]!);
    expect(await of(along(-1))).toEqual([1, 3, 6, 4, 9, 15]);
    expect(await of(along(0))).toEqual([1, 2, 3, 5, 7, 9]);
    expect(await of(along(1, true))).toEqual([6, 5, 3, 15, 11, 6]);
  });

  it("agree with float64 along every axis, and so do their gradients", async () => {
    for (const [shape, axis] of [[[7], 0], [[3, 5, 70], 1], [[3, 5, 70], 0], [[2, 130, 3], 1], [[4, 1], 1], [[1, 300], -1]] as const) {
      await compareWithReference(device, along(axis), [normals(1, shape)]);
      await compareWithReference(device, along(axis, true), [normals(2, shape)]);
    }
  });

  it("keep their digits over 16,384 steps", async () => {
    await compareWithReference(device, along(0), [normals(3, [16_384, 2], 1, 100)], { tolerance: 3e-7 });
  });

  it("begin from a start, and angles stay below their modulo", async () => {
    const angles: TestFunction = (x, start) => cumulativeSum(x!, 1, { start: start!, modulo: 2 * Math.PI });
    const { outputs } = await evaluate(device, angles, [host([3, 1, -2, -10, 0.25], [1, 5, 1]), host([3], [1, 1])], { gradients: false });
    const sums = [6, 7, 5, -5, -4.75];
    sums.forEach((sum, t) => expect(outputs[0]![t]).toBeCloseTo(sum - 2 * Math.PI * Math.floor(sum / (2 * Math.PI)), 6));
    for (const reverse of [false, true]) {
      await compareWithReference(device, (x, start) => cumulativeSum(x!, 1, { start: start!, reverse }),
        [normals(9, [3, 70, 5]), normals(10, [3, 5])]);
    }
    // As the angles of Mamba-3 run: thousands of turns, of which a float32 without a modulo would keep three digits.
    await compareWithReference(device, angles, [normals(11, [2, 16_384, 3], 0.8, 0.5), normals(12, [2, 3])], { tolerance: 2e-6 });
  });

  it("pass on what is not finite, and take nothing", async () => {
    const { outputs } = await evaluate(device, along(0), [host([1, Infinity, 2, NaN, 3], [5])], { gradients: false });
    expect(Array.from(outputs[0]!)).toEqual([1, Infinity, Infinity, NaN, NaN]);
    expect((await evaluate(device, along(1), [normals(1, [3, 0])])).outputs[0]).toHaveLength(0);
  });

  it("leave no memory behind, and refuse integers and axes that are not there", async () => {
    await checkLeaks(device, along(1), [normals(4, [2, 9, 3])]);
    const given = [integers(1, [2], 0, 9), normals(5, [2, 2])].map((t) => upload(device, t));
    expectError(() => cumulativeSum(given[0]!), "E_DTYPE", /cumulativeSum: x is i32/);
    expectError(() => cumulativeSum(given[1]!, 2), "E_ARGUMENT", /cumulativeSum/);
    expectError(() => cumulativeSum(given[1]!, 0, { modulo: -1 }), "E_ARGUMENT", /modulo -1/);
    expectError(() => cumulativeSum(given[1]!, 0, { start: given[1]! }), "E_SHAPE", /start \[2, 2\] must be x \[2, 2\] without axis 0/);
    dispose(given);
  });
});

it("running sums: the gradient is that of differences, and threads change no bit", async () => {
  await checkGradient(along(1), [normals(6, [2, 5, 3])]);
  await checkGradient(along(1, true), [normals(7, [2, 5, 3])]);
  await checkGradient((x, start) => cumulativeSum(x!, 1, { start: start!, modulo: 50 }), [normals(7, [2, 5, 3], 1, 9), normals(8, [2, 3])]);
  await checkSameBits(along(1), [normals(8, [5, 100, 130])]);
});
