/**
 * The laws of a backend. Every op gives on it what it gives on the reference device, and so do its gradients; what a call made is freed;
 * and ops that run in composed form are held to the same. Numbers are drawn once, as float32, and the reference computes with them
 * in float64.
 */
import type { Device } from "../device";
import { LenggenError } from "../errors";
import { nearest } from "../nearest";
import { open } from "../open";
import { hostRandom, type Key, key as makeKey } from "../random";
import { type Shape, sizeOf } from "../shape";
import { vjp } from "../tape";
import { dispose, scope, type Tensor, tensor } from "../tensor";
import { checkSetup, expectClose, type Numbers, readAll, broken } from "./compare";
import { type Drawn, OP_CASES, type OpCase } from "./opCases";

/** What the laws are checked with. */
export interface BackendSetup {
  /** Names of {@link BACKEND_OPS}; all unless given. */
  readonly ops?: readonly string[];
  /** Of the largest number of each output or gradient; 3e-5 unless given. */
  readonly tolerance?: number;
  /** Numbers are drawn from it. */
  readonly key?: Key;
}

/** The ops that are checked. */
export const BACKEND_OPS: readonly string[] = Object.keys(OP_CASES);

/** Numbers of one input, float32 or whole. */
interface Host {
  readonly shape: Shape;
  readonly data: readonly number[];
  readonly whole: boolean;
}

function draw(drawn: Drawn, random: () => number): Host {
  const { shape } = drawn;
  if ("given" in drawn) return { shape, data: drawn.given, whole: true };
  const of = "below" in drawn ? () => Math.floor(random() * drawn.below)
    : () => Math.fround(drawn.low + random() * (drawn.high - drawn.low));
  return { shape, data: Array.from({ length: sizeOf(shape) }, of), whole: "below" in drawn };
}

/** Outputs, and gradients of all real inputs for cotangents that fall slowly from 1. */
async function evaluate(device: Device, { run }: OpCase, inputs: readonly Host[], exact: boolean): Promise<Numbers[]> {
  const real = exact ? "f64" as const : "f32" as const;
  const made = scope(() => {
    const given = inputs.map(({ data, shape, whole }) => tensor(device, data, shape, whole ? "i32" : real));
    const tracked = Object.fromEntries(given.flatMap((t, i) => (inputs[i]!.whole ? [] : [[i, t]])));
    const { outputs, pullback } = vjp((x: Record<string, Tensor>) => {
      const results = run(...given.map((t, i) => x[i] ?? t));
      return Array.isArray(results) ? results as readonly Tensor[] : [results as Tensor];
    }, tracked);
    const cotangents = outputs.map((t) =>
      (t.dtype === "i32" ? null : tensor(device, Array.from({ length: t.size }, (_, i) => Math.fround(1 / (1 + (i % 7)))), t.shape, real)));
    return { outputs, gradients: pullback(cotangents) };
  });
  try {
    return await readAll(made);
  } finally {
    dispose(made);
  }
}

/**
 * Checks that a device computes every op as the reference does, with all gradients, and leaves no memory behind. Throws `E_LAW` that names
 * the op, the output or gradient, and the first number that is off; `E_UNKNOWN_NAME` for an op that is none.
 */
export async function checkBackend(device: Device,
  { ops = BACKEND_OPS, tolerance = 3e-5, key = makeKey(5) }: BackendSetup = {}): Promise<void> {
  checkSetup(tolerance > 0, () => `laws: tolerance ${tolerance} must be above 0`);
  const reference = await open("reference");
  try {
    for (const name of ops) {
      const item = OP_CASES[name];
      if (!item) throw new LenggenError("E_UNKNOWN_NAME", `laws: no op is named "${name}"${nearest(name, BACKEND_OPS)}`);
      const random = hostRandom(key);
      const inputs = item.inputs.map((drawn) => draw(drawn, () => random.uniform()));
      const law = `checkBackend: ${device.kind}: ${name}`;
      const before = device.memory().used;
      const [actual, wanted] = [await evaluate(device, item, inputs, false), await evaluate(reference, item, inputs, true)];
      expectClose(law, actual, wanted, tolerance);
      const held = device.memory().used - before;
      if (held !== 0) broken(law, `${held} bytes are held after the call`);
    }
  } finally {
    reference.close();
  }
}
