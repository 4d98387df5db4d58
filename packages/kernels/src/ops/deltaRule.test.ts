import { describe, expect, it } from "vitest";
import { compareEvaluations, compareWithGoldenScan, compareWithReference, checkGradient, checkLeaks, checkSameBits, eachDevice, evaluate,
  expectError, type HostTensor, host, normals, referenceDevice, type TestFunction, testRandom } from "../testing";
import { detach } from "../tape";
import type { Tensor } from "../tensor";
import { deltaRule, deltaRuleOperations } from "./deltaRule";
import { zeros } from "./memory";
import { type Decay, decays, inPieces, lengthsOf } from "./scan.fixture";

interface Case {
  T: number;
  H?: number;
  K?: number;
  V?: number;
  B?: number;
  /** How a is drawn; from a number to 0 as in a trained model. */
  decay?: Decay | number;
}

/** Vectors of length 1 along the last axis, times a number from 0 to 1 of each: so that removal keeps the state bounded. */
function directions(seed: number, shape: number[], sign: number, rate = false): HostTensor {
  const { data } = normals(seed, shape);
  const K = shape.at(-1)!;
  const next = testRandom(seed + 100);
  const rows = Array.from({ length: data.length / K }, (_, i) => {
    const row = data.slice(i * K, (i + 1) * K);
    const norm = Math.hypot(...row);
    const factor = (sign * (rate ? next() : 1)) / norm;
    return row.map((x) => x * factor);
  });
  return host(rows.flat(), shape);
}

/** q, k, v, a, remove, write, state; remove and write are opposite but for the rate, as in RWKV-7, and slightly off. */
function inputs({ T, H = 3, K = 8, V = 16, B = 2, decay = -0.607 }: Case): HostTensor[] {
  const keys = [B, T, H, K];
  const remove = directions(5, keys, -1);
  const write = directions(5, keys, 1, true);
  const off = normals(6, keys, 0.01);
  return [
    normals(1, keys), normals(2, keys), normals(3, [B, T, H, V]), decays(4, keys, decay), remove,
    host(write.data.map((x, i) => x + off.data[i]!), keys), normals(7, [B, H, K, V]),
  ];
}

type Options = { scale?: number; chunk?: number };

const full = (options?: Options): TestFunction => (q, k, v, a, remove, write, state) =>
  Object.values(deltaRule({ q, k, v, a, remove, write, state }, options));

const pieces = (lengths: readonly number[], options?: Options) =>
  inPieces(lengths, { run: full(options), timed: [0, 1, 2, 3, 4, 5], state: 6 });

describe("the reference of the delta rule", () => {
  it("has the gradient that finite differences give, states included", async () => {
    await checkGradient(full({ scale: 0.7 }), inputs({ T: 5, H: 2, K: 3, V: 2 }));
    await checkGradient(full(), inputs({ T: 3, H: 1, K: 2, V: 3, decay: "weak", B: 1 }));
  });

  it("follows a scan worked out by hand", async () => {
    // u = 3·2 = 6, S = 3/2 + 5·6 + 7·11 = 108.5, y = 2·13·108.5; remove reads the state before it decays.
    const one = (x: number) => host([x], [1, 1, 1, 1]);
    const { outputs } = await evaluate(referenceDevice, full({ scale: 2 }),
      [one(13), one(7), one(11), one(Math.log(0.5)), one(2), one(5), one(3)], { precise: true, gradients: false });
    expect(outputs[1]![0]).toBeCloseTo(108.5, 6);
    expect(outputs[0]![0]).toBeCloseTo(2821, 4);
  });
});

