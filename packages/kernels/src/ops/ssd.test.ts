import { describe, expect, it } from "vitest";
import type { Device } from "../device";
import { compareEvaluations, compareWithReference, checkGradient, checkLeaks, checkSameBits, eachDevice, evaluate, expectError,
  type HostTensor, host, normals, referenceDevice, type TestFunction, uniforms } from "../testing";
import { detach } from "../tape";
import type { Tensor } from "../tensor";
import { zeros } from "./memory";
import { type Decay, decays, inPieces, lengthsOf } from "./scan.fixture";
import { ssd, ssdOperations } from "./ssd";

interface Case {
  T: number;
  H?: number;
  P?: number;
  N?: number;
  G?: number;
  B?: number;
  /** How a is drawn; from a number to 0 as in a trained model. */
  decay?: Decay | number;
}

/** x, dt, a, b, c, d, state */
function inputs({ T, H = 3, P = 8, N = 16, G = 1, B = 2, decay = -1.5 }: Case): HostTensor[] {
  return [
    normals(1, [B, T, H, P]), uniforms(2, [B, T, H], 0.1, 1), decays(3, [B, T, H], decay),
    normals(4, [B, T, G, N]), normals(5, [B, T, G, N]), normals(6, [H]), normals(7, [B, H, P, N]),
  ];
}

const full = (chunk?: number): TestFunction => (x, dt, a, b, c, d, state) => {
  const out = ssd({ x: x, dt: dt, a: a, b: b, c: c, d: d, state: state }, { chunk });
  return [out.y, out.state];
};

const pieces = (lengths: readonly number[], chunk?: number) => inPieces(lengths, { run: full(chunk), timed: [0, 1, 2, 3, 4], state: 6 });

describe("the reference scan", () => {
  it("has the gradient that finite differences give, states included", async () => {
    await checkGradient(full(), inputs({ T: 5, H: 4, P: 3, N: 2, G: 2 }));
    await checkGradient(full(), inputs({ T: 3, H: 2, P: 2, N: 3, decay: "weak", B: 1 }));
  });

  it("follows a scan worked out by hand", async () => {
    // S = 1·2·3 = 6, y = 6·5 + 7·2 = 44; then S = 6/2 + 0.5·4·1 = 5, y = 5·2 + 7·4 = 38.
    const one = (...data: number[]) => host(data, [1, 2, 1, 1]);
    const { outputs } = await evaluate(referenceDevice, full(), [
      one(2, 4), host([1, 0.5], [1, 2, 1]), host([-3, Math.log(0.5)], [1, 2, 1]), one(3, 1), one(5, 2), host([7], [1]),
      host([0], [1, 1, 1, 1]),
    ], { precise: true, gradients: false });
    expect(outputs[0]![0]).toBe(44);
    expect(outputs[0]![1]).toBeCloseTo(38, 5);
    expect(outputs[1]![0]).toBeCloseTo(5, 5);
  });
});

