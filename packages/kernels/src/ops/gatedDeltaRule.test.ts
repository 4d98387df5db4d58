import { describe, expect, it } from "vitest";
import { compareEvaluations, compareWithGoldenScan, compareWithReference, checkGradient, checkLeaks, checkSameBits, eachDevice, evaluate,
  expectError, type HostTensor, host, normals, referenceDevice, type TestFunction, uniforms } from "../testing";
import { detach } from "../tape";
import type { Tensor } from "../tensor";
import { gatedDeltaRule, gatedDeltaRuleOperations } from "./gatedDeltaRule";
import { zeros } from "./memory";
import { type Decay, decays, inPieces, lengthsOf } from "./scan.fixture";

interface Case {
  T: number;
  H?: number;
  HV?: number;
  K?: number;
  V?: number;
  B?: number;
  /** How a is drawn; from a number to 0 as in a trained model. */
  decay?: Decay | number;
  /** A gate for each channel of the key. */
  channels?: boolean;
}

/** Keys of length 1, as models have them: with beta below 2 the state stays bounded. */
function unitKeys(seed: number, shape: number[]): HostTensor {
  const { data } = normals(seed, shape);
  const K = shape.at(-1)!;
  return host(data.map((x, i) => x / Math.hypot(...data.slice(i - (i % K), i - (i % K) + K))), shape);
}

/** q, k, v, a, beta, state */
function inputs({ T, H = 3, HV = H, K = 8, V = 16, B = 2, decay = -1.5, channels = false }: Case): HostTensor[] {
  return [
    normals(1, [B, T, H, K]), unitKeys(2, [B, T, H, K]), normals(3, [B, T, HV, V]),
    decays(4, channels ? [B, T, HV, K] : [B, T, HV], decay), uniforms(5, [B, T, HV], 0, 1.2), normals(6, [B, HV, K, V]),
  ];
}

type Options = { scale?: number; chunk?: number };

const full = (options?: Options): TestFunction => (q, k, v, a, beta, state) =>
  Object.values(gatedDeltaRule({ q, k, v, a, beta, state }, options));

const pieces = (lengths: readonly number[], options?: Options) =>
  inPieces(lengths, { run: full(options), timed: [0, 1, 2, 3, 4], state: 5 });

describe("the reference of the gated delta rule", () => {
  it("has the gradient that finite differences give, states included", async () => {
    await checkGradient(full({ scale: 0.7 }), inputs({ T: 5, H: 2, HV: 4, K: 3, V: 2 }));
    await checkGradient(full(), inputs({ T: 3, H: 1, K: 2, V: 3, decay: "weak", B: 1 }));
    await checkGradient(full(), inputs({ T: 4, H: 1, HV: 2, K: 3, V: 2, channels: true, B: 1 }));
  });

  it("follows a scan worked out by hand", async () => {
    // S' = 6/2 = 3, e = 11 - 3·2 = 5, S = 3 + 2·0.5·5 = 8, y = 2·13·8.
    const one = (x: number) => host([x], [1, 1, 1, 1]);
    const gate = (x: number) => host([x], [1, 1, 1]);
    const { outputs } = await evaluate(referenceDevice, full({ scale: 2 }),
      [one(13), one(2), one(11), gate(Math.log(0.5)), gate(0.5), one(6)], { precise: true, gradients: false });
    expect(outputs[1]![0]).toBeCloseTo(8, 6);
    expect(outputs[0]![0]).toBeCloseTo(208, 5);
  });
});

