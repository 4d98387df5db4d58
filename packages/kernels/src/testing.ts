/**
 * What the tests of all op families share; no part of the package's public face.
 *
 *  * {@link eachDevice} runs a suite on every device of this machine and prints why one is absent.
 *  * {@link checkGradient} compares an op's gradients with central differences, in float64 on the reference.
 *  * {@link compareWithReference} compares a device in float32 with the reference in float64, outputs and
 *    gradients, from the same random numbers.
 *  * {@link checkSameBits} compares runs with 1, 2 and 3 threads bit for bit, for each instruction set.
 *  * {@link checkLeaks} sees to it that a call leaves no memory behind.
 *
 * All of it runs in Node and in a browser (vitest's browser mode), where the CPU device is absent.
 *
 * Errors are relative. Float32 numbers that are sums of many terms are judged by the max-norm: the largest
 * deviation over the largest magnitude that is expected.
 */
/// <reference types="vite/types/importMeta.d.ts" />
import { afterAll, describe, expect } from "vitest";
import type { Device, DeviceKind } from "./device";
import { devices, open } from "./open";
import type { FAMILIES } from "./families";
import { type Shape, showShape, sizeOf } from "./shape";
import type { Family, KernelsOf } from "./signature";
import { type ByteSource, memorySource } from "./source";
import { openSafetensors } from "./safetensors";
import { vjp } from "./tape";
import { dispose, leakedTensors, scope, Tensor, tensor } from "./tensor";

/** A tensor's numbers before they are on a device. Real ones are rounded to float32, so that all devices get the same. */
export interface HostTensor {
  readonly data: readonly number[];
  readonly shape: Shape;
  /** `real` becomes f32 or f64 and is differentiated; `integer` becomes i32 and is not. */
  readonly kind: "real" | "integer";
}

/** An op under test. Its inputs come in the order of the host tensors; give absent optional inputs inside of it. */
export type TestFunction = (...inputs: Tensor[]) => Tensor | readonly Tensor[];

/** Software adapters will do for tests. Whoever names a build of the addon wants that one tested, and not the rest without it. */
const addon = globalThis.process?.env?.["LENGGEN_CPU_ADDON"];
const listings = await devices({ fallback: true });
const opened: Device[] = [];
for (const { name, available, reason } of listings) {
  if (available) opened.push(await open(name, { fallback: true }));
  else if (name === "cpu" && addon) throw new Error(`LENGGEN_CPU_ADDON=${addon}: ${reason}`);
  else console.warn(`tests on device ${name} do not run: ${reason}`);
}

type Union<T> = (T extends unknown ? (value: T) => void : never) extends (value: infer All) => void ? All : never;

/** All kernels of a device, for tests that launch one by hand. */
export function kernelsIn(device: Device): KernelsOf<Union<(typeof FAMILIES)[keyof typeof FAMILIES]> & Family> {
  return device.kernels as never;
}

/** The reference device, for oracles. */
export const referenceDevice: Device = opened.find((device) => device.kind === "reference")!;

/** Runs a suite once per device that this machine has. */
export function eachDevice(name: string, suite: (device: Device) => void): void {
  for (const device of opened) describe(`${name} on ${device.kind}`, () => suite(device));
}

/** Whether a device can be opened here. */
export function hasDevice(kind: DeviceKind): boolean {
  return opened.some((device) => device.kind === kind);
}

/** Instruction sets of the CPU device that this machine can run; empty without the CPU device. */
export const instructionSets: readonly string[] = String(listings.find(({ name }) => name === "cpu")!.details.isas ?? "").split(", ")
  .filter(Boolean);
if (hasDevice("cpu")) {
  for (const isa of process.arch === "x64" ? ["baseline", "avx2", "avx512"] : ["neon"]) {
    if (!instructionSets.includes(isa))
      console.warn(`tests of instruction set ${isa} do not run: this processor has ${instructionSets.join(", ")}`);
  }
}

afterAll(async () => {
  for (const device of [...opened, ...(await Promise.all(variants.values()))]) device.close();
  expect(leakedTensors(), "tensors that the garbage collector found undisposed").toBe(0);
});

/** A small generator for tests, the same everywhere: uniform numbers in [0, 1). */
export function testRandom(seed: number): () => number {
  let state = (seed * 0x9e3779b9 + 0x7f4a7c15) >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Normal numbers, rounded to float32. */
export function normals(seed: number, shape: Shape, scale = 1, mean = 0): HostTensor {
  const next = testRandom(seed);
  const normal = () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());
  return host(Array.from({ length: sizeOf(shape) }, () => mean + scale * normal()), shape);
}

