import { describe, expect, it } from "vitest";
import type { Device } from "../device";
import { openSafetensors } from "../safetensors";
import { detach, vjp } from "../tape";
import { dispose, scope, type Tensor } from "../tensor";
import { compareEvaluations, compareWithReference, checkGradient, checkLeaks, checkSameBits, eachDevice, evaluate, expectClose, expectError,
  fromGolden, type HostTensor, host, mambaCases, normals, readFixture, referenceDevice, type TestFunction, testRandom,
  uniforms } from "../testing";
import { add, mul, silu, softplus } from "./elementwise";
import { zeros } from "./memory";
import { inPieces } from "./scan.fixture";
import { selectiveScan, selectiveScanOperations } from "./selectiveScan";
import { reshape, transpose } from "./view";

interface Case {
  T: number;
  D?: number;
  N?: number;
  G?: number;
  B?: number;
  decay?: Decay;
}

/** How much is forgotten: as in a trained model, next to nothing, nothing, all in one step, all now and then, from 1e-4 to 300 a step. */
type Decay = "mixed" | "weak" | "none" | "strong" | "bursts" | "all";

/** Step sizes [B,T,D] and rates [D,N], whose products are logarithms of decays. */
function decays(kind: Decay, steps: number[], [D, N]: [number, number]): [HostTensor, HostTensor] {
  const rates = (low: number, high: number) => uniforms(3, [D, N], -high, -low);
  if (kind === "none") return [uniforms(2, steps, 0.1, 1), uniforms(3, [D, N], 0, 0)];
  if (kind === "weak") return [uniforms(2, steps, 0.1, 1), rates(1e-4, 1e-3)];
  if (kind === "strong") return [uniforms(2, steps, 0.9, 1), rates(50, 60)];
  const next = testRandom(2);
  const drawn = (f: () => number) => host(Array.from({ length: steps.reduce((x, y) => x * y, 1) }, f), steps);
  if (kind === "bursts") return [drawn(() => (next() < 0.2 ? 1 : 1e-3 * next())), rates(10, 50)];
  // Channels lie between 1e-4 and 1 a step, states are up to 300 times as fast.
  if (kind === "all")
    return [drawn(() => 10 ** (-4 * next())), host(Array.from({ length: D * N }, (_, i) => -(300 ** ((i % N) / (N - 1)))), [D, N])];
  return [uniforms(2, steps, 0.01, 0.3), rates(0.5, N)];
}

/** x, dt, a, b, c, d, state */
function inputs({ T, D = 20, N = 16, G = 1, B = 2, decay = "mixed" }: Case): HostTensor[] {
  const [dt, a] = decays(decay, [B, T, D], [D, N]);
  return [normals(1, [B, T, D]), dt, a, normals(4, [B, T, G, N]), normals(5, [B, T, G, N]), normals(6, [D]), normals(7, [B, D, N])];
}

const full = (chunk?: number): TestFunction => (x, dt, a, b, c, d, state) => {
  const out = selectiveScan({ x, dt, a, b, c, d, state }, { chunk });
  return [out.y, out.state];
};

const pieces = (lengths: readonly number[], chunk?: number) => inPieces(lengths, { run: full(chunk), timed: [0, 1, 3, 4], state: 6 });

describe("the reference's selective scan", () => {
  it("has the gradient that finite differences give, states included", async () => {
    await checkGradient(full(), inputs({ T: 5, D: 4, N: 3, G: 2 }));
    await checkGradient(full(), inputs({ T: 3, D: 3, N: 2, decay: "weak", B: 1 }));
  });

  it("follows a scan worked out by hand", async () => {
    // Rates log 2: S = 1·2·3 = 6, y = 6·5 + 7·2 = 44; then S = 6/2 + 1·4·1 = 7, y = 7·2 + 7·4 = 42.
    const one = (...data: number[]) => host(data, [1, 2, 1]);
    const pair = (...data: number[]) => host(data, [1, 2, 1, 1]);
    const { outputs } = await evaluate(referenceDevice, full(), [
      one(2, 4), one(1, 1), host([-Math.LN2], [1, 1]), pair(3, 1), pair(5, 2), host([7], [1]), host([0], [1, 1, 1]),
    ], { precise: true, gradients: false });
    expectClose(outputs[0]!, [44, 42], 1e-7);
    expectClose(outputs[1]!, [7], 1e-7);
  });
});

