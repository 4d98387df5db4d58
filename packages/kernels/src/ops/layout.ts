/**
 * Index arithmetic that several families share: strides, broadcasting, reductions. All of it happens once per
 * launch, so that kernels see few, long axes.
 */
import { type Shape, sizeOf } from "../shape";

/** Row-major strides in elements: [2,3,4] -> [12,4,1]. */
export function stridesOf(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  let step = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = step;
    step *= shape[i]!;
  }
  return strides;
}

/** Strides that read a tensor of `shape` as if it had the shape `to`: 0 along stretched axes. */
export function broadcastStrides(shape: Shape, to: Shape): number[] {
  const own = stridesOf(shape);
  const lead = to.length - shape.length;
  return to.map((_, i) => (i < lead || shape[i - lead] === 1 ? 0 : own[i - lead]!));
}

/** A loop nest: axis i has sizes[i] steps, and operand k moves by strides[k][i] elements per step. */
export interface Layout {
  readonly sizes: readonly number[];
  readonly strides: readonly (readonly number[])[];
}

/**
 * The same loop nest with as few axes as possible: axes of size 1 go, and neighbours merge where every operand
 * walks through both as through one. At least one axis is left.
 */
export function collapse({ sizes, strides }: Layout): Layout {
  const outSizes: number[] = [];
  const out = strides.map((): number[] => []);
  sizes.forEach((size, i) => {
    if (size === 1) return;
    const last = outSizes.length - 1;
    if (last >= 0 && strides.every((s, k) => out[k]![last] === s[i]! * size)) {
      outSizes[last] = outSizes[last]! * size;
      strides.forEach((s, k) => (out[k]![last] = s[i]!));
      return;
    }
    outSizes.push(size);
    strides.forEach((s, k) => out[k]!.push(s[i]!));
  });
  if (outSizes.length > 0) return { sizes: outSizes, strides: out };
  return { sizes: [1], strides: strides.map(() => [1]) };
}

/** One step of a reduction: [outer, length, inner] -> [outer, inner]. */
export interface ReductionPass {
  readonly outer: number;
  readonly length: number;
  readonly inner: number;
}

/**
 * Splits a reduction over any axes into passes over one run of neighbouring axes each, from the last run to the
 * first. There is always at least one pass.
 */
export function reductionPasses(shape: Shape, axes: ReadonlySet<number>): ReductionPass[] {
  const passes: ReductionPass[] = [];
  let inner = 1;
  for (let end = shape.length; end > 0; ) {
    if (!axes.has(end - 1)) {
      inner *= shape[--end]!;
      continue;
    }
    let start = end - 1;
    while (start > 0 && axes.has(start - 1)) start--;
    passes.push({ outer: sizeOf(shape.slice(0, start)), length: sizeOf(shape.slice(start, end)), inner });
    end = start;
  }
  return passes.length > 0 ? passes : [{ outer: sizeOf(shape), length: 1, inner: 1 }];
}
