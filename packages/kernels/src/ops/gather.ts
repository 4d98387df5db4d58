/**
 * Picking elements by indices along one axis: y[o,c,i] = x[o, index[o,c,i], i].
 *
 * Gradient: dx[o,s,i] = Σ over c with index[o,c,i] = s of dy[o,c,i], added in the order of c.
 */
import { check } from "../errors";
import { kernelsOf } from "../kernels";
import { apply, checkTensors, like, type Op } from "../op";
import { normalizeAxis, sameShape, showShape, sizeOf } from "../shape";
import type { Family } from "../signature";
import type { Tensor } from "../tensor";
import { checkReal } from "./checks";

const sizes = { outer: "size", size: "size", count: "size", inner: "size" } as const;

export const gatherKernels = {
  /** An index below 0 gives 0; one beyond the last counts as the last. size >= 1. */
  gather: {
    numbers: sizes,
    reads: { x: "[outer,size,inner]", indices: "i32[outer,count,inner]" },
    writes: { y: "[outer,count,inner]" },
  },
  gatherGradient: {
    numbers: sizes,
    reads: { indices: "i32[outer,count,inner]", dy: "[outer,count,inner]" },
    writes: { dx: "[outer,size,inner]" },
  },
} as const satisfies Family;

const kernels = kernelsOf<typeof gatherKernels>;

function sizesOf(x: Tensor, indices: Tensor, axis: number) {
  const { shape } = x;
  return { outer: sizeOf(shape.slice(0, axis)), size: shape[axis]!, count: indices.shape[axis]!, inner: sizeOf(shape.slice(axis + 1)) };
}

const gatherOp: Op<{ x: Tensor; indices: Tensor }, { y: Tensor }, { readonly axis: number }> = {
  name: "gather",
  outputs({ x, indices }, { axis }) {
    checkReal("gather", { x });
    check(indices.dtype === "i32", "E_DTYPE", () => `gather: indices are ${indices.dtype}; they must be i32`);
    const alike = indices.shape.length === x.shape.length && sameShape(indices.shape.with(axis, 0), x.shape.with(axis, 0));
    check(alike && x.shape[axis]! >= 1, "E_SHAPE", () =>
      `gather: indices ${showShape(indices.shape)} must have the shape of x ${showShape(x.shape)} in all axes but ${axis}, where x must `
        + "not be empty");
    return { y: { shape: indices.shape, dtype: x.dtype } };
  },
  forward({ x, indices }, { y }, { axis }) {
    if (y.size > 0) kernels(x).gather({ x, indices, y, ...sizesOf(x, indices, axis) });
  },
  gradient({ inputs: { x, indices }, attributes: { axis } }, { y: dy }) {
    const dx = like(x);
    kernels(x).gatherGradient({ indices, dy, dx, ...sizesOf(x, indices, axis) });
    return { x: dx };
  },
};

/**
 * The elements of x that `indices` (i32) name along an axis (the last unless given): y[..., c, ...] = x[..., indices[..., c, ...], ...].
 * Indices have the shape of x in all other axes. One below 0 gives 0 and passes no gradient; one beyond the last counts as the last.
 * Throws `E_SHAPE`, `E_DTYPE`.
 */
export function gather(x: Tensor, indices: Tensor, axis = -1): Tensor {
  checkTensors("gather", { x });
  return apply(gatherOp, { x, indices }, { axis: normalizeAxis(axis, x.shape.length, "gather") }).y;
}
