import { describe, expect, it } from "vitest";
import { open } from "../open";
import { type Key, key, randomBits } from "../random";
import { dispose, scope, type Tensor, tensor } from "../tensor";
import { zeros } from "./memory";
import {
  checkGradient, checkLeaks, checkSameBits, compareWithReference, eachDevice, evaluate, expectClose, expectError, hasDevice, host,
  type HostTensor, normals, referenceDevice, type TestFunction, upload,
} from "../testing";
import { MOST_RETRIEVED, retrieve } from "./retrieve";

interface Case {
  batch?: number;
  queries: number;
  landmarks: number;
  width: number;
  k: number;
  first?: number;
  noise?: Key;
}

const CASES: Case[] = [
  { queries: 1, landmarks: 1, width: 1, k: 1, first: 1 },
  { queries: 6, landmarks: 6, width: 4, k: 2 },
  { batch: 3, queries: 9, landmarks: 7, width: 5, k: 3, first: 2 },
  { batch: 2, queries: 17, landmarks: 33, width: 12, k: 8, first: 20 },
  { queries: 5, landmarks: 40, width: 7, k: 64 }, // more than is visible
  { queries: 3, landmarks: 600, width: 8, k: MOST_RETRIEVED, first: 597 },
  { queries: 2, landmarks: 5000, width: 16, k: 128, first: 5000 },
  { queries: 70, landmarks: 70, width: 20, k: 16 },
  { batch: 2, queries: 130, landmarks: 131, width: 36, k: 5, first: 1 },
  { queries: 3, landmarks: 9001, width: 33, k: 8, first: 9000 },
  { batch: 2, queries: 33, landmarks: 64, width: 8, k: 4, first: 30, noise: key(5) },
  { batch: 2, queries: 20, landmarks: 19, width: 6, k: 6, noise: key(2 ** 40 + 7) },
  { queries: 4, landmarks: 5003, width: 4, k: 32, first: 5000, noise: key(9) },
];

const named = CASES.map((c) => [
  `${c.batch ?? 1} x ${c.queries} queries, ${c.landmarks} landmarks of ${c.width}, k ${c.k}${c.noise ? ", noise" : ""}`, c,
] as const);

const inputs = ({ batch = 1, queries, landmarks, width }: Case): HostTensor[] =>
  [normals(1, [batch, queries, width]), normals(2, [batch, landmarks, width])];

const both = ({ k, first, noise }: Case) => (...[queries, landmarks]: Tensor[]): [Tensor, Tensor] => {
  const { indices, weights } = retrieve({ queries: queries!, landmarks: landmarks! },
    { k, ...(first !== undefined && { first }), ...(noise && { noise }) });
  return [indices, weights];
};

const rows = (values: ArrayLike<number>, k: number): number[][] =>
  Array.from({ length: values.length / k }, (_, i) => Array.from(values).slice(i * k, (i + 1) * k));

