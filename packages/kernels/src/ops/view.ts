/**
 * Rearranging: the same numbers in another shape or order. `reshape` and `firstRows` share their input's memory; all others
 * copy, so that a small piece never keeps a large buffer alive.
 *
 * Gradients rearrange back; that of broadcastTo sums over the stretched axes.
 */
import { check } from "../errors";
import { kernelsOf } from "../kernels";
import { apply, checkTensors, like, type Op } from "../op";
import { broadcastShapes, normalizeAxis, sameShape, type Shape, showShape, sizeOf } from "../shape";
import { activeTape, isRecorded } from "../tape";
import { Tensor } from "../tensor";
import { zeros } from "./memory";
import type { elementwiseKernels } from "./elementwise";
import { copyBox as copy } from "./copy";
import { broadcastStrides, stridesOf } from "./layout";
import { sumToShape } from "./sums";

const kernels = kernelsOf<Pick<typeof elementwiseKernels, "affine">>;

/** The same numbers under another shape, sharing memory; one axis may be -1 and is worked out. `E_SHAPE` if sizes differ. */
export function reshape(x: Tensor, shape: Shape): Tensor {
  checkTensors("reshape", { x });
  const open = shape.filter((size) => size === -1).length;
  const rest = sizeOf(shape.filter((size) => size !== -1));
  const fits = shape.every((size) => Number.isSafeInteger(size) && size >= -1) && open <= 1 &&
    (open === 0 ? rest === x.size : rest > 0 && x.size % rest === 0);
  check(fits, "E_SHAPE", () =>
    `reshape: ${showShape(x.shape)} with ${x.size} elements can't take the shape ${showShape(shape)}`);
  const out = x.window(shape.map((size) => (size === -1 ? x.size / rest : size)));
  const tape = activeTape();
  // The walk is done with dy when it gets here, so dx may take over its memory.
  if (tape?.tracks(x)) tape.note({ name: "reshape", inputs: [x], outputs: [out], saved: [], gradient: ([dy]) => [dy!.window(x.shape)] });
  return out;
}

/**
 * The first `count` along the first axis, sharing memory: what is sliced off costs nothing, on the way back neither. For matrices with more
 * rows than mean something. `E_ARGUMENT` when there are fewer.
 */
export function firstRows(x: Tensor, count: number): Tensor {
  checkTensors("firstRows", { x });
  check(x.shape.length >= 1 && Number.isInteger(count) && count >= 0 && count <= x.shape[0]!, "E_ARGUMENT", () =>
    `firstRows: ${showShape(x.shape)} has no ${count} rows`);
  const out = x.window(x.shape.with(0, count));
  const tape = activeTape();
  // As much as arrived: the tape knows what few rows mean, and makes no tensor of zeros and copies for the others.
  if (tape?.tracks(x)) tape.note({ name: "firstRows", inputs: [x], outputs: [out], saved: [], gradient: ([dy]) =>
    [dy!.window(dy!.shape)] });
  return out;
}

interface SliceAttributes {
  readonly axis: number;
  readonly start: number;
  readonly end: number;
}

const sliceOp: Op<{ x: Tensor }, { out: Tensor }, SliceAttributes> = {
  name: "slice",
  outputs({ x }, { axis, start, end }) {
    const size = x.shape[axis]!;
    check(Number.isInteger(start) && Number.isInteger(end) && 0 <= start && start <= end && end <= size, "E_ARGUMENT", () =>
      `slice: ${start} ... ${end} is not a range within axis ${axis} of ${showShape(x.shape)} (0 <= start <= end <= ${size})`);
    return { out: { shape: x.shape.with(axis, end - start), dtype: x.dtype } };
  },
  forward({ x }, { out }, { axis, start }) {
    const strides = stridesOf(x.shape);
    copy(x, out, out.shape, strides, stridesOf(out.shape), start * strides[axis]!);
  },
  gradient({ inputs: { x }, attributes: { axis, start } }, { out: dy }) {
    const dx = zeros(x.device, x.shape, x.dtype);
    const strides = stridesOf(dx.shape);
    copy(dy, dx, dy.shape, stridesOf(dy.shape), strides, 0, start * strides[axis]!);
    return { x: dx };
  },
};

