/** Checks that the shape rules of several families share. */
import { check } from "../errors";
import type { Tensor } from "../tensor";

/** Refuses an f16 weight beside anything but f32 (`E_DTYPE`). For ops that read such weights. */
export function checkHalf(op: string, weight: Tensor, beside: Readonly<Record<string, Tensor>>): void {
  if (weight.dtype !== "f16") return;
  for (const [name, t] of Object.entries(beside)) {
    check(t.dtype === "f32", "E_DTYPE", () => `${op}: ${name} is ${t.dtype}; beside an f16 weight it must be f32`);
  }
}

/** Refuses integers, and real tensors of different types: `E_DTYPE`. Names are those of the op's arguments. */
export function checkReal(op: string, tensors: Readonly<Record<string, Tensor | null>>): void {
  let first: { name: string; dtype: string } | undefined;
  for (const [name, t] of Object.entries(tensors)) {
    if (t === null) continue;
    check(t.dtype !== "i32", "E_DTYPE", () => `${op}: ${name} is i32; it must be f32 or f64`);
    first ??= { name, dtype: t.dtype };
    check(t.dtype === first.dtype, "E_DTYPE", () =>
      `${op}: ${name} is ${t.dtype} but ${first!.name} is ${first!.dtype}; both must have one type`);
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