eachDevice("gatedDeltaRule", (device) => {
  it.each(["gatedDeltaRule", "gatedDeltaRuleShared", "kda"])("agrees with golden values: %s", async (name) => {
    await compareWithGoldenScan(device, `${name}.safetensors`, ["q", "k", "v", "g", "beta"], (given) => {
      const { q, k, v, g, beta, initial_state: state } = given;
      return gatedDeltaRule({ q, k, v, a: g, beta, state }, { scale: q.shape[3]! ** -0.5 });
    });
  });

  const shapes: Case[] = [
    { T: 1 }, { T: 1, H: 2, HV: 4, K: 64, V: 128 }, { T: 2, K: 20, V: 24 }, { T: 63, K: 32, V: 64 }, { T: 64, H: 2, K: 64, V: 64 },
    { T: 65, H: 2, HV: 4, K: 20, V: 16 }, { T: 100, K: 8, V: 24 }, { T: 100, H: 1, HV: 2, K: 128, V: 256, B: 1 },
    { T: 129, H: 2, HV: 6, K: 7, V: 5 }, { T: 150, H: 2, K: 33, V: 17, B: 1 }, { T: 70, H: 1, HV: 2, K: 12, V: 20, channels: true },
  ];
  it.each(shapes)("agrees with the recurrence in float64: $T steps, $H heads, keys of $K, values of $V", async (shape) => {
    await compareWithReference(device, full({ scale: 0.5 }), inputs(shape));
  });

  it.each<Decay>(["weak", "none", "strong", "wide", "bursts"])("stays accurate with decay: %s", async (decay) => {
    await compareWithReference(device, full(), inputs({ T: 150, H: 2, K: 16, V: 16, decay }));
    await compareWithReference(device, full(), inputs({ T: 70, H: 2, K: 16, V: 16, decay, channels: true }));
  });

  it.each<Decay>(["weak", "wide"])("stays accurate over 16,384 steps with decay: %s", async (decay) => {
    await compareWithReference(device, full(), inputs({ T: 16_384, H: 1, B: 1, decay }), { tolerance: 2e-5 });
  });

  it.each([1, 2, 3, 16, 64, 65, 100])("gives the same with chunks of %i", async (chunk) => {
    await compareWithReference(device, full({ chunk }), inputs({ T: 100, H: 2, K: 12, V: 20 }));
  });

  it("may be cut anywhere with the state carried over, gradients included", async () => {
    const given = inputs({ T: 131, H: 1, HV: 2, K: 8, V: 12 });
    const expected = await evaluate(referenceDevice, full(), given, { precise: true });
    const cuts = [...[1, 3, 63, 64, 65].map((length) => lengthsOf(131, length)), [64, 1, 2, 63, 1], [5, 65, 3, 58]];
    for (const lengths of cuts) {
      compareEvaluations(await evaluate(device, pieces(lengths), given), expected, 1e-5);
      compareEvaluations(await evaluate(device, pieces(lengths, { chunk: 7 }), given), expected, 1e-5);
    }
  });

  it("takes a missing state as zeros", async () => {
    const given = inputs({ T: 70 }).slice(0, 5);
    const withZeros: TestFunction = (q, k, v, a, beta) =>
      Object.values(gatedDeltaRule({ q, k, v, a, beta, state: zeros(q.device, [2, 3, 8, 16], q.dtype) }));
    const expected = await evaluate(referenceDevice, withZeros, given, { precise: true });
    compareEvaluations(await evaluate(device, full(), given), expected, 1e-5);
  });

  it.each(["y", "state"] as const)("has a gradient when the loss sees only %s", async (key) => {
    const only: TestFunction = (q, k, v, a, beta, state) => gatedDeltaRule({ q, k, v, a, beta, state })[key];
    await compareWithReference(device, only, inputs({ T: 70, H: 2, decay: "weak" }));
  });

  it.each([40, 70, 150])("has a gradient when no state comes in and none is asked for: %i steps", async (T) => {
    const only: TestFunction = (q, k, v, a, beta) => gatedDeltaRule({ q, k, v, a, beta }).y;
    await compareWithReference(device, only, inputs({ T, H: 2, HV: 4 }).slice(0, 5));
  });

  it("has a gradient when that of the state is not wanted", async () => {
    const stopped: TestFunction = (q, k, v, a, beta, state) => gatedDeltaRule({ q, k, v, a, beta, state: detach(state!) }).y;
    await compareWithReference(device, stopped, inputs({ T: 70 }));
  });

  it.each<Case>([{ T: 3, B: 0 }, { T: 40, V: 0 }, { T: 40, K: 0 }])("takes sizes of 0: %o", async (shape) => {
    await compareWithReference(device, full(), inputs(shape), { tolerance: 1e-6 });
  });

  it("leaves no memory behind", async () => {
    await checkLeaks(device, full(), inputs({ T: 70 }));
    await checkLeaks(device, full(), inputs({ T: 40, H: 1, HV: 3, channels: true }));
  });

  it("refuses what does not fit, naming it", () => {
    type Name = "q" | "k" | "v" | "a" | "beta" | "state";
    const of = (shapes: Partial<Record<Name, number[]>>, chunk?: number, scale?: number) => () => {
      const all = { q: [1, 4, 2, 3], k: [1, 4, 2, 3], v: [1, 4, 4, 5], a: [1, 4, 4], beta: [1, 4, 4], ...shapes };
      const given = Object.fromEntries(Object.entries(all).map(([name, shape]) => [name, zeros(device, shape)]));
      return gatedDeltaRule(given as Record<Name, Tensor>, { chunk, scale });
    };
    expectError(of({ q: [1, 4, 6] }), "E_SHAPE", /q \[1, 4, 6\] must be \[B,T,H,K\]/);
    expectError(of({ q: [1, 0, 2, 3] }), "E_SHAPE", /at least one step/);
    expectError(of({ k: [1, 4, 2, 4] }), "E_SHAPE", /k \[1, 4, 2, 4\] must be \[1, 4, 2, 3\]/);
    expectError(of({ v: [1, 4, 3, 5] }), "E_SHAPE", /3 value heads are no multiple of 2 heads of keys/);
    expectError(of({ a: [1, 4, 2] }), "E_SHAPE", /a \[1, 4, 2\] must be \[1, 4, 4\] or \[1, 4, 4, 3\]/);
    expectError(of({ a: [1, 4, 4, 5] }), "E_SHAPE", /a \[1, 4, 4, 5\] must be \[1, 4, 4\] or \[1, 4, 4, 3\]/);
    expectError(of({ beta: [1, 4, 4, 3] }), "E_SHAPE", /beta \[1, 4, 4, 3\] must be \[1, 4, 4\]/);
    expectError(of({ state: [1, 4, 5, 3] }), "E_SHAPE", /state .* must be \[1, 4, 3, 5\]/);
    expectError(of({}, 0), "E_ARGUMENT", /chunk 0/);
    expectError(of({}, 8, Number.NaN), "E_ARGUMENT", /scale NaN must be a finite number/);
    expectError(of({ a: [1, 4, 4, 3] }, 257), "E_ARGUMENT", /gatedDeltaRule: chunk 257/);
  });
});

