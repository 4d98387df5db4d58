/** Checks that the shape rules of several families share. */
import type { DType } from "../dtype";
import { check } from "../errors";
import { sameShape, type Shape, showShape } from "../shape";
import type { Tensor } from "../tensor";

/** Inputs with their shapes, for messages: `q [1, 2], k [3]`. */
export function showInputs(inputs: Readonly<Record<string, Tensor>>): string {
  return Object.entries(inputs).map(([name, { shape }]) => `${name} ${showShape(shape)}`).join(", ");
}

/** A check of inputs: each must have the shape that others, `given`, ask for (`E_SHAPE`). One that is null is left out. */
export function shapeCheck(
  op: string, given: Readonly<Record<string, Tensor>>,
): (name: string, t: Tensor | null, shape: Shape) => void {
  return (name, t, shape) => check(!t || sameShape(t.shape, shape), "E_SHAPE", () =>
    `${op}: ${name} ${showShape(t!.shape)} must be ${showShape(shape)} for ${showInputs(given)}`);
}

/** Refuses a number of heads that is no multiple of another: `E_SHAPE`. `from`: the inputs that have them. */
export function checkMultiple(
  op: string, count: number, what: string, of: number, parts: string, from: Readonly<Record<string, Tensor>>,
): void {
  check(of >= 1 && count % of === 0, "E_SHAPE", () => `${op}: ${count} ${what} are no multiple of ${of} ${parts} (${showInputs(from)})`);
}

/** Refuses an f16 weight beside anything but f32 (`E_DTYPE`). For ops that read such weights. */
export function checkHalf(op: string, weight: Tensor, beside: Readonly<Record<string, Tensor>>): void {
  if (weight.dtype !== "f16") return;
  for (const [name, t] of Object.entries(beside)) {
    check(t.dtype === "f32", "E_DTYPE", () => `${op}: ${name} is ${t.dtype}; beside an f16 weight it must be f32`);
  }
}

/** Refuses integers, and real tensors of different types: `E_DTYPE`. Names are those of the op's arguments. */
export function checkReal(op: string, tensors: Readonly<Record<string, Tensor | null>>): void {
  let first = "";
  let type: DType | undefined;
  for (const name in tensors) {
    const dtype = tensors[name]?.dtype;
    if (dtype === undefined || dtype === type) continue;
    check(dtype !== "i32", "E_DTYPE", () => `${op}: ${name} is i32; it must be f32 or f64`);
    check(type === undefined, "E_DTYPE", () => `${op}: ${name} is ${dtype} but ${first} is ${type}; both must have one type`);
    [first, type] = [name, dtype];
  }
}

/** The longest chunk of a scan: beyond, what is quadratic in it outweighs all else, and its square no longer fits a cache. */
const MAX_CHUNK = 256;

/** Refuses a number of steps that no scan takes as one block: `E_ARGUMENT`. */
export function checkChunk(op: string, chunk: number): void {
  check(Number.isSafeInteger(chunk) && chunk >= 1 && chunk <= MAX_CHUNK, "E_ARGUMENT", () =>
    `${op}: chunk ${chunk} must be a whole number from 1 to ${MAX_CHUNK}`);
}

/** Refuses a factor that is no number: `E_ARGUMENT`. */
export function checkScale(op: string, scale: number): void {
  check(Number.isFinite(scale), "E_ARGUMENT", () => `${op}: scale ${scale} must be a finite number`);
}
