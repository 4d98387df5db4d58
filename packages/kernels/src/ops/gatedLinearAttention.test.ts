import { describe, expect, it } from "vitest";
import type { Device } from "../device";
import { compareEvaluations, compareWithReference, checkGradient, checkLeaks, checkSameBits, eachDevice, evaluate, expectError,
  type HostTensor, host, normals, referenceDevice, type TestFunction, testRandom, uniforms } from "../testing";
import { detach } from "../tape";
import type { Tensor } from "../tensor";
import { gatedLinearAttention, gatedLinearAttentionOperations } from "./gatedLinearAttention";
import { zeros } from "./memory";
import { inPieces, lengthsOf } from "./scan.fixture";

interface Case {
  T: number;
  H?: number;
  K?: number;
  V?: number;
  B?: number;
  decay?: Decay;
  bonus?: boolean;
}

/**
 * How a is drawn: mixed as in a trained model; so weak that all is remembered; none at all; so strong that a step forgets all; bursts;
 * every size from 1e-4 to 300 side by side; with steps that forget all exactly.
 */
type Decay = "mixed" | "weak" | "none" | "strong" | "strongest" | "bursts" | "every size" | "all at once";

function decays(seed: number, shape: number[], kind: Decay): HostTensor {
  const next = testRandom(seed);
  const draw = (f: () => number) => host(Array.from({ length: shape.reduce((x, y) => x * y, 1) }, f), shape);
  if (kind === "mixed") return uniforms(seed, shape, -1.5, 0);
  if (kind === "weak") return uniforms(seed, shape, -2e-4, -1e-4);
  if (kind === "none") return uniforms(seed, shape, 0, 0);
  if (kind === "strong") return uniforms(seed, shape, -50, -49);
  if (kind === "strongest") return draw(() => (next() < 0.02 ? -1 : -300)); // the gradient of 300 alone is below what f32 has
  if (kind === "bursts") return draw(() => (next() < 0.1 ? -300 * next() : -0.01 * next()));
  if (kind === "every size") return draw(() => -1e-4 * 3e6 ** next());
  return draw(() => (next() < 0.1 ? -Infinity : -next()));
}

/** q, k, v, a, state, and with a bonus that. */
function inputs({ T, H = 3, K = 8, V = 16, B = 2, decay = "mixed", bonus = false }: Case): HostTensor[] {
  return [
    normals(1, [B, T, H, K]), normals(2, [B, T, H, K]), normals(3, [B, T, H, V]), decays(4, [B, T, H, K], decay), normals(5, [B, H, K, V]),
    ...(bonus ? [normals(6, [H, K])] : []),
  ];
}

const full = (chunk?: number): TestFunction => (q, k, v, a, state, bonus) => {
  const out = gatedLinearAttention({ q, k, v, a, bonus, state }, { chunk, scale: 0.5 });
  return [out.y, out.state];
};

const pieces = (lengths: readonly number[], chunk?: number) => inPieces(lengths, { run: full(chunk), timed: [0, 1, 2, 3], state: 4 });

const BOTH = [{ bonus: false }, { bonus: true }];

describe("the reference recurrence", () => {
  it.each(BOTH)("has the gradient that finite differences give, states included: bonus $bonus", async ({ bonus }) => {
    await checkGradient(full(), inputs({ T: 5, H: 2, K: 3, V: 2, bonus }));
    await checkGradient(full(), inputs({ T: 3, H: 1, K: 2, V: 3, decay: "weak", B: 1, bonus }));
  });

  it("follows steps worked out by hand", async () => {
    // S = 3·2 = 6, y = 6·5 = 30; then S = 6/2 + 1·4 = 7, y = 7·2 = 14. With a bonus of 2: 2·6·5 = 60, then (6 + 2·4)·2 = 28.
    const one = (...data: number[]) => host(data, [1, 2, 1, 1]);
    const given = [one(5, 2), one(3, 1), one(2, 4), one(-3, Math.log(0.5)), host([0], [1, 1, 1, 1])];
    for (const [bonus, expected] of [[[], [30, 14]], [[host([2], [1, 1])], [60, 28]]] as const) {
      const f: TestFunction = (q, k, v, a, state, u) => Object.values(gatedLinearAttention({ q, k, v, a, state, bonus: u }));
      const { outputs } = await evaluate(referenceDevice, f, [...given, ...bonus], { precise: true, gradients: false });
      expect(outputs[0]![0]).toBeCloseTo(expected[0], 5);
      expect(outputs[0]![1]).toBeCloseTo(expected[1], 5);
      expect(outputs[1]![0]).toBeCloseTo(7, 5);
    }
  });
});