describe("gatedDeltaRule on every instruction set", () => {
  it.each<Case>([{ T: 1, H: 5, K: 20, V: 24 }, { T: 150, H: 2, HV: 4, K: 20, V: 24 }, { T: 130, H: 1, K: 64, V: 160, B: 1 }])(
    "has the same bits with 1, 2 and 3 threads: %o", async (shape) => {
      await checkSameBits(full(), inputs(shape));
    });
});

describe("gatedDeltaRuleOperations", () => {
  it("counts a single step as its products", () => {
    const sizes = { batch: 2, time: 1, keyHeads: 1, heads: 3, keySize: 5, valueSize: 7 };
    // One pair (2·K for the key head, 2·V for each head), and three products with the state.
    expect(gatedDeltaRuleOperations(sizes).forward).toBe(2 * (2 * 5 + 3 * (2 * 7 + 3 * 2 * 35)));
    expect(gatedDeltaRuleOperations(sizes).gradient).toBe(2 * (6 * 5 + 3 * (4 * 7 + 6 * 2 * 35)));
  });

  it("adds up over chunks, the last one shorter, without what is zero", () => {
    const sizes = { batch: 1, keyHeads: 2, heads: 2, keySize: 4, valueSize: 6, chunk: 8 };
    const of = (time: number, none = {}) => gatedDeltaRuleOperations({ ...sizes, ...none, time });
    expect(of(19).gradient).toBe(2 * of(8).gradient + of(3).gradient);
    const product = 2 * 2 * 4 * 6; // of a step with a state, both heads
    expect(of(19, { fromZero: true }).forward).toBe(of(19).forward - 2 * 8 * product);
    expect(of(19, { fromZero: true, finalUnused: true }).gradient).toBe(of(19).gradient - (4 * 8 + 2 * 3) * product);
  });
});