/**
 * Elements `start` to `end` (not included) along one axis, copied. Both count from the end when negative; `end` is the axis' size
 * unless given.
 */
export function slice(x: Tensor, axis: number, start: number, end?: number): Tensor {
  checkTensors("slice", { x });
  const at = normalizeAxis(axis, x.shape.length, "slice");
  const size = x.shape[at]!;
  const from = (place: number) => (place < 0 ? place + size : place);
  return apply(sliceOp, { x }, { axis: at, start: from(start), end: from(end ?? size) }).out;
}

/**
 * Writes `x`, or the first `count` of it, into `target`, in place, from `start` on along one axis; in queue order, and no gradient
 * knows of it. For buffers with spare room. Throws `E_SHAPE` when that does not fit there, `E_DTYPE` for another type, `E_SCOPE` when a
 * tape is recording either.
 */
export function assignSlice(target: Tensor, x: Tensor, axis: number, start: number, count?: number): void {
  checkTensors("assignSlice", { target, x });
  const at = normalizeAxis(axis, target.shape.length, "assignSlice");
  const alike = x.shape.length === target.shape.length && sameShape(x.shape.with(at, 0), target.shape.with(at, 0));
  const rows = count ?? x.shape[at]!;
  const fits = alike && [start, rows].every((n) => Number.isInteger(n) && n >= 0) && rows <= x.shape[at]!
    && start + rows <= target.shape[at]!;
  check(fits, "E_SHAPE", () =>
    `assignSlice: ${count === undefined ? "" : `${count} of `}${showShape(x.shape)} does not fit into ${showShape(target.shape)} from `
      + `${start} of axis ${at}`);
  check(x.dtype === target.dtype, "E_DTYPE", () => `assignSlice: x is ${x.dtype}, the target ${target.dtype}`);
  check(!isRecorded(target, x), "E_SCOPE", () =>
    "assignSlice: a tape is recording; write in place outside of it, or join tensors with concat");
  const strides = stridesOf(target.shape);
  copy(x, target, x.shape.with(at, rows), stridesOf(x.shape), strides, 0, start * strides[at]!);
}

/**
 * `x` with room for `size` along an axis; what is behind its numbers there is undefined. Where the device can make a buffer longer and
 * all outer axes are 1, both are in the same memory from then on, and x may be read and written as before; elsewhere the result is a
 * copy. Throws `E_SHAPE` for less room than there is, `E_MEMORY` when the device has none, `E_SCOPE` when a tape is recording x.
 */
export function extended(x: Tensor, axis: number, size: number): Tensor {
  checkTensors("extended", { x });
  const at = normalizeAxis(axis, x.shape.length, "extended");
  check(Number.isInteger(size) && size >= x.shape[at]!, "E_SHAPE",
    () => `extended: axis ${at} of ${showShape(x.shape)} can't be made ${size}`);
  check(!isRecorded(x), "E_SCOPE", () => "extended: a tape is recording; join tensors with concat");
  const shape = x.shape.with(at, size);
  const longer = sizeOf(x.shape.slice(0, at)) === 1 ? x.lengthened(shape) : null;
  if (longer) return longer;
  const copied = Tensor.empty(x.device, shape, x.dtype);
  assignSlice(copied, x, at, 0);
  return copied;
}