eachDevice("gatedLinearAttention", (device) => {
  const shapes: Case[] = [
    { T: 1 }, { T: 1, H: 4, K: 64, V: 128 }, { T: 2, K: 20, V: 24, H: 2 }, { T: 15, K: 5, V: 7 }, { T: 17, K: 32, V: 64, B: 1 },
    { T: 63, K: 16, V: 9, H: 2 }, { T: 65, K: 33, V: 20, H: 2, B: 1 }, { T: 100, K: 64, V: 64, H: 2, B: 1 },
    { T: 129, K: 7, V: 5, H: 2 }, { T: 140, K: 128, V: 40, H: 1, B: 1 },
  ];
  it.each(shapes.flatMap((shape) => BOTH.map((both) => ({ ...shape, ...both }))))(
    "agrees with the recurrence in float64: $T steps, K = $K, V = $V, bonus $bonus", async (shape) => {
      await compareWithReference(device, full(), inputs(shape));
    });

  const kinds = ["weak", "none", "strong", "strongest", "bursts", "every size", "all at once"] as const;
  it.each(kinds.flatMap((decay) => BOTH.map((both) => ({ decay, ...both }))))(
    "stays accurate with decay: $decay, bonus $bonus", async ({ decay, bonus }) => {
      await compareWithReference(device, full(), inputs({ T: 150, H: 2, K: 16, V: 16, decay, bonus }));
    });

  it.each([{ decay: "weak", bonus: false }, { decay: "every size", bonus: true }] as const)(
    "stays accurate over 16,384 steps with decay: $decay, bonus $bonus", async (both) => {
      await compareWithReference(device, full(), inputs({ T: 16_384, H: 1, K: 4, V: 3, B: 1, ...both }));
    });

  it.each([1, 2, 15, 16, 17, 64, 100, 256])("gives the same with chunks of %i", async (chunk) => {
    for (const both of BOTH) await compareWithReference(device, full(chunk), inputs({ T: 100, H: 2, K: 12, V: 20, B: 1, ...both }));
  });

  it.each(BOTH)("may be cut anywhere with the state carried over, gradients included: bonus $bonus", async ({ bonus }) => {
    const given = inputs({ T: 131, H: 2, K: 8, V: 12, bonus });
    const expected = await evaluate(referenceDevice, full(), given, { precise: true });
    const cuts = [...[1, 3, 63, 64, 65].map((length) => lengthsOf(131, length)), [64, 1, 2, 63, 1], [5, 65, 3, 58]];
    for (const lengths of cuts) compareEvaluations(await evaluate(device, pieces(lengths), given), expected, 1e-5);
    compareEvaluations(await evaluate(device, pieces([5, 65, 3, 58], 7), given), expected, 1e-5);
  });

  it("takes a missing state as zeros", async () => {
    const given = inputs({ T: 70, H: 2 }).slice(0, 4);
    const without: TestFunction = (q, k, v, a) => Object.values(gatedLinearAttention({ q, k, v, a }));
    const withZeros: TestFunction = (q, k, v, a) =>
      Object.values(gatedLinearAttention({ q, k, v, a, state: zeros(q.device, [2, 2, 8, 16], q.dtype) }));
    const expected = await evaluate(referenceDevice, withZeros, given, { precise: true });
    compareEvaluations(await evaluate(device, without, given), expected, 1e-5);
  });

  it.each((["y", "state"] as const).flatMap((key) => BOTH.map((both) => ({ key, ...both }))))(
    "has a gradient when the loss sees only $key, bonus $bonus", async ({ key, bonus }) => {
      const only: TestFunction = (q, k, v, a, state, u) => gatedLinearAttention({ q, k, v, a, state, bonus: u })[key];
      await compareWithReference(device, only, inputs({ T: 70, H: 2, bonus }));
    });

  it("has a gradient when those of state and bonus are not wanted", async () => {
    const stopped: TestFunction = (q, k, v, a, state, bonus) =>
      gatedLinearAttention({ q, k, v, a, state: detach(state!), bonus: detach(bonus!) }).y;
    await compareWithReference(device, stopped, inputs({ T: 70, bonus: true }));
  });

  it.each<Case>([{ T: 3, B: 0 }, { T: 3, H: 0 }, { T: 40, V: 0 }, { T: 40, K: 0 }])("takes sizes of 0: %o", async (shape) => {
    for (const both of BOTH) await compareWithReference(device, full(), inputs({ ...shape, ...both }), { tolerance: 1e-6 });
  });

  it("leaves no memory behind", async () => {
    await checkLeaks(device, full(), inputs({ T: 70, bonus: true }));
  });

  it("refuses what does not fit, naming it", () => {
    const of = (shapes: Partial<Record<"q" | "k" | "v" | "a" | "bonus" | "state", number[]>>, options = {}) => () =>
      gatedLinearAttention(tensors(device, { q: [1, 4, 2, 3], k: [1, 4, 2, 3], v: [1, 4, 2, 5], a: [1, 4, 2, 3], ...shapes }), options);
    expectError(of({ q: [1, 4, 6] }), "E_SHAPE", /q \[1, 4, 6\] must be \[B,T,H,K\]/);
    expectError(of({ q: [1, 0, 2, 3] }), "E_SHAPE", /at least one step/);
    expectError(of({ k: [1, 4, 2, 4] }), "E_SHAPE", /k \[1, 4, 2, 4\] must be \[1, 4, 2, 3\]/);
    expectError(of({ v: [1, 4, 10] }), "E_SHAPE", /v \[1, 4, 10\] must be \[B,T,H,V\]/);
    expectError(of({ v: [1, 4, 1, 5] }), "E_SHAPE", /v \[1, 4, 1, 5\] must be \[1, 4, 2, 5\]/);
    expectError(of({ a: [1, 4, 2, 1] }), "E_SHAPE", /a \[1, 4, 2, 1\] must be \[1, 4, 2, 3\]/);
    expectError(of({ bonus: [3] }), "E_SHAPE", /bonus \[3\] must be \[2, 3\]/);
    expectError(of({ state: [1, 2, 5, 3] }), "E_SHAPE", /state .* must be \[1, 2, 3, 5\]/);
    expectError(of({}, { chunk: 0 }), "E_ARGUMENT", /chunk 0/);
    expectError(of({}, { chunk: 257 }), "E_ARGUMENT", /chunk 257/);
    expectError(of({}, { scale: NaN }), "E_ARGUMENT", /scale NaN/);
  });
});

