/**
 * Running sums along one axis: y_t = Σ_{u<=t} x_u, or from the end, y_t = Σ_{u>=t} x_u. Each sum is taken in order, with what rounding
 * lost carried along, so that its error does not grow with the length.
 *
 * Gradient: the running sum of dy the other way round.
 */
import { kernelsOf } from "../kernels";
import { apply, like, type Op } from "../op";
import { normalizeAxis, sizeOf } from "../shape";
import type { Family } from "../signature";
import type { Tensor } from "../tensor";
import { checkReal } from "./checks";

export const cumulativeSumKernels = {
  /** Along `length`; `reverse`: from the end. */
  cumulativeSum: {
    numbers: { outer: "size", length: "size", inner: "size", reverse: "flag" },
    reads: { x: "[outer,length,inner]" },
    writes: { y: "[outer,length,inner]" },
  },
} as const satisfies Family;

const kernels = kernelsOf<typeof cumulativeSumKernels>;

interface Attributes {
  readonly axis: number;
  readonly reverse: boolean;
}

function run(x: Tensor, y: Tensor, axis: number, reverse: boolean): void {
  if (x.size === 0) return;
  const { shape } = x;
  kernels(x).cumulativeSum({ x, y, reverse, outer: sizeOf(shape.slice(0, axis)), length: shape[axis]!,
    inner: sizeOf(shape.slice(axis + 1)) });
}

const cumulativeSumOp: Op<{ x: Tensor }, { y: Tensor }, Attributes> = {
  name: "cumulativeSum",
  outputs({ x }) {
    checkReal("cumulativeSum", { x });
    return { y: { shape: x.shape, dtype: x.dtype } };
  },
  forward({ x }, { y }, { axis, reverse }) {
    run(x, y, axis, reverse);
  },
  gradient({ attributes: { axis, reverse } }, { y: dy }) {
    const dx = like(dy);
    run(dy, dx, axis, !reverse);
    return { x: dx };
  },
};

/** Running sums of x along an axis (the last unless given), of the same shape; `reverse` sums from the end. Differentiable. */
export function cumulativeSum(x: Tensor, axis = -1, options: { reverse?: boolean } = {}): Tensor {
  return apply(cumulativeSumOp, { x }, { axis: normalizeAxis(axis, x.shape.length, "cumulativeSum"), reverse: options.reverse ?? false }).y;
}