eachDevice("deltaRule", (device) => {
  it("agrees with golden values of RWKV-7 in outputs, final state and all gradients", async () => {
    await compareWithGoldenScan(device, "rwkv7.safetensors", ["r", "w", "k", "v", "a", "b"], (given) =>
      deltaRule({ q: given.r, k: given.k, v: given.v, a: given.w, remove: given.a, write: given.b, state: given.initial_state }));
  });

  const shapes: Case[] = [
    { T: 1 }, { T: 1, H: 4, K: 64, V: 64 }, { T: 2, K: 20, V: 24 }, { T: 31, K: 32, V: 64 }, { T: 32, K: 64, V: 64 },
    { T: 65, K: 20, V: 16 }, { T: 100, K: 8, V: 24 }, { T: 100, H: 2, K: 64, V: 128, B: 1 }, { T: 129, K: 7, V: 5, H: 2 },
    { T: 70, K: 33, V: 17, H: 2, B: 1 },
  ];
  it.each(shapes)("agrees with the recurrence in float64: $T steps, $H heads, keys of $K, values of $V", async (shape) => {
    await compareWithReference(device, full({ scale: 0.5 }), inputs(shape));
  });

  it.each<Decay>(["weak", "none", "strong", "wide", "bursts"])("stays accurate with decay: %s", async (decay) => {
    await compareWithReference(device, full(), inputs({ T: 100, H: 2, K: 16, V: 16, decay }));
  });

  it.each<Decay>(["weak", "wide"])("stays accurate over 16,384 steps with decay: %s", async (decay) => {
    await compareWithReference(device, full(), inputs({ T: 16_384, H: 1, B: 1, decay }), { tolerance: 2e-5 });
  });

  it.each([1, 2, 3, 16, 63, 64, 100])("gives the same with chunks of %i", async (chunk) => {
    await compareWithReference(device, full({ chunk }), inputs({ T: 100, H: 2, K: 12, V: 20 }));
  });

  it("may be cut anywhere with the state carried over, gradients included", async () => {
    const given = inputs({ T: 75, H: 2, K: 8, V: 12 });
    const expected = await evaluate(referenceDevice, full(), given, { precise: true });
    const cuts = [...[1, 3, 31, 32, 33].map((length) => lengthsOf(75, length)), [32, 1, 2, 31, 9], [5, 33, 3, 34]];
    for (const lengths of cuts) {
      compareEvaluations(await evaluate(device, pieces(lengths), given), expected, 1e-5);
      compareEvaluations(await evaluate(device, pieces(lengths, { chunk: 7 }), given), expected, 1e-5);
    }
  });

  it("takes a missing state as zeros", async () => {
    const given = inputs({ T: 70 }).slice(0, 6);
    const withZeros: TestFunction = (q, k, v, a, remove, write) =>
      Object.values(deltaRule({ q, k, v, a, remove, write, state: zeros(q.device, [2, 3, 8, 16], q.dtype) }));
    const expected = await evaluate(referenceDevice, withZeros, given, { precise: true });
    compareEvaluations(await evaluate(device, full(), given), expected, 1e-5);
  });

  it.each(["y", "state"] as const)("has a gradient when the loss sees only %s", async (key) => {
    const only: TestFunction = (q, k, v, a, remove, write, state) => deltaRule({ q, k, v, a, remove, write, state })[key];
    await compareWithReference(device, only, inputs({ T: 70, H: 2 }));
  });

  it.each([20, 40, 100])("has a gradient when no state comes in and none is asked for: %i steps", async (T) => {
    const only: TestFunction = (q, k, v, a, remove, write) => deltaRule({ q, k, v, a, remove, write }).y;
    await compareWithReference(device, only, inputs({ T }).slice(0, 6));
  });

  it("has a gradient when that of the state is not wanted", async () => {
    const stopped: TestFunction = (q, k, v, a, remove, write, state) =>
      deltaRule({ q, k, v, a, remove, write, state: detach(state!) }).y;
    await compareWithReference(device, stopped, inputs({ T: 40 }));
  });

  it.each<Case>([{ T: 3, B: 0 }, { T: 40, V: 0 }, { T: 40, K: 0 }])("takes sizes of 0: %o", async (shape) => {
    await compareWithReference(device, full(), inputs(shape), { tolerance: 1e-6 });
  });

  it("leaves no memory behind", async () => {
    await checkLeaks(device, full(), inputs({ T: 40 }));
  });

  it("refuses what does not fit, naming it", () => {
    type Name = "q" | "k" | "v" | "a" | "remove" | "write" | "state";
    const of = (shapes: Partial<Record<Name, number[]>>, chunk?: number, scale?: number) => () => {
      const key = [1, 4, 2, 3];
      const all = { q: key, k: key, v: [1, 4, 2, 5], a: key, remove: key, write: key, ...shapes };
      const given = Object.fromEntries(Object.entries(all).map(([name, shape]) => [name, zeros(device, shape)]));
      return deltaRule(given as Record<Name, Tensor>, { chunk, scale });
    };
    expectError(of({ q: [1, 4, 6] }), "E_SHAPE", /q \[1, 4, 6\] must be \[B,T,H,K\]/);
    expectError(of({ q: [1, 0, 2, 3] }), "E_SHAPE", /at least one step/);
    expectError(of({ v: [1, 4, 3, 5] }), "E_SHAPE", /v \[1, 4, 3, 5\] must be \[B,T,H,V\]/);
    expectError(of({ a: [1, 4, 2] }), "E_SHAPE", /a \[1, 4, 2\] must be \[1, 4, 2, 3\]/);
    expectError(of({ remove: [1, 4, 2, 4] }), "E_SHAPE", /remove \[1, 4, 2, 4\]/);
    expectError(of({ write: [1, 3, 2, 3] }), "E_SHAPE", /write \[1, 3, 2, 3\]/);
    expectError(of({ state: [1, 2, 5, 3] }), "E_SHAPE", /state .* must be \[1, 2, 3, 5\]/);
    expectError(of({}, 0), "E_ARGUMENT", /chunk 0/);
    expectError(of({}, 8, Number.NaN), "E_ARGUMENT", /scale NaN must be a finite number/);
    expectError(of({}, 257), "E_ARGUMENT", /chunk 257/);
  });
});

describe("deltaRule on every instruction set", () => {
  it.each<Case>([{ T: 1, H: 5, K: 20, V: 24 }, { T: 90, H: 3, K: 20, V: 24 }, { T: 70, H: 2, K: 64, V: 64, B: 1 }])(
    "has the same bits with 1, 2 and 3 threads: %o", async (shape) => {
      await checkSameBits(full(), inputs(shape));
    });
});

describe("deltaRuleOperations", () => {
  it("counts a single step as its products", () => {
    const sizes = { batch: 2, time: 1, heads: 3, keySize: 5, valueSize: 7 };
    // One pair of q with each of k and write (2·K, then 2·V), and four products with the state.
    expect(deltaRuleOperations(sizes).forward).toBe(2 * 3 * (2 * 2 * (5 + 7) + 4 * 2 * 35));
    expect(deltaRuleOperations(sizes).gradient).toBe(2 * 3 * (2 * 2 * (15 + 14) + 8 * 2 * 35));
  });

  it("adds up over chunks, the last one shorter, without what is zero", () => {
    const sizes = { batch: 1, heads: 2, keySize: 4, valueSize: 6, chunk: 8 };
    const of = (time: number, none = {}) => deltaRuleOperations({ ...sizes, ...none, time });
    expect(of(19).gradient).toBe(2 * of(8).gradient + of(3).gradient);
    const product = 2 * 2 * 4 * 6; // of a step with a state, both heads
    expect(of(19, { fromZero: true }).forward).toBe(of(19).forward - 2 * 8 * product);
    expect(of(19, { fromZero: true, finalUnused: true }).gradient).toBe(of(19).gradient - 4 * (8 + 3) * product);
  });
});