/** Uniform numbers in [low, high), rounded to float32. */
export function uniforms(seed: number, shape: Shape, low: number, high: number): HostTensor {
  const next = testRandom(seed);
  return host(Array.from({ length: sizeOf(shape) }, () => low + (high - low) * next()), shape);
}

/** Whole numbers in [low, high). */
export function integers(seed: number, shape: Shape, low: number, high: number): HostTensor {
  const next = testRandom(seed);
  const data = Array.from({ length: sizeOf(shape) }, () => low + Math.floor((high - low) * next()));
  return { data, shape, kind: "integer" };
}

/** Given real numbers, rounded to float32. */
export function host(data: readonly number[], shape: Shape): HostTensor {
  return { data: data.map(Math.fround), shape, kind: "real" };
}

/** Puts host numbers on a device: f32 unless `precise` asks for f64. */
export function upload(device: Device, { data, shape, kind }: HostTensor, precise = false): Tensor {
  return tensor(device, data, shape, kind === "integer" ? "i32" : precise ? "f64" : "f32");
}

/** max |actual - expected| / max |expected|; infinite when a number is missing or NaN on one side only. */
export function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) return Infinity;
  let [deviation, magnitude] = [0, 0];
  for (let i = 0; i < actual.length; i++) {
    const [a, e] = [actual[i]!, expected[i]!];
    if (a === e || (Number.isNaN(a) && Number.isNaN(e))) {
      if (Number.isFinite(e)) magnitude = Math.max(magnitude, Math.abs(e));
      continue;
    }
    if (!Number.isFinite(a) || !Number.isFinite(e)) return Infinity;
    deviation = Math.max(deviation, Math.abs(a - e));
    magnitude = Math.max(magnitude, Math.abs(e));
  }
  return deviation === 0 ? 0 : deviation / magnitude;
}

/** max over i of |actual - expected| / max(|expected|, floor): for functions that must be right at every size. */
export function elementwiseError(actual: ArrayLike<number>, expected: ArrayLike<number>, floor = 1e-30): number {
  if (actual.length !== expected.length) return Infinity;
  let worst = 0;
  for (let i = 0; i < actual.length; i++) {
    const [a, e] = [actual[i]!, expected[i]!];
    if (a === e || (Number.isNaN(a) && Number.isNaN(e))) continue;
    const error = Math.abs(a - e) / Math.max(Math.abs(e), floor);
    worst = Number.isNaN(error) ? Infinity : Math.max(worst, error);
  }
  return worst;
}

/** Expects a relative error (max-norm) of at most `tolerance`. */
export function expectClose(actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number, what = "values"): void {
  expect(actual.length, `${what}: number of elements`).toBe(expected.length);
  const error = relativeError(actual, expected);
  if (!(error <= tolerance)) {
    const show = (list: ArrayLike<number>) => Array.from(list).slice(0, 6).join(", ");
    expect.fail(`${what}: relative error ${error} exceeds ${tolerance}; got ${show(actual)}, expected ${show(expected)}`);
  }
}

export interface Evaluation {
  readonly outputs: readonly ArrayLike<number>[];
  /** Shapes of the outputs. */
  readonly shapes: readonly Shape[];
  /** By input; null for integers. */
  readonly gradients: readonly (ArrayLike<number> | null)[];
}

/**
 * Outputs, and the gradients of Σ cotangent · output with fixed random cotangents, for all real inputs. Float64 when
 * `precise`; a given `cotangent` stands for all the random ones.
 */
export async function evaluate(
  device: Device, f: TestFunction, inputs: readonly HostTensor[],
  options: { precise?: boolean; gradients?: boolean; cotangent?: number } = {},
): Promise<Evaluation> {
  const { precise = false, gradients: wanted = true, cotangent: constant } = options;
  const held = scope(() => {
    const given = inputs.map((input) => upload(device, input, precise));
    const real = given.filter((_, i) => inputs[i]!.kind === "real");
    const all = (tracked: readonly Tensor[]) => {
      let next = 0;
      return given.map((t, i) => (inputs[i]!.kind === "real" ? tracked[next++]! : t));
    };
    const list = (result: Tensor | readonly Tensor[]) => (result instanceof Tensor ? [result] : [...result]);
    if (!wanted) return { outputs: list(f(...given)), gradients: [] };
    const { outputs, pullback } = vjp((tracked: Tensor[]) => list(f(...all(tracked))), real);
    const cotangents = outputs.map((t, i) => (t.dtype === "i32" ? null : upload(device, cotangent(i, t.shape, constant), precise)));
    return { outputs, gradients: pullback(cotangents) as Tensor[] };
  });
  const outputs = await Promise.all(held.outputs.map((t) => t.read()));
  const shapes = held.outputs.map((t) => t.shape);
  const reads = await Promise.all(held.gradients.map((t) => t.read()));
  dispose(held);
  let next = 0;
  return { outputs, shapes, gradients: inputs.map(({ kind }) => (wanted && kind === "real" ? reads[next++]! : null)) };
}

