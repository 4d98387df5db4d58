/**
 * Reductions over any axes as passes over one run of neighbours each, and the gradient of broadcasting, which is one: what several
 * families use.
 */
import { kernelsOf } from "../kernels";
import type { Shape } from "../shape";
import type { Family } from "../signature";
import { Tensor } from "../tensor";
import { reductionPasses } from "./layout";

/** The family `reduce`, beside what ops/reduce.ts has of its own. */
export const passKernels = {
  /** scale · Σ over the length; 0 when the length is 0. */
  reduceSum: {
    numbers: { outer: "size", length: "size", inner: "size", scale: "number" },
    reads: { x: "[outer,length,inner]" },
    writes: { out: "[outer,inner]" },
  },
  /** length >= 1. NaN wins. */
  reduceMax: {
    numbers: { outer: "size", length: "size", inner: "size" },
    reads: { x: "[outer,length,inner]" },
    writes: { out: "[outer,inner]" },
  },
} as const satisfies Family;

const kernels = kernelsOf<typeof passKernels>;

/** Runs the passes of a reduction; the last one writes to `out`. */
export function runPasses(kind: "reduceSum" | "reduceMax", x: Tensor, axes: ReadonlySet<number>, out: Tensor, factor: number): void {
  const passes = reductionPasses(x.shape, axes);
  let from = x;
  passes.forEach((pass, i) => {
    const last = i === passes.length - 1;
    const to = last ? out : Tensor.empty(x.device, [pass.outer * pass.inner], x.dtype);
    kernels(x)[kind]({ x: from, out: to, scale: last ? factor : 1, ...pass });
    if (from !== x) from.dispose();
    from = to;
  });
}

/**
 * factor · the sum of `x` over the axes along which `target`, another shape, would be stretched to x's: the gradient of
 * broadcasting. Not recorded. Always a fresh tensor.
 */
export function sumToShape(x: Tensor, target: Shape, factor: number): Tensor {
  const lead = x.shape.length - target.length;
  const axes = new Set(x.shape.flatMap((size, i) => (i < lead || (target[i - lead] === 1 && size !== 1) ? [i] : [])));
  const out = Tensor.empty(x.device, target, x.dtype);
  runPasses("reduceSum", x, axes, out, factor);
  return out;
}