eachDevice("ssd", (device) => {
  const shapes: Case[] = [
    { T: 1 }, { T: 1, H: 8, P: 64, N: 128, G: 2 }, { T: 2, P: 20, N: 24, H: 8, G: 2 }, { T: 63, P: 32, N: 64, H: 3 },
    { T: 64, P: 64, N: 128, H: 8 }, { T: 65, P: 20, N: 16, H: 8, G: 2 }, { T: 100, P: 8, N: 24, H: 3 },
    { T: 100, P: 64, N: 64, H: 8, G: 2, B: 1 }, { T: 129, P: 7, N: 5, H: 6, G: 3 }, { T: 200, P: 33, N: 17, H: 2, B: 1 },
  ];
  it.each(shapes)("agrees with the recurrence in float64: $T steps, $H heads of $P, $G groups of $N", async (shape) => {
    await compareWithReference(device, full(), inputs(shape));
  });

  it.each<Decay>(["weak", "none", "strong", "bursts"])("stays accurate with decay: %s", async (decay) => {
    await compareWithReference(device, full(), inputs({ T: 150, H: 4, P: 16, N: 16, decay }));
  });

  it.each([1, 2, 3, 16, 64, 65, 100, 256])("gives the same with chunks of %i", async (chunk) => {
    await compareWithReference(device, full(chunk), inputs({ T: 100, H: 4, P: 12, N: 20, G: 2 }));
  });

  it("may be cut anywhere with the state carried over, gradients included", async () => {
    const given = inputs({ T: 131, H: 2, P: 8, N: 12, B: 2 });
    const expected = await evaluate(referenceDevice, full(), given, { precise: true });
    const cuts = [...[1, 2, 3, 63, 64, 65].map((length) => lengthsOf(131, length)), [64, 1, 2, 63, 1], [5, 65, 3, 58]];
    for (const lengths of cuts) {
      compareEvaluations(await evaluate(device, pieces(lengths), given), expected, 1e-5);
      compareEvaluations(await evaluate(device, pieces(lengths, 7), given), expected, 1e-5);
    }
  });

  it("takes a missing d and a missing state as zeros", async () => {
    const given = inputs({ T: 70, H: 4, P: 8, N: 16 });
    const without: TestFunction = (x, dt, a, b, c) => {
      const out = ssd({ x: x, dt: dt, a: a, b: b, c: c });
      return [out.y, out.state];
    };
    const withZeros: TestFunction = (x, dt, a, b, c) => {
      const state = zeros(x.device, [2, 4, 8, 16], x.dtype);
      const out = ssd({ x: x, dt: dt, a: a, b: b, c: c, d: zeros(x.device, [4], x.dtype), state });
      return [out.y, out.state];
    };
    const expected = await evaluate(referenceDevice, withZeros, given.slice(0, 5), { precise: true });
    compareEvaluations(await evaluate(device, without, given.slice(0, 5)), expected, 1e-5);
  });

  it.each(["y", "state"] as const)("has a gradient when the loss sees only %s", async (key) => {
    const only: TestFunction = (x, dt, a, b, c, d, state) => ssd({ x: x, dt: dt, a: a, b: b, c: c, d: d, state: state })[key];
    await compareWithReference(device, only, inputs({ T: 70, H: 2 }));
  });

  it.each([40, 70, 150])("has a gradient when no state comes in and none is asked for: %i steps", async (T) => {
    const only: TestFunction = (x, dt, a, b, c, d) => ssd({ x, dt, a, b, c, d }).y;
    await compareWithReference(device, only, inputs({ T, H: 4, G: 2 }).slice(0, 6));
  });

  it("has a gradient when that of the state is not wanted", async () => {
    const stopped: TestFunction = (x, dt, a, b, c, d, state) => ssd({ x, dt, a, b, c, d, state: detach(state!) }).y;
    await compareWithReference(device, stopped, inputs({ T: 70 }));
  });

  it("leaves no memory behind", async () => {
    await checkLeaks(device, full(), inputs({ T: 70 }));
  });

  it("refuses what does not fit, naming it", () => {
    const of = (shapes: Partial<Record<"x" | "dt" | "a" | "b" | "c" | "d" | "state", number[]>>, chunk?: number) => () =>
      ssd(tensors(device, { x: [1, 4, 2, 3], dt: [1, 4, 2], a: [1, 4, 2], b: [1, 4, 1, 5], c: [1, 4, 1, 5], ...shapes }), { chunk });
    expectError(of({ x: [1, 4, 6] }), "E_SHAPE", /x \[1, 4, 6\] must be \[B,T,H,P\]/);
    expectError(of({ x: [1, 0, 2, 3] }), "E_SHAPE", /at least one step/);
    expectError(of({ dt: [1, 3, 2] }), "E_SHAPE", /dt \[1, 3, 2\] must be \[1, 4, 2\]/);
    expectError(of({ b: [1, 4, 4, 5], c: [1, 4, 4, 5] }), "E_SHAPE", /2 heads .* 4 groups/);
    expectError(of({ c: [1, 4, 1, 6] }), "E_SHAPE", /c \[1, 4, 1, 6\]/);
    expectError(of({ d: [3] }), "E_SHAPE", /d \[3\] must be \[2\]/);
    expectError(of({ state: [1, 2, 5, 3] }), "E_SHAPE", /state .* must be \[1, 2, 3, 5\]/);
    expectError(of({}, 0), "E_ARGUMENT", /chunk 0/);
    expectError(of({}, 257), "E_ARGUMENT", /chunk 257/);
  });
});

function tensors<S extends Record<string, number[]>>(device: Device, shapes: S): { [K in keyof S]: Tensor } {
  return Object.fromEntries(Object.entries(shapes).map(([key, shape]) => [key, zeros(device, shape)])) as { [K in keyof S]: Tensor };
}

describe("ssd on every instruction set", () => {
  it.each<Case>([{ T: 1, H: 5, P: 20, N: 24 }, { T: 150, H: 6, P: 20, N: 24, G: 2 }, { T: 130, H: 2, P: 64, N: 128, B: 1 }])(
    "has the same bits with 1, 2 and 3 threads: %o", async (shape) => {
      await checkSameBits(full(), inputs(shape));
    });
});

describe("ssdOperations", () => {
  it("counts a single step as its products", () => {
    const sizes = { batch: 2, time: 1, heads: 3, headSize: 5, groups: 1, stateSize: 7 };
    // Per head one pair (2·P) and two products with the state (2·2·P·N); per group one pair (2·N).
    expect(ssdOperations(sizes).forward).toBe(2 * (3 * (2 * 5 + 4 * 35) + 14));
    expect(ssdOperations(sizes).gradient).toBe(2 * (3 * (4 * 5 + 8 * 35) + 42));
  });

  it("leaves out products with a state that is zero, or whose gradient is", () => {
    const sizes = { batch: 1, heads: 3, headSize: 5, groups: 1, stateSize: 7, chunk: 4 };
    const product = (time: number) => 2 * 3 * 5 * 7 * time; // of a chunk with a state, all heads
    const of = (time: number, none: object) => ssdOperations({ ...sizes, ...none, time });
    for (const time of [4, 10]) {
      const [all, first, last] = [of(time, {}), 4, time === 4 ? 4 : 2];
      expect(of(time, { fromZero: true })).toEqual({ forward: all.forward - product(first), gradient: all.gradient - 2 * product(first) });
      expect(of(time, { finalUnused: true })).toEqual({ forward: all.forward, gradient: all.gradient - 2 * product(last) });
    }
  });

  it("adds up over chunks, the last one shorter", () => {
    const sizes = { batch: 1, heads: 2, headSize: 4, groups: 1, stateSize: 4, chunk: 8 };
    const of = (time: number) => ssdOperations({ ...sizes, time }).gradient;
    expect(of(19)).toBe(2 * of(8) + of(3));
  });
});