function cotangent(output: number, shape: Shape, constant?: number): HostTensor {
  return constant === undefined ? normals(7919 + output, shape) : host(new Array<number>(sizeOf(shape)).fill(constant), shape);
}

/**
 * Compares gradients with central differences of Σ cotangent · output, all in float64 on the reference device.
 * Large inputs are sampled at `samples` places. Points within `step` of a kink need a hand-made test instead.
 */
export async function checkGradient(
  f: TestFunction, inputs: readonly HostTensor[], options: { step?: number; tolerance?: number; samples?: number } = {},
): Promise<void> {
  const { step = 1e-5, tolerance = 1e-7, samples = 40 } = options;
  const { gradients } = await evaluate(referenceDevice, f, inputs, { precise: true });
  const objective = async (changed: readonly HostTensor[]) => {
    const { outputs, shapes } = await evaluate(referenceDevice, f, changed, { precise: true, gradients: false });
    return outputs.reduce((sum, values, i) => {
      const { data } = cotangent(i, shapes[i]!);
      return data.reduce((total, c, j) => total + c * values[j]!, sum);
    }, 0);
  };
  for (const [i, input] of inputs.entries()) {
    const gradient = gradients[i];
    if (!gradient) continue;
    expect(gradient.length, `gradient of input ${i} ${showShape(input.shape)}`).toBe(input.data.length);
    const places = pick(input.data.length, samples);
    const numeric: number[] = [];
    for (const place of places) {
      // Not through host(): it would round the step to float32.
      const moved = (by: number) => inputs.map((t, k) => (k === i ? { ...t, data: t.data.with(place, t.data[place]! + by) } : t));
      numeric.push(((await objective(moved(step))) - (await objective(moved(-step)))) / (2 * step));
    }
    expectClose(places.map((place) => gradient[place]!), numeric, tolerance, `gradient of input ${i} ${showShape(input.shape)}`);
  }
}

/** At most `count` places of 0 ... size - 1, spread evenly over them with both ends. */
function pick(size: number, count: number): number[] {
  if (size <= count) return Array.from({ length: size }, (_, i) => i);
  return Array.from({ length: count }, (_, i) => Math.round((i * (size - 1)) / (count - 1)));
}

/**
 * Compares outputs and gradients on `device` (f32) with the reference (f64). Integer outputs must be equal. On the
 * reference device itself this compares its f32 storage with its f64 storage.
 */
export async function compareWithReference(
  device: Device, f: TestFunction, inputs: readonly HostTensor[], options: { tolerance?: number; gradients?: boolean } = {},
): Promise<void> {
  const { tolerance = 1e-5, gradients = true } = options;
  const expected = await evaluate(referenceDevice, f, inputs, { precise: true, gradients });
  const actual = await evaluate(device, f, inputs, { gradients });
  compareEvaluations(actual, expected, tolerance);
}

/** Compares two evaluations, number by number. */
export function compareEvaluations(actual: Evaluation, expected: Evaluation, tolerance: number): void {
  expect(actual.shapes).toEqual(expected.shapes);
  expected.outputs.forEach((values, i) => expectClose(actual.outputs[i]!, values, tolerance, `output ${i}`));
  expected.gradients.forEach((values, i) => {
    if (values) expectClose(actual.gradients[i] ?? [], values, tolerance, `gradient of input ${i}`);
  });
}

const variants = new Map<string, Promise<Device>>();

/** A CPU device of these options, opened once for all tests of a file. */
function cpuWith(isa: string, threads: number): Promise<Device> {
  const name = `${isa} ${threads}`;
  const device = variants.get(name) ?? open("cpu", { isa, threads });
  variants.set(name, device);
  return device;
}

/**
 * For each instruction set of the CPU: right by the reference, and the same bits with 1, 2 and 3 threads.
 * Does nothing on a machine without the CPU device (the reason is printed when the tests load).
 */
export async function checkSameBits(
  f: TestFunction, inputs: readonly HostTensor[], options: { tolerance?: number; gradients?: boolean } = {},
): Promise<void> {
  const { tolerance = 1e-5, gradients = true } = options;
  if (instructionSets.length === 0) return;
  const expected = await evaluate(referenceDevice, f, inputs, { precise: true, gradients });
  for (const isa of instructionSets) {
    let first: Evaluation | undefined;
    for (const threads of [1, 2, 3]) {
      const result = await evaluate(await cpuWith(isa, threads), f, inputs, { gradients });
      if (!first) compareEvaluations((first = result), expected, tolerance);
      else expect(sameBits(result, first), `same bits on ${isa} with ${threads} threads as with 1`).toBe(true);
    }
  }
}