const concatOp: Op<{ list: readonly Tensor[] }, { out: Tensor }, { readonly axis: number }> = {
  name: "concat",
  outputs({ list }, { axis }) {
    const first = list[0]!;
    list.forEach((t, i) => {
      check(t.dtype === first.dtype, "E_DTYPE", () => `concat: item ${i} is ${t.dtype} but item 0 is ${first.dtype}`);
      check(t.shape.length === first.shape.length && sameShape(t.shape.with(axis, 0), first.shape.with(axis, 0)), "E_SHAPE", () =>
        `concat: item ${i} ${showShape(t.shape)} and item 0 ${showShape(first.shape)} must agree in all axes but ${axis}`);
    });
    const total = list.reduce((size, t) => size + t.shape[axis]!, 0);
    return { out: { shape: first.shape.with(axis, total), dtype: first.dtype } };
  },
  forward({ list }, { out }, { axis }) {
    const strides = stridesOf(out.shape);
    let start = 0;
    for (const t of list) {
      copy(t, out, t.shape, stridesOf(t.shape), strides, 0, start * strides[axis]!);
      start += t.shape[axis]!;
    }
  },
  gradient({ inputs: { list }, wanted, attributes: { axis } }, { out: dy }) {
    const strides = stridesOf(dy.shape);
    let start = 0;
    const gradients = list.map((t, i) => {
      const offset = start * strides[axis]!;
      start += t.shape[axis]!;
      if (!wanted.list[i]) return null;
      const dx = like(t);
      copy(dy, dx, dx.shape, strides, stridesOf(dx.shape), offset);
      return dx;
    });
    return { list: gradients };
  },
};

/** Joins tensors along one axis; they agree in all others. `E_ARGUMENT` for an empty list. */
export function concat(list: readonly Tensor[], axis: number): Tensor {
  checkTensors("concat", { list });
  const [first] = list;
  check(first, "E_ARGUMENT", () => "concat: the list of tensors is empty");
  return apply(concatOp, { list }, { axis: normalizeAxis(axis, first.shape.length, "concat") }).out;
}

/** Axis i of `out` is x's axis permutation[i]. */
function permute(x: Tensor, out: Tensor, permutation: readonly number[]): void {
  const strides = stridesOf(x.shape);
  copy(x, out, out.shape, permutation.map((axis) => strides[axis]!), stridesOf(out.shape));
}

const transposeOp: Op<{ x: Tensor }, { out: Tensor }, { readonly permutation: readonly number[] }> = {
  name: "transpose",
  outputs: ({ x }, { permutation }) => ({ out: { shape: permutation.map((axis) => x.shape[axis]!), dtype: x.dtype } }),
  forward({ x }, { out }, { permutation }) {
    permute(x, out, permutation);
  },
  gradient({ inputs: { x }, attributes: { permutation } }, { out: dy }) {
    const dx = like(x);
    permute(dy, dx, permutation.map((_, axis) => permutation.indexOf(axis)));
    return { x: dx };
  },
};

/** Reorders axes, copying: axis i of the result is axis permutation[i] of x. Reverses all axes unless given. */
export function transpose(x: Tensor, permutation?: readonly number[]): Tensor {
  checkTensors("transpose", { x });
  const rank = x.shape.length;
  const given = permutation ?? x.shape.map((_, i) => rank - 1 - i);
  const axes = given.map((axis) => normalizeAxis(axis, rank, "transpose"));
  check(axes.length === rank && new Set(axes).size === rank, "E_ARGUMENT", () =>
    `transpose: [${given.join(", ")}] must name each of the ${rank} axes of ${showShape(x.shape)} once`);
  return apply(transposeOp, { x }, { permutation: axes }).out;
}

const broadcastToOp: Op<{ x: Tensor }, { out: Tensor }, { readonly shape: Shape }> = {
  name: "broadcastTo",
  outputs({ x }, { shape }) {
    check(sameShape(broadcastShapes(x.shape, shape, "broadcastTo"), shape), "E_SHAPE", () =>
      `broadcastTo: ${showShape(x.shape)} does not stretch to ${showShape(shape)}`);
    return { out: { shape, dtype: x.dtype } };
  },
  forward({ x }, { out }) {
    copy(x, out, out.shape, broadcastStrides(x.shape, out.shape), stridesOf(out.shape));
  },
  gradient({ inputs: { x } }, { out: dy }) {
    if (!sameShape(x.shape, dy.shape)) return { x: sumToShape(dy, x.shape, 1) };
    const dx = like(x);
    kernels(x).affine({ x: dy, y: dx, scale: 1, shift: 0 });
    return { x: dx };
  },
};

/** Stretches axes of size 1, and adds leading ones, after NumPy's rule; copies. */
export function broadcastTo(x: Tensor, shape: Shape): Tensor {
  return apply(broadcastToOp, { x }, { shape }).out;
}
