/**
 * The scan and its gates against other implementations: the naive PyTorch recurrence of mamba2-minimal in float64
 * (test/fixtures/ssd.safetensors), and mamba_ssm's Triton kernels, whose products keep ten bits (TF32). Of the
 * latter only head 0 is compared: head 1 of those cases grows (a > 0), and there the kernels clamp the exponent.
 */
import { it } from "vitest";
import { openSafetensors } from "../safetensors";
import { vjp } from "../tape";
import { dispose, scope } from "../tensor";
import { full } from "./memory";
import {
  eachDevice, evaluate, expectClose, fromGolden, type GoldenTensor, host, type HostTensor, mambaCases, readFixture, type TestFunction,
} from "../testing";
import { add, mul, silu } from "./elementwise";
import { ssmGates } from "./gates";
import { ssd } from "./ssd";

eachDevice("ssd against mamba2-minimal", (device) => {
  it("agrees in outputs, final state and all gradients", async () => {
    const precise = device.dtypes.includes("f64");
    const file = await openSafetensors(await readFixture("ssd.safetensors"));
    const golden = await file.loadAll(device, { dtype: precise ? "f64" : "f32" });
    const { x, a, B, C, initial_state: initial } = golden;
    const results = scope(() => {
      const inputs = { x: x!, a: a!, B: B!, C: C!, initial_state: initial! };
      const one = full(device, a!.shape, 1, a!.dtype); // x is already multiplied by dt
      const { outputs, pullback } = vjp(
        (given: typeof inputs) => ssd({ x: given.x, dt: one, a: given.a, b: given.B, c: given.C, state: given.initial_state }),
        inputs,
      );
      const gradients = pullback({ y: golden["d_out"]!, state: golden["d_final_state"]! });
      const named = Object.entries(gradients).map(([name, gradient]) => [`d_${name}`, gradient] as const);
      return [["out", outputs.y] as const, ["final_state", outputs.state] as const, ...named];
    });
    for (const [name, actual] of results) {
      expectClose(await actual.read(), await golden[name]!.read(), precise ? 1e-12 : 1e-5, name);
    }
    dispose([results, golden]);
  });
});

const combined = await mambaCases("ssd_combined");
const components = await mambaCases("ssd_components");
const updates = await mambaCases("selective_state_update");

/** Index 0 of an axis, which stays with size 1. */
function first(tensor: GoldenTensor, axis: number): HostTensor {
  const { data, shape } = fromGolden(tensor);
  const inner = shape.slice(axis + 1).reduce((x, y) => x * y, 1);
  const values = data.filter((_, i) => Math.floor(i / inner) % (shape[axis] ?? 1) === 0);
  return host(values, shape.map((size, i) => (i === axis ? 1 : size)));
}
const TF32 = 5e-3;

