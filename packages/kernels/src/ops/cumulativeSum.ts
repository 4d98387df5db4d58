/**
 * Running sums along one axis: y_t = start + Σ_{u<=t} x_u, or from the end, y_t = start + Σ_{u>=t} x_u; of angles, reduced to
 * 0 <= y_t < modulo. Each sum is taken in order, with what rounding lost carried along, so that its error does not grow with the length; a
 * sum with a modulo never grows, so that it keeps its digits too.
 *
 * Gradient: the running sum of dy the other way round, and for the start the sum of all dy. The reduction changes by a constant, and so
 * has the gradient 1.
 */
import { check } from "../errors";
import { kernelsOf } from "../kernels";
import { apply, checkTensors, like, type Op } from "../op";
import { normalizeAxis, sameShape, showShape, sizeOf } from "../shape";
import type { Family } from "../signature";
import type { Tensor } from "../tensor";
import { checkReal } from "./checks";
import { copyBox } from "./copy";

export const cumulativeSumKernels = {
  /** Along `length`; `reverse`: from the end; `modulo` 0 for none. */
  cumulativeSum: {
    numbers: { outer: "size", length: "size", inner: "size", reverse: "flag", modulo: "number" },
    reads: { x: "[outer,length,inner]", start: "[outer,inner]?" },
    writes: { y: "[outer,length,inner]" },
  },
} as const satisfies Family;

const kernels = kernelsOf<typeof cumulativeSumKernels>;

interface Attributes {
  readonly axis: number;
  readonly reverse: boolean;
  readonly modulo: number;
}

function run(x: Tensor, start: Tensor | null, y: Tensor, { axis, reverse, modulo }: Attributes): void {
  if (x.size === 0) return;
  const { shape } = x;
  kernels(x).cumulativeSum({ x, start, y, reverse, modulo, outer: sizeOf(shape.slice(0, axis)), length: shape[axis]!,
    inner: sizeOf(shape.slice(axis + 1)) });
}

const cumulativeSumOp: Op<{ x: Tensor; start: Tensor | null }, { y: Tensor }, Attributes> = {
  name: "cumulativeSum",
  optional: ["start"],
  outputs({ x, start }, { axis, modulo }) {
    checkReal("cumulativeSum", { x, start });
    check(!start || sameShape(start.shape, x.shape.toSpliced(axis, 1)), "E_SHAPE", () =>
      `cumulativeSum: start ${showShape(start!.shape)} must be x ${showShape(x.shape)} without axis ${axis}`);
    check(!start || x.shape[axis]! > 0, "E_SHAPE", () =>
      `cumulativeSum: with a start, x ${showShape(x.shape)} must have at least one step`);
    check(modulo === 0 || (modulo > 0 && Number.isFinite(modulo)), "E_ARGUMENT", () =>
      `cumulativeSum: modulo ${modulo} must be a finite number above 0`);
    return { y: { shape: x.shape, dtype: x.dtype } };
  },
  forward({ x, start }, { y }, attributes) {
    run(x, start, y, attributes);
  },
  gradient({ inputs: { start }, attributes: { axis, reverse }, wanted }, { y: dy }) {
    const dx = like(dy);
    run(dy, null, dx, { axis, reverse: !reverse, modulo: 0 });
    if (!start || !wanted.start) return { x: dx };
    // The gradient of the first step in its order is the sum of all.
    const dstart = like(start);
    const [outer, length, inner] = [sizeOf(dy.shape.slice(0, axis)), dy.shape[axis]!, sizeOf(dy.shape.slice(axis + 1))];
    copyBox(dx, dstart, [outer, inner], [length * inner, 1], [inner, 1], reverse ? (length - 1) * inner : 0);
    return { x: dx, start: dstart };
  },
};

/**
 * Running sums of x along an axis (the last unless given), of the same shape; `reverse` sums from the end. `start`, of the shape of x
 * without that axis, is what they begin from: the sums of what came before. With `modulo` they are reduced to 0 <= y < modulo, which
 * gradients pass. Differentiable. Throws `E_SHAPE`, `E_DTYPE`, `E_ARGUMENT`.
 */
export function cumulativeSum(
  x: Tensor, axis = -1, options: { reverse?: boolean; start?: Tensor | null; modulo?: number } = {},
): Tensor {
  const { reverse = false, start = null, modulo = 0 } = options;
  checkTensors("cumulativeSum", { x });
  return apply(cumulativeSumOp, { x, start }, { axis: normalizeAxis(axis, x.shape.length, "cumulativeSum"), reverse, modulo }).y;
}