eachDevice("selectiveScan", (device) => {
  const shapes: Case[] = [
    { T: 1 }, { T: 1, D: 40, N: 24, G: 2 }, { T: 2, D: 33, N: 7, B: 1 }, { T: 31, D: 64, N: 16 }, { T: 32, D: 16, N: 1 },
    { T: 33, D: 70, N: 5, G: 2 }, { T: 100, D: 7, N: 17, B: 3 }, { T: 129, D: 150, N: 16, B: 1 }, { T: 65, D: 36, N: 12, G: 3 },
    { T: 40, D: 8, N: 4, G: 8 },
  ];
  it.each(shapes)("agrees with the recurrence in float64: $T steps, $D channels, $G groups of $N", async (shape) => {
    await compareWithReference(device, full(), inputs(shape));
  });

  it.each<Decay>(["weak", "none", "strong", "bursts", "all"])("stays accurate with decay: %s", async (decay) => {
    await compareWithReference(device, full(), inputs({ T: 150, D: 20, decay }));
  });

  it.each<Decay>(["weak", "all"])("stays accurate over 16,384 steps with decay: %s", async (decay) => {
    // Decays are float32 numbers: what each lacks adds up over the steps that a state lasts.
    await compareWithReference(device, full(), inputs({ T: 16384, D: 4, N: 4, B: 1, decay }), { tolerance: 1e-4 });
  });

  it.each([1, 2, 3, 16, 64, 100, 256])("gives the same with chunks of %i", async (chunk) => {
    await compareWithReference(device, full(chunk), inputs({ T: 100, D: 24, N: 12, G: 2 }));
  });

  it("may be cut anywhere with the state carried over, gradients included", async () => {
    const given = inputs({ T: 70, D: 20, N: 9 });
    const expected = await evaluate(referenceDevice, full(), given, { precise: true });
    for (const lengths of [Array.from({ length: 70 }, () => 1), [31, 39], [32, 38], [33, 1, 36], [1, 2, 63, 4]]) {
      compareEvaluations(await evaluate(device, pieces(lengths), given), expected, 1e-5);
      compareEvaluations(await evaluate(device, pieces(lengths, 7), given), expected, 1e-5);
    }
  });

  it("takes a missing d and a missing state as zeros", async () => {
    const given = inputs({ T: 70, D: 20 }).slice(0, 5);
    const without: TestFunction = (x, dt, a, b, c) => Object.values(selectiveScan({ x, dt, a, b, c }));
    const withZeros: TestFunction = (x, dt, a, b, c) => Object.values(selectiveScan(
      { x, dt, a, b, c, d: zeros(x.device, [20], x.dtype), state: zeros(x.device, [2, 20, 16], x.dtype) }));
    const expected = await evaluate(referenceDevice, withZeros, given, { precise: true });
    compareEvaluations(await evaluate(device, without, given), expected, 1e-5);
  });

  it.each(["y", "state"] as const)("has a gradient when the loss sees only %s", async (key) => {
    const only: TestFunction = (x, dt, a, b, c, d, state) => selectiveScan({ x, dt, a, b, c, d, state })[key];
    await compareWithReference(device, only, inputs({ T: 70 }));
  });

  it("has a gradient when that of the state is not wanted", async () => {
    const stopped: TestFunction = (x, dt, a, b, c, d, state) => selectiveScan({ x, dt, a, b, c, d, state: detach(state) }).y;
    await compareWithReference(device, stopped, inputs({ T: 70 }));
  });

  it("leaves no memory behind", async () => {
    await checkLeaks(device, full(), inputs({ T: 70 }));
  });

  it.each(["selectiveScan", "selectiveScanGrouped"])("agrees with mamba_ssm's recurrence, gradients included: %s", async (name) => {
    const precise = device.dtypes.includes("f64");
    const file = await openSafetensors(await readFixture(`${name}.safetensors`));
    const golden = await file.loadAll(device, { dtype: precise ? "f64" : "f32" });
    const given = Object.fromEntries(UPSTREAM.map((key) => [key, golden[key]!])) as Upstream;
    const results = scope(() => {
      const { outputs, pullback } = vjp(upstream, given);
      const gradients = pullback({ y: golden["d_out"]!, state: golden["d_final_state"]! });
      const named = Object.entries(gradients).map(([key, gradient]) => [`d_${key}`, gradient] as const);
      return [["out", outputs.y] as const, ["final_state", outputs.state] as const, ...named];
    });
    for (const [key, actual] of results) expectClose(await actual.read(), await golden[key]!.read(), precise ? 1e-12 : 1e-5, key);
    dispose([results, golden]);
  });

  it("agrees with mamba_ssm's CUDA kernel, where some rates are above 0", async () => {
    const { inputs: given, outputs, gradients } = (await mambaCases("selective_scan"))["time_varying_3d"]!;
    const names = ["u", "delta", "A", "B", "C"];
    const f: TestFunction = (u, delta, A, B, C) => {
      const [batch, N, T] = B.shape as [number, number, number];
      const [b, c] = [B, C].map((t) => reshape(t, [batch, 1, N, T])) as [Tensor, Tensor];
      const dt = softplus(last(delta));
      return last(selectiveScan({ x: last(u), dt, a: A, b: transpose(b, [0, 3, 1, 2]), c: transpose(c, [0, 3, 1, 2]) }).y);
    };
    const actual = await evaluate(device, f, names.map((name) => fromGolden(given[name]!)), { cotangent: 1 });
    expectClose(actual.outputs[0]!, fromGolden(outputs["y"]!).data, 1e-5, "y");
    names.forEach((name, i) => expectClose(actual.gradients[i]!, fromGolden(gradients[name]!).data, 1e-5, `gradient of ${name}`));
  });

  it("refuses what does not fit, naming it", () => {
    const of = (shapes: Partial<Record<"x" | "dt" | "a" | "b" | "c" | "d" | "state", number[]>>, chunk?: number) => () =>
      selectiveScan(tensors(device, { x: [1, 4, 6], dt: [1, 4, 6], a: [6, 5], b: [1, 4, 1, 5], c: [1, 4, 1, 5], ...shapes }), { chunk });
    expectError(of({ x: [1, 4, 2, 3] }), "E_SHAPE", /x \[1, 4, 2, 3\] must be \[B,T,D\]/);
    expectError(of({ x: [1, 0, 6] }), "E_SHAPE", /at least one step/);
    expectError(of({ dt: [1, 3, 6] }), "E_SHAPE", /dt \[1, 3, 6\] must be \[1, 4, 6\]/);
    expectError(of({ a: [6, 4] }), "E_SHAPE", /a \[6, 4\] must be \[6, 5\]/);
    expectError(of({ b: [1, 4, 4, 5], c: [1, 4, 4, 5] }), "E_SHAPE", /6 channels .* 4 groups/);
    expectError(of({ c: [1, 4, 1, 6] }), "E_SHAPE", /c \[1, 4, 1, 6\]/);
    expectError(of({ d: [3] }), "E_SHAPE", /d \[3\] must be \[6\]/);
    expectError(of({ state: [1, 5, 6] }), "E_SHAPE", /state .* must be \[1, 6, 5\]/);
    expectError(of({}, 0), "E_ARGUMENT", /chunk 0/);
    expectError(of({}, 257), "E_ARGUMENT", /chunk 257/);
  });
});

