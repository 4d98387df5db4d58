import { expect, it } from "vitest";
import {
  checkGradient, checkLeaks, checkSameBits, compareWithReference, eachDevice, evaluate, expectClose, expectError, host, normals,
  type TestFunction, upload,
} from "../testing";
import { linear, linearSplit, matmul, type MatmulOptions } from "./matmul";

const TRANSPOSES: readonly Required<MatmulOptions>[] = [
  { transposeA: false, transposeB: false },
  { transposeA: true, transposeB: false },
  { transposeA: false, transposeB: true },
  { transposeA: true, transposeB: true },
];

/** Sizes around tiles and vectors: [M, N, K]. */
const SHAPES: readonly (readonly [number, number, number])[] = [
  [1, 1, 1],
  [3, 17, 1],
  [17, 3, 64],
  [1, 65, 130],
  [4, 130, 63],
  [63, 1, 17],
  [64, 64, 64],
  [65, 63, 17],
  [130, 65, 3],
  [65, 130, 400],
];

/** Operands as stored: a [M, K] or [K, M], b [K, N] or [N, K], behind leading axes. */
function operands(
  [m, n, k]: readonly [number, number, number],
  { transposeA, transposeB }: Required<MatmulOptions>,
  leadingA: readonly number[] = [],
  leadingB: readonly number[] = leadingA,
) {
  const a = transposeA ? [k, m] : [m, k];
  const b = transposeB ? [n, k] : [k, n];
  return [normals(1, [...leadingA, ...a]), normals(2, [...leadingB, ...b])];
}

function withOptions(options: MatmulOptions): TestFunction {
  return (...[a, b]) => matmul(a!, b!, options);
}

const plain: TestFunction = withOptions({});
const whole: TestFunction = (...[x, weight]) => linear(x!, weight!);
const split = (sizes: readonly number[]): TestFunction => (...[x, weight]) => linearSplit(x!, weight!, sizes);

eachDevice("matmul", (device) => {
  it("multiplies numbers that one can check by hand", async () => {
    const a = host([1, 2, 3, 4, 5, 6], [2, 3]);
    const b = host([7, 8, 9, 10, 11, 12], [3, 2]);
    const { outputs } = await evaluate(device, plain, [a, b], { gradients: false });
    expect(Array.from(outputs[0]!)).toEqual([58, 64, 139, 154]);
  });

  for (const options of TRANSPOSES) {
    const name = `transposeA ${options.transposeA}, transposeB ${options.transposeB}`;

    it(`agrees with float64 at ragged shapes, with gradients (${name})`, async () => {
      for (const shape of SHAPES) await compareWithReference(device, withOptions(options), operands(shape, options));
    });

    it(`agrees with float64 for batches and for one b shared by a batch (${name})`, async () => {
      for (const leading of [[1], [2], [3, 2], [20]]) {
        await compareWithReference(device, withOptions(options), operands([5, 9, 7], options, leading));
        await compareWithReference(device, withOptions(options), operands([5, 9, 7], options, leading, []));
      }
      // Large enough that each product of the batch is split over threads.
      await compareWithReference(device, withOptions(options), operands([130, 65, 150], options, [2]));
    });

    it(`gives zeros for K = 0 and nothing for empty axes (${name})`, async () => {
      const empty = await evaluate(device, withOptions(options), operands([3, 2, 0], options, [2]));
      expect(empty.outputs[0]).toEqual(new Float32Array(12));
      for (const [m, n, k] of [[0, 2, 3], [2, 0, 3], [0, 0, 0]] as const) {
        for (const leadingB of [[2], []]) {
          const { outputs, shapes, gradients } = await evaluate(device, withOptions(options), operands([m, n, k], options, [2], leadingB));
          expect([shapes[0], outputs[0]!.length]).toEqual([[2, m, n], 0]);
          for (const gradient of gradients) expect(Array.from(gradient!).every((g) => g === 0)).toBe(true);
        }
      }
      const none = await evaluate(device, withOptions(options), operands([3, 2, 4], options, [0], []));
      expect(none.gradients[1]).toEqual(new Float32Array(8));
    });
  }

  it("refuses operands that do not fit, naming the axes", () => {
    const t = (...shape: number[]) => upload(device, normals(1, shape));
    expectError(() => matmul(t(2, 3), t(2, 3)), "E_SHAPE",
      /a \[2, 3\] times b \[2, 3\]: axis -1 of a and axis -2 of b must be equal, not 3 and 2/);
    expectError(() => matmul(t(2, 3), t(2, 3), { transposeA: true, transposeB: true }), "E_SHAPE", /\[2, 3\]ᵀ times/);
    expectError(() => matmul(t(3), t(3, 2)), "E_SHAPE", /at least two axes/);
    expectError(() => matmul(t(2, 4, 3), t(3, 3, 5)), "E_SHAPE", /leading axes/);
    expectError(() => matmul(t(4, 3), t(2, 3, 5)), "E_SHAPE", /leading axes/);
    expectError(() => matmul(t(2, 2), upload(device, { data: [1, 2, 3, 4], shape: [2, 2], kind: "integer" })), "E_DTYPE", /b is i32/);
  });

  it("leaves no memory behind", async () => {
    await checkLeaks(device, plain, operands([5, 6, 7], TRANSPOSES[0]!));
  });
});

