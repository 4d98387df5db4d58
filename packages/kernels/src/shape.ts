import { check } from "./errors";

/** Sizes of a tensor's axes, outermost first; tensors are dense and row-major. */
export type Shape = readonly number[];

/** Number of elements. The product over no axes is 1: a scalar. */
export function sizeOf(shape: Shape): number {
  return shape.reduce((product, axis) => product * axis, 1);
}

/** Whether two shapes are equal. */
export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((axis, i) => axis === b[i]);
}

/** A shape for messages: `[2, 3]`. */
export function showShape(shape: Shape): string {
  return `[${shape.join(", ")}]`;
}

/** Refuses what is not a list of whole numbers >= 0 whose product is a safe integer. */
export function checkShape(shape: Shape, what: string): void {
  check(shape.every((axis) => Number.isSafeInteger(axis) && axis >= 0), "E_SHAPE", () =>
    `${what}: shape ${showShape(shape)} must hold whole numbers of at least 0`);
  check(Number.isSafeInteger(sizeOf(shape)), "E_SHAPE", () => `${what}: shape ${showShape(shape)} has too many elements`);
}

/** The shape that two operands broadcast to, after NumPy's rule: axes align at the right; 1 stretches. */
export function broadcastShapes(a: Shape, b: Shape, what: string): number[] {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, i) => {
    const m = a[a.length - rank + i] ?? 1;
    const n = b[b.length - rank + i] ?? 1;
    check(m === n || m === 1 || n === 1, "E_SHAPE", () =>
      `${what}: shapes ${showShape(a)} and ${showShape(b)} do not broadcast (axis ${i} is ${m} against ${n})`);
    return m === 1 ? n : m;
  });
}

/** Maps a possibly negative axis to 0 ... rank - 1. */
export function normalizeAxis(axis: number, rank: number, what: string): number {
  check(Number.isInteger(axis) && axis >= -rank && axis < rank, "E_ARGUMENT", () =>
    `${what}: axis ${axis} is outside -${rank} ... ${rank - 1}`);
  return axis < 0 ? axis + rank : axis;
}
