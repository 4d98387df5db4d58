import { describe, expect, it } from "vitest";
import { dispose } from "../tensor";
import { checkGradient, checkLeaks, checkSameBits, compareWithReference, eachDevice, evaluate, expectClose, expectError, host,
  type HostTensor, normals, referenceDevice, type TestFunction } from "../testing";
import { lerp } from "./lerp";
import { zeros } from "./memory";

const shared: TestFunction = (a, b, ...shares) => lerp(a!, b!, shares);
const byRow: TestFunction = (a, b, extra, ...shares) => lerp(a!, b!, shares, extra!);

function inputs(shape: readonly number[], count: number, extra = false): HostTensor[] {
  const shares = Array.from({ length: count }, (_, i) => normals(10 + i, shape.slice(-1)));
  return [normals(1, shape), normals(2, shape), ...(extra ? [normals(3, [count, ...shape])] : []), ...shares];
}

describe("the reference mixes", () => {
  it("lie between both", async () => {
    const given = [host([1, 2, 3, 4], [2, 2]), host([5, 4, 3, 2], [2, 2]), host([0, 0.5], [2]), host([1, 0.25], [2])];
    const { outputs } = await evaluate(referenceDevice, shared, given, { precise: true, gradients: false });
    expect(outputs.map((y) => Array.from(y))).toEqual([[1, 3, 3, 3], [5, 2.5, 3, 3.5]]);
    const more = given.toSpliced(2, 0, host([0, 0, 1, 1, 1, 0, 0, 0], [2, 2, 2]));
    expectClose((await evaluate(referenceDevice, byRow, more, { precise: true, gradients: false })).outputs[0]!, [1, 3, 3, 1], 0);
  });

  it("have the gradient that finite differences give", async () => {
    await checkGradient(shared, inputs([2, 3, 4], 3));
    await checkGradient(byRow, inputs([2, 3, 4], 2, true));
  });
});

eachDevice("lerp", (device) => {
  it.each([[[1, 1], 1], [[3, 5], 2], [[2, 9, 37], 6], [[70, 130], 4], [[600, 16], 3]] as const)(
    "is as on the reference: %j, %i mixes", async (shape, count) => {
      await compareWithReference(device, shared, inputs(shape, count), { tolerance: 1e-5 });
      await compareWithReference(device, byRow, inputs(shape, count, true), { tolerance: 1e-5 });
    });

  it("has a gradient where some mixes lead nowhere", async () => {
    const some: TestFunction = (a, b, extra, ...shares) => [lerp(a!, b!, shares, extra!)[1]!];
    await compareWithReference(device, some, inputs([7, 12], 3, true));
    await compareWithReference(device, (a, b, ...shares) => [lerp(a!, b!, shares)[2]!], inputs([7, 12], 3));
  });

  it("passes on what is not a number", async () => {
    const { outputs } = await evaluate(device, shared, [host([1, NaN, 3], [3]), host([2, 2, Infinity], [3]), host([0.5, 0.5, 0.5], [3])],
      { gradients: false });
    expect(Array.from(outputs[0]!)).toEqual([1.5, NaN, Infinity]);
  });

  it("leaves no memory behind, and takes nothing", async () => {
    await checkLeaks(device, shared, inputs([5, 6], 3));
    await checkLeaks(device, byRow, inputs([5, 6], 3, true));
    expect((await evaluate(device, byRow, inputs([0, 6], 2, true))).outputs[0]!.length).toBe(0);
  });

  it("refuses what does not fit, naming it", () => {
    const [a, b, s, other, extra, whole] = [[2, 4], [4, 2], [4], [3], [2, 2, 4]].map((shape) => zeros(device, shape))
      .concat(zeros(device, [2, 4], "i32"));
    expectError(() => lerp(a!, b!, [s!]), "E_SHAPE", /b \[4, 2\] must have the shape of a \[2, 4\]/);
    expectError(() => lerp(a!, a!, [s!, other!]), "E_SHAPE", /shares\.1 \[3\] must have the size/);
    expectError(() => lerp(a!, a!, [s!], extra!), "E_SHAPE", /extra \[2, 2, 4\] must be \[1, 2, 4\]/);
    expectError(() => lerp(a!, a!, []), "E_ARGUMENT", /at least one share/);
    expectError(() => lerp(a!, whole!, [s!]), "E_DTYPE", /b is i32/);
    dispose([a, b, s, other, extra, whole]);
  });
});

it("lerp: threads change no bit", async () => {
  await checkSameBits(shared, inputs([300, 33], 3));
  await checkSameBits(byRow, inputs([300, 33], 3, true));
});