eachDevice("linear", (device) => {
  it("is x · weightᵀ over the last axis, with gradients", async () => {
    for (const [leading, n, k] of [[[], 5, 7], [[1], 65, 130], [[2, 3], 17, 8], [[2, 70], 24, 63], [[0], 3, 4], [[4], 0, 3]] as const) {
      await compareWithReference(device, whole, [normals(3, [...leading, k]), normals(4, [n, k])]);
    }
  });

  it("comes apart into the slices of one product", async () => {
    const sizes = [16, 3, 0, 40];
    const x = normals(5, [2, 33, 20]);
    const weight = normals(6, [59, 20]);
    await compareWithReference(device, split(sizes), [x, weight]);
    const together = await evaluate(device, whole, [x, weight], { gradients: false });
    const parts = await evaluate(device, split(sizes), [x, weight], { gradients: false });
    expect(parts.shapes).toEqual(sizes.map((size) => [2, 33, size]));
    const all = Array.from(together.outputs[0]!);
    expectClose(parts.outputs[3]!, all.filter((_, i) => i % 59 >= 19), 1e-5);
  });

  it("counts an output that is not used as zero in the gradients", async () => {
    const f: TestFunction = (...[x, weight]) => linearSplit(x!, weight!, [3, 4])[1]!;
    await compareWithReference(device, f, [normals(7, [5, 6]), normals(8, [7, 6])]);
    const { gradients } = await evaluate(device, f, [normals(7, [5, 6]), normals(8, [7, 6])]);
    expect(Array.from(gradients[1]!).slice(0, 18)).toEqual(Array.from({ length: 18 }, () => 0));
  });

  it("refuses a weight or sizes that do not fit", () => {
    const t = (...shape: number[]) => upload(device, normals(1, shape));
    expectError(() => linear(t(2, 3), t(4, 2)), "E_SHAPE", /linear: weight \[4, 2\] must be \[N, K\] with K the last axis of x \[2, 3\]/);
    expectError(() => linear(t(2, 3), t(3)), "E_SHAPE", /must be \[N, K\]/);
    expectError(() => linearSplit(t(2, 3), t(4, 3), [1, 2]), "E_SHAPE", /linearSplit: the blocks \[1, 2\] .* add up to the 4 rows/);
  });

  it("leaves no memory behind", async () => {
    await checkLeaks(device, split([2, 3]), [normals(1, [4, 6]), normals(2, [5, 6])]);
  });
});

it("has the gradients that finite differences give", async () => {
  for (const options of TRANSPOSES) {
    await checkGradient(withOptions(options), operands([3, 4, 5], options, [2]));
    await checkGradient(withOptions(options), operands([3, 4, 5], options, [2], []));
  }
  await checkGradient(split([2, 3]), [normals(1, [2, 3, 4]), normals(2, [5, 4])]);
});

it("gives the same bits for any number of threads, on every instruction set", async () => {
  for (const options of TRANSPOSES) {
    await checkSameBits(withOptions(options), operands([130, 65, 200], options));
    await checkSameBits(withOptions(options), operands([9, 33, 40], options, [17]));
    await checkSameBits(withOptions(options), operands([9, 33, 40], options, [17], []));
  }
  // One row against many columns, many rows against few, and a long inner axis (the gradient of a weight).
  await checkSameBits(whole, [normals(1, [2, 300]), normals(2, [500, 300])]);
  await checkSameBits(whole, [normals(3, [1100, 40]), normals(4, [24, 40])]);
});