eachDevice("mamba_ssm's Triton kernels", (device) => {
  it("combined scan: gates, scan, skip and output gate in one, with gradients", async () => {
    const { inputs, outputs, gradients } = combined["combined_full"]!;
    const { X, dt, dt_bias, A, B, C, D, z, initial_states } = inputs as Record<string, GoldenTensor>;
    const aLog = first(A!, 0).data.map((rate) => Math.log(-rate));
    const f: TestFunction = (x, raw, bias, log, b, c, d, gate, state) => {
      const gates = ssmGates(raw, bias, log);
      const out = ssd({ x: x, ...gates, b: b, c: c, state: state }, { chunk: 3 });
      return mul(add(out.y, mul(x, d)), silu(gate)); // its loss is the sum of y alone
    };
    const gates = [first(dt!, 2), first(dt_bias!, 0), host(aLog, [1])];
    const given = [first(X!, 2), ...gates, fromGolden(B!), fromGolden(C!), first(D!, 0), first(z!, 2), first(initial_states!, 1)];
    const actual = await evaluate(device, f, given, { cotangent: 1 });
    expectClose(actual.outputs[0]!, first(outputs["y"]!, 2).data, TF32, "y");
    // Name there, place among the inputs here, axis of heads.
    const expected: [string, number, number][] =
      [["X", 0, 2], ["dt", 1, 2], ["dt_bias", 2, 0], ["D", 6, 0], ["z", 7, 2], ["initial_states", 8, 1]];
    for (const [name, input, axis] of expected) {
      expectClose(actual.gradients[input]!, first(gradients[name]!, axis).data, TF32, `gradient of ${name}`);
    }
    const byRate = actual.gradients[3]![0]! / first(A!, 0).data[0]!; // dA = daLog / A
    expectClose([byRate], first(gradients["A"]!, 0).data, TF32, "gradient of A");
  });

  it("gates", async () => {
    const { inputs, outputs } = components["chunk_cumsum"]!;
    const given = [first(inputs["dt"]!, 2), first(inputs["dt_bias"]!, 0), host([Math.log(-first(inputs["A"]!, 0).data[0]!)], [1])];
    const f: TestFunction = (raw, bias, aLog) => Object.values(ssmGates(raw, bias, aLog));
    const { outputs: [dt, a] } = await evaluate(device, f, given, { gradients: false });
    expectClose(dt!, first(outputs["dt_out"]!, 1).data, 1e-6, "dt");
    const sums = Array.from(a!, (_, i) => Array.from(a!).slice(i - (i % 3), i + 1).reduce((x, y) => x + y, 0)); // chunks of 3
    expectClose(sums, first(outputs["dA_cumsum"]!, 1).data, 1e-6, "cumulative log decay");
  });

  it("states of single chunks", async () => {
    const { inputs, outputs } = components["chunk_state"]!;
    const { x, B, dt, dA_cumsum } = inputs as Record<string, GoldenTensor>;
    // [B, chunks · 3, ...] -> [B · chunks, 3, ...]: each chunk starts from zero.
    const chunked = ({ data }: HostTensor, ...shape: number[]) => host(data, [4, 3, ...shape]);
    const sums = first(dA_cumsum!, 1).data;
    const a = sums.map((sum, i) => (i % 3 === 0 ? sum : sum - sums[i - 1]!));
    const given = [chunked(first(x!, 2), 1, 3), chunked(first(dt!, 1), 1), host(a, [4, 3, 1]), chunked(fromGolden(B!), 1, 4)];
    const f: TestFunction = (v, step, decay, b) => ssd({ x: v, dt: step, a: decay, b: b, c: b }).state;
    const actual = await evaluate(device, f, given, { gradients: false });
    expectClose(actual.outputs[0]!, first(outputs["states"]!, 2).data, TF32, "states");
  });

  // There each channel and state element has a rate of its own: here each pair is a head of size 1 with a state of size 1.
  it.each([
    { name: "baseline_full", channels: 3, softplus: true },
    { name: "grouped", channels: 6, softplus: false },
  ])("single step of a state: $name", async ({ name, channels, softplus }) => {
    const { inputs, outputs } = updates[name]!;
    const at = (of: string, i: number) => fromGolden(inputs[of]!).data[i]!;
    const [batch, elements] = [2, 4];
    const groups = inputs["B"]!.shape.length === 3 ? 2 : 1;
    const heads = channels * elements;
    // f(row, channel, element) for every head, as [batch, 1, heads, ...]
    const spread = (f: (row: number, channel: number, element: number) => number, ...rest: number[]) =>
      host(
        Array.from({ length: batch * heads }, (_, i) => f(Math.floor(i / heads), Math.floor((i % heads) / elements), i % elements)),
        [batch, 1, heads, ...rest],
      );
    const step = (row: number, channel: number) => {
      const raw = at("dt", row * channels + channel) + at("dt_bias", channel);
      return softplus ? Math.log1p(Math.exp(raw)) : raw;
    };
    const shared = (of: string) => (row: number, channel: number, element: number) =>
      at(of, (row * groups + Math.floor((channel * groups) / channels)) * elements + element);
    const state = spread((row, channel, element) => at("state", (row * channels + channel) * elements + element));
    const given = [
      spread((row, channel) => at("x", row * channels + channel), 1),
      spread(step),
      spread((row, channel, element) => step(row, channel) * at("A", channel * elements + element)),
      spread(shared("B"), 1),
      spread(shared("C"), 1),
      host(state.data, [batch, heads, 1, 1]),
    ];
    const f: TestFunction = (x, dt, a, b, c, s) => Object.values(ssd({ x, dt, a, b, c, state: s }));
    const { outputs: [parts, next] } = await evaluate(device, f, given, { gradients: false });
    expectClose(next!, fromGolden(outputs["updated_state"]!).data, 1e-6, "state");
    const y = Array.from({ length: batch * channels }, (_, i) => {
      const sum = Array.from(parts!).slice(i * elements, (i + 1) * elements).reduce((a, b) => a + b, 0);
      const skipped = inputs["D"] ? sum + at("D", i % channels) * at("x", i) : sum;
      return inputs["z"] ? (skipped * at("z", i)) / (1 + Math.exp(-at("z", i))) : skipped;
    });
    expectClose(y, fromGolden(outputs["y"]!).data, 1e-6, "y");
  });
});