/** [B,D,T] <-> [B,T,D] */
const last = (t: Tensor) => transpose(t, [0, 2, 1]);

const UPSTREAM = ["u", "delta", "A", "B", "C", "D", "z", "delta_bias", "initial_state"] as const;
type Upstream = Readonly<Record<(typeof UPSTREAM)[number], Tensor>>;

/** mamba_ssm's function: time stands last, the step size comes before its bias and softplus, and a gate multiplies the output. */
function upstream({ u, delta, A, B, C, D, z, delta_bias: bias, initial_state: state }: Upstream): { y: Tensor; state: Tensor } {
  const dt = softplus(add(last(delta), bias));
  const out = selectiveScan({ x: last(u), dt, a: A, b: transpose(B, [0, 3, 1, 2]), c: transpose(C, [0, 3, 1, 2]), d: D, state });
  return { y: mul(last(out.y), silu(z)), state: out.state };
}

function tensors<S extends Record<string, number[]>>(device: Device, shapes: S): { [K in keyof S]: Tensor } {
  return Object.fromEntries(Object.entries(shapes).map(([key, shape]) => [key, zeros(device, shape)])) as { [K in keyof S]: Tensor };
}

describe("selectiveScan on every instruction set", () => {
  it.each<Case>([{ T: 1, D: 37, N: 16 }, { T: 1, D: 10, N: 19, G: 2 }, { T: 150, D: 70, N: 12, G: 2 }, { T: 130, D: 200, N: 16, B: 1 }])(
    "has the same bits with 1, 2 and 3 threads: %o", async (shape) => {
      await checkSameBits(full(), inputs(shape));
    });
});

describe("selectiveScanOperations", () => {
  it("counts an exponential for each step, channel and state, in either pass", () => {
    const { forward, gradient } = selectiveScanOperations({ batch: 2, time: 3, channels: 5, stateSize: 7 });
    expect([forward.exponentials, gradient.exponentials]).toEqual([210, 210]);
    expect([forward.operations, gradient.operations]).toEqual([6 * 210 + 3 * 30, 18 * 210 + 8 * 30]);
  });
});