/** Whether two evaluations agree bit for bit: 0 is not -0, and a NaN is that NaN. */
function sameBits(a: Evaluation, b: Evaluation): boolean {
  const words = ({ outputs, gradients }: Evaluation) =>
    [...outputs, ...gradients].map((values) => (values ? new Int32Array((values as Float32Array).slice().buffer) : new Int32Array()));
  const [left, right] = [words(a), words(b)];
  return left.length === right.length
    && left.every((list, i) => list.length === right[i]!.length && list.every((word, j) => word === right[i]![j]));
}

/** Expects that a call of `f` with its gradients leaves the device's memory as it was. */
export async function checkLeaks(device: Device, f: TestFunction, inputs: readonly HostTensor[]): Promise<void> {
  await device.synchronize();
  const before = device.memory().used;
  await evaluate(device, f, inputs);
  await device.synchronize();
  expect(device.memory().used, "bytes held after the call").toBe(before);
}

/** Expects that `body` throws a LenggenError of this code whose message matches. */
export function expectError(body: () => unknown, code: string, message?: RegExp): void {
  let caught: unknown;
  try {
    scope(() => {
      body();
    });
  } catch (error) {
    caught = error;
  }
  expect(caught, `an error of code ${code}`).toMatchObject({ name: "LenggenError", code });
  if (message) expect((caught as Error).message).toMatch(message);
}

// Vite's globs work in Node and in the browser, and find nothing where there is nothing.
const FIXTURES = import.meta.glob<string>("../test/fixtures/*", { query: "?url&inline", import: "default" });

/** The bytes of a file in test/fixtures, as if it had been opened. */
export async function readFixture(name: string): Promise<ByteSource> {
  const url = await FIXTURES[`../test/fixtures/${name}`]!();
  return memorySource(new Uint8Array(await (await fetch(url)).arrayBuffer()), name);
}

/** A tensor of the golden values, its numbers nested by axis. */
export interface GoldenTensor {
  readonly data: readonly unknown[];
  readonly shape: Shape;
}

/** An op as another implementation computed it. Gradients, where there are any, are those of the sum of its first output. */
export interface GoldenCase {
  readonly inputs: Readonly<Record<string, GoldenTensor>>;
  readonly outputs: Readonly<Record<string, GoldenTensor>>;
  readonly gradients: Readonly<Record<string, GoldenTensor>>;
}

/** What mamba_ssm's and causal-conv1d's kernels gave for a family of ops, by case (test/fixtures/README.md). */
export async function mambaCases(family: string): Promise<Readonly<Record<string, GoldenCase>>> {
  const url = await FIXTURES["../test/fixtures/mamba-reference-cases.json"]!();
  const families = (await (await fetch(url)).json()) as Record<string, Record<string, GoldenCase>>;
  return families[family]!;
}

/** A golden tensor as an input of a test. */
export function fromGolden({ data, shape }: GoldenTensor): HostTensor {
  return host(data.flat(Infinity) as number[], shape);
}

/**
 * Compares a scan with golden values in test/fixtures: inputs by name and `initial_state`, `out` and `final_state`, their cotangents
 * `d_out` and `d_final_state`, and the gradients `d_<input>`.
 */
export async function compareWithGoldenScan<Name extends string>(
  device: Device, fixture: string, inputs: readonly Name[],
  scan: (given: Readonly<Record<Name | "initial_state", Tensor>>) => { y: Tensor; state: Tensor }, tolerance = 1e-5,
): Promise<void> {
  const precise = device.dtypes.includes("f64");
  const file = await openSafetensors(await readFixture(fixture));
  const golden = await file.loadAll(device, { dtype: precise ? "f64" : "f32" });
  const results = scope(() => {
    const given = Object.fromEntries([...inputs, "initial_state"].map((name) => [name, golden[name]!]));
    const { outputs, pullback } = vjp((tracked: Record<string, Tensor>) => scan(tracked as Record<Name | "initial_state", Tensor>), given);
    const gradients = pullback({ y: golden["d_out"]!, state: golden["d_final_state"]! });
    const named = Object.entries(gradients).map(([name, gradient]) => [`d_${name}`, gradient] as const);
    return [["out", outputs.y] as const, ["final_state", outputs.state] as const, ...named];
  });
  for (const [name, actual] of results) {
    expectClose(await actual.read(), await golden[name]!.read(), precise ? 1e-12 : tolerance, `${fixture}: ${name}`);
  }
  dispose([results, golden]);
}