eachDevice("retrieve", (device) => {
  it.each(named)("equals the float64 reference: %s", async (_, shape) => {
    await compareWithReference(device, both(shape), inputs(shape), { tolerance: 1e-5 });
  });

  it("shows each query the landmarks of earlier chunks only, best first", async () => {
    // Scores are the landmarks' own numbers.
    const [queries, landmarks] = [host([1, 1, 1, 1, 1], [1, 5, 1]), host([3, 1, 4, 1.5, 5], [1, 5, 1])];
    const { outputs: [indices, weights] } = await evaluate(device, both({ queries: 5, landmarks: 5, width: 1, k: 3 }),
      [queries, landmarks]);
    expect(rows(indices!, 3)).toEqual([[-1, -1, -1], [0, -1, -1], [0, 1, -1], [2, 0, 1], [2, 0, 3]]);
    const [a, b] = [1 / (1 + Math.exp(-2)), 1 / (1 + Math.exp(2))];
    expectClose(Array.from(weights!).slice(0, 9), [0, 0, 0, 1, 0, 0, a, b, 0], 1e-6);
    expect(rows(weights!, 3).map((row) => row.map((w) => w === 0))).toEqual(
      [[true, true, true], [false, true, true], [false, false, true], [false, false, false], [false, false, false]]);
    const later = await evaluate(device, both({ queries: 2, landmarks: 5, width: 1, k: 3, first: 3 }),
      [host([1, 1], [1, 2, 1]), landmarks]);
    expect(rows(later.outputs[0]!, 3)).toEqual([[2, 0, 1], [2, 0, 3]]);
  });

  it("takes the lower landmark first where scores are equal", async () => {
    for (const landmarks of [50, 700, 5000]) {
      const values = Array.from({ length: landmarks }, (_, j) => (j % 7 === 3 ? 2 : 1));
      const { outputs: [indices] } = await evaluate(
        device, both({ queries: 1, landmarks, width: 1, k: 12, first: landmarks }), [host([1], [1, 1, 1]), host(values, [1, landmarks, 1])],
        { gradients: false });
      const order = values.map((value, j) => [-value, j] as const).sort(([a, i], [b, j]) => a - b || i - j);
      expect(Array.from(indices!)).toEqual(order.slice(0, 12).map(([, j]) => j));
    }
  });

  it("finds the best wherever they stand: scores that rise and fall all along", async () => {
    const landmarks = 6000;
    for (const value of [(j: number) => j, (j: number) => -j, (j: number) => -Math.abs(j - 3000)]) {
      const values = Array.from({ length: landmarks }, (_, j) => value(j) / 64);
      const { outputs: [indices] } = await evaluate(
        device, both({ queries: 2, landmarks, width: 1, k: 20, first: landmarks }),
        [host([1, -1], [1, 2, 1]), host(values, [1, landmarks, 1])], { gradients: false });
      const best = (sign: number) => values.map((v, j) => [-sign * v, j] as const).sort(([a, i], [b, j]) => a - b || i - j).slice(0, 20)
        .map(([, j]) => j);
      expect(rows(indices!, 20)).toEqual([best(1), best(-1)]);
    }
  });

  it("reads nothing of spare rows and of landmarks to come", async () => {
    const shape = { batch: 2, queries: 6, landmarks: 40, width: 8, k: 4, first: 10 };
    const [queries, landmarks] = inputs(shape);
    const spoilt = (rubbish: number) => landmarks!.data.map((x, i) => (Math.floor(i / 8) % 40 >= 15 ? rubbish : x));
    const clean = await evaluate(device, both(shape), [queries!, { ...landmarks!, data: spoilt(0) }]);
    for (const rubbish of [NaN, Infinity, 1e30]) {
      const { outputs, gradients } = await evaluate(device, both(shape), [queries!, { ...landmarks!, data: spoilt(rubbish) }]);
      expect(outputs).toEqual(clean.outputs);
      expect(gradients).toEqual(clean.gradients);
    }
  });

  it("does not see scores that are not finite", async () => {
    const landmarks = host([1, NaN, 2, Infinity, -Infinity, 3, 3e38], [1, 7, 1]);
    const shape = { queries: 2, landmarks: 7, width: 1, k: 5, first: 7 };
    const { outputs: [indices, weights] } = await evaluate(device, both(shape), [host([1, NaN], [1, 2, 1]), landmarks]);
    expect(Array.from(indices!)).toEqual([6, 5, 2, 0, -1, -1, -1, -1, -1, -1]);
    expect(Array.from(weights!)).toEqual([1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
  });

  it("has gradients that are exactly 0 where nothing is visible, and none for landmarks that nobody kept", async () => {
    const shape = { queries: 3, landmarks: 6, width: 4, k: 2, first: 0 };
    const { gradients: [dqueries, dlandmarks] } = await evaluate(device, both(shape), inputs(shape));
    expect(Array.from(dqueries!).slice(0, 8).every((x) => x === 0)).toBe(true); // one landmark alone has weight 1
    expect(Array.from(dlandmarks!).slice(8).every((x) => x === 0)).toBe(true);
    expect(Array.from(dlandmarks!).slice(0, 8).every((x) => x !== 0)).toBe(true);
  });

  it("sums the gradient of a landmark that many keep", async () => {
    const shape = { batch: 2, queries: 300, landmarks: 3, width: 10, k: 2, first: 3 };
    await compareWithReference(device, both(shape), inputs(shape), { tolerance: 1e-5 });
  });

  it("takes nothing: no queries, no landmarks, no batch", async () => {
    for (const shape of [
      { queries: 0, landmarks: 3, width: 2, k: 2 }, { queries: 3, landmarks: 0, width: 2, k: 2, first: 4 },
      { batch: 0, queries: 3, landmarks: 3, width: 2, k: 2 },
    ]) {
      const { outputs, gradients } = await evaluate(device, both(shape), inputs(shape));
      expect(Array.from(outputs[0]!).every((i) => i === -1)).toBe(true);
      expect([...outputs.slice(1), ...gradients].every((values) => Array.from(values!).every((x) => x === 0))).toBe(true);
    }
  });

  it("ranks by the words of the key, counted over all landmarks, and weighs without noise", async () => {
    // Equal scores: noise alone decides.
    const [batch, queries, landmarks, k] = [2, 3, 11, 4];
    const ones = (shape: number[]) => host(new Array<number>(shape.reduce((a, b) => a * b)).fill(1), shape);
    const { outputs: [indices, weights] } = await evaluate(
      device, both({ batch, queries, landmarks, width: 2, k, first: 11, noise: key(11) }),
      [ones([batch, queries, 2]), ones([batch, landmarks, 2])]);
    const words = randomBits(key(11), batch * queries * landmarks);
    const expected = Array.from({ length: batch * queries }, (_, row) =>
      Array.from({ length: landmarks }, (_, j) => j).sort((i, j) => words[row * landmarks + j]! - words[row * landmarks + i]!).slice(0, k));
    expect(rows(indices!, k)).toEqual(expected);
    expectClose(weights!, new Array<number>(batch * queries * k).fill(1 / k), 1e-6);
  });

  it("frees what it takes", async () => {
    const shape = { queries: 9, landmarks: 30, width: 4, k: 3, first: 5, noise: key(1) };
    await checkLeaks(device, both(shape), inputs(shape));
  });

  it("refuses what does not fit", () => {
    const [queries, landmarks] = [zeros(device, [2, 3, 4]), zeros(device, [2, 5, 4])];
    const call = (q = queries, l = landmarks, options: { k: number; first?: number } = { k: 2 }) => () =>
      retrieve({ queries: q, landmarks: l }, options);
    scope(() => {
      expectError(call(zeros(device, [3, 4])), "E_SHAPE", /queries \[3, ?4\] must be \[B,C,D\]/);
      expectError(call(zeros(device, [2, 3, 0]), zeros(device, [2, 5, 0])), "E_SHAPE", /D >= 1/);
      expectError(call(queries, zeros(device, [1, 5, 4])), "E_SHAPE", /landmarks/);
      expectError(call(queries, zeros(device, [2, 5, 3])), "E_SHAPE", /landmarks/);
      expectError(call(queries, tensor(device, new Array<number>(40).fill(0), [2, 5, 4], "i32")), "E_DTYPE", /landmarks is i32/);
    });
    for (const k of [0, -1, 1.5, NaN, MOST_RETRIEVED + 1])
      expectError(call(queries, landmarks, { k }), "E_ARGUMENT", /k .* must be a whole number from 1 to 256/);
    for (const first of [-1, 0.5, Infinity]) expectError(call(queries, landmarks, { k: 1, first }), "E_ARGUMENT", /first/);
    dispose([queries, landmarks]);
  });
});

describe("retrieve", () => {
  const weights = (shape: Case): TestFunction => (...given) => both(shape)(...given)[1];

  it("has the gradient of its weights", async () => {
    for (const shape of [
      { batch: 2, queries: 5, landmarks: 7, width: 4, k: 3, first: 1 },
      { queries: 4, landmarks: 9, width: 3, k: 6, first: 2, noise: key(3) },
    ]) await checkGradient(weights(shape), inputs(shape));
  });

  it("has the same bits with any number of threads", async () => {
    await checkSameBits(both({ batch: 2, queries: 150, landmarks: 260, width: 24, k: 9, first: 40, noise: key(4) }),
      inputs({ batch: 2, queries: 150, landmarks: 260, width: 24, k: 9 }));
    const long = { queries: 5, landmarks: 12_000, width: 12, k: 16, first: 12_000 };
    await checkSameBits(both(long), inputs(long));
  });

  it("finds the same whether queries come together or one by one", async () => {
    const shape = { queries: 12, landmarks: 40, width: 8, k: 5, first: 20 };
    const [queries, landmarks] = inputs(shape);
    const whole = await evaluate(referenceDevice, both(shape), [queries!, landmarks!], { gradients: false });
    for (let c = 0; c < 12; c++) {
      const one = await evaluate(
        referenceDevice, both({ ...shape, queries: 1, first: 20 + c }),
        [host(queries!.data.slice(8 * c, 8 * c + 8), [1, 1, 8]), landmarks!], { gradients: false });
      expect(Array.from(one.outputs[1]!)).toEqual(Array.from(whole.outputs[1]!).slice(5 * c, 5 * c + 5));
    }
  });

  // The reference's working memory is JavaScript's own, and not counted.
  it.each((["cpu", "webgpu"] as const)
    .filter(hasDevice))("does not hold all scores on %s: memory follows the lists, not queries times landmarks", async (kind) => {
    const [queries, landmarks] = [96, 16_000];
    const fresh = await open(kind, { fallback: true });
    const [q, l] = [upload(fresh, normals(1, [1, queries, 4])), upload(fresh, normals(2, [1, landmarks, 4]))];
    const before = fresh.memory().used;
    const kept = retrieve({ queries: q, landmarks: l }, { k: 8, first: landmarks });
    await kept.weights.read();
    expect(fresh.memory().peak - before).toBeLessThan(queries * landmarks * 4 * 0.8);
    dispose([q, l, kept.indices, kept.weights]);
    fresh.close();
  });
});