function tensors<S extends Record<string, number[]>>(device: Device, shapes: S): { [K in keyof S]: Tensor } {
  return Object.fromEntries(Object.entries(shapes).map(([key, shape]) => [key, zeros(device, shape)])) as { [K in keyof S]: Tensor };
}

describe("gatedLinearAttention on every instruction set", () => {
  it.each<Case>([
    { T: 1, H: 5, K: 20, V: 24 }, { T: 150, H: 3, K: 20, V: 24 }, { T: 130, H: 2, K: 64, V: 100, B: 1 },
    { T: 80, H: 1, K: 40, V: 300, B: 1 }, { T: 3, B: 0 }, { T: 3, V: 0 },
  ])("has the same bits with 1, 2 and 3 threads: %o", async (shape) => {
    for (const both of BOTH) await checkSameBits(full(), inputs({ ...shape, ...both }));
  });
});

describe("gatedLinearAttentionOperations", () => {
  it("counts a single step as its products", () => {
    const { forward, gradient } = gatedLinearAttentionOperations({ batch: 2, time: 1, heads: 3, keySize: 5, valueSize: 7 });
    // Per head one pair, and two products with the state (2·2·K·V) or four.
    expect(forward).toBe(2 * 3 * (2 * (5 + 7) + 4 * 35));
    expect(gradient).toBe(2 * 3 * (2 * (15 + 14) + 8 * 35));
  });

  it("leaves out products with a state that is zero, or whose gradient is", () => {
    const sizes = { batch: 1, time: 10, heads: 1, keySize: 5, valueSize: 7, chunk: 4 };
    const of = (rest: object) => gatedLinearAttentionOperations({ ...sizes, ...rest });
    const product = (steps: number) => 2 * 35 * steps;
    const all = of({});
    expect(of({ fromZero: true })).toEqual({ forward: all.forward - product(4), gradient: all.gradient - 2 * product(4) });
    expect(of({ finalUnused: true })).toEqual({ forward: all.forward, gradient: all.gradient - 2 * product(2) });
  });
});
