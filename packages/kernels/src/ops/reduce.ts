/**
 * Reductions. Sums run in an order fixed by the shapes, in blocks, so that the error grows slowly with the length
 * and the bits do not depend on the number of threads.
 *
 * Gradients:
 *   sum: dy spread over the reduced axes;   mean: the same, divided by the number of elements
 *   max: dy, shared equally among the elements that attain the maximum
 *   softmax: dx = y (dy - Σ dy·y);   logSoftmax: dx = dy - e^y Σ dy
 */
import { check } from "../errors";
import { applyList, type ListOp } from "../opList";
import { normalizeAxis, type Shape, showShape, sizeOf } from "../shape";
import { Tensor } from "../tensor";
import { checkReal } from "./checks";
import { broadcastStrides, collapse, type Layout, reductionPasses, stridesOf } from "./layout";

export interface ReduceKernels {
  /** x [outer, length, inner] -> out [outer, inner]: scale · Σ over the length; 0 when the length is 0. */
  reduceSum(args: { x: Tensor; out: Tensor; outer: number; length: number; inner: number; scale: number }): void;
  /** x [outer, length, inner] -> out [outer, inner], length >= 1. NaN wins. */
  reduceMax(args: { x: Tensor; out: Tensor; outer: number; length: number; inner: number }): void;
  /** Over rows [rows, width]; y is the softmax, or its logarithm. */
  softmax(args: { x: Tensor; y: Tensor; rows: number; width: number; logarithm: boolean }): void;
  softmaxGradient(args: { y: Tensor; dy: Tensor; dx: Tensor; rows: number; width: number; logarithm: boolean }): void;
  /** out [rows] i32: index of the largest element, the first among equals; NaN counts as the largest. width >= 1. */
  argmax(args: { x: Tensor; out: Tensor; rows: number; width: number }): void;
}

/** Options of reductions over some axes. */
export interface ReduceOptions {
  /** Axes to reduce, counted from the end when negative; all of them unless given. */
  readonly axes?: number | readonly number[];
  /** Keeps reduced axes with size 1. */
  readonly keepDims?: boolean;
}

interface ReduceAttributes {
  readonly axes: ReadonlySet<number>;
  readonly keepDims: boolean;
}

function attributesOf(x: Tensor, { axes, keepDims = false }: ReduceOptions, what: string): ReduceAttributes {
  const rank = x.shape.length;
  const list = axes === undefined ? x.shape.map((_, i) => i) : typeof axes === "number" ? [axes] : axes;
  const set = new Set(list.map((axis) => normalizeAxis(axis, rank, what)));
  check(set.size === list.length, "E_ARGUMENT", () => `${what}: axes [${list.join(", ")}] name one axis twice`);
  return { axes: set, keepDims };
}

function keptShape(shape: Shape, axes: ReadonlySet<number>): number[] {
  return shape.map((size, i) => (axes.has(i) ? 1 : size));
}

function reducedShape(shape: Shape, { axes, keepDims }: ReduceAttributes): number[] {
  return keepDims ? keptShape(shape, axes) : shape.filter((_, i) => !axes.has(i));
}

/** Number of elements behind each result. */
function countOf(shape: Shape, axes: ReadonlySet<number>): number {
  return sizeOf(shape.filter((_, i) => axes.has(i)));
}

/** Runs the passes of a reduction; the last one writes to `out`. */
function runPasses(kind: "reduceSum" | "reduceMax", x: Tensor, axes: ReadonlySet<number>, out: Tensor, factor: number): void {
  const passes = reductionPasses(x.shape, axes);
  let from = x;
  passes.forEach((pass, i) => {
    const last = i === passes.length - 1;
    const to = last ? out : Tensor.empty(x.device, [pass.outer * pass.inner], x.dtype);
    if (kind === "reduceSum") x.device.kernels.reduceSum({ x: from, out: to, ...pass, scale: last ? factor : 1 });
    else x.device.kernels.reduceMax({ x: from, out: to, ...pass });
    if (from !== x) from.dispose();
    from = to;
  });
}

/**
 * factor · the sum of `x` over the axes along which `target` would be stretched to x's shape: the gradient of
 * broadcasting. Not recorded. Always a fresh tensor.
 */
export function sumToShape(x: Tensor, target: Shape, factor: number): Tensor {
  const lead = x.shape.length - target.length;
  const axes = new Set(x.shape.flatMap((size, i) => (i < lead || (target[i - lead] === 1 && size !== 1) ? [i] : [])));
  const out = Tensor.empty(x.device, target, x.dtype);
  if (axes.size === 0) x.device.kernels.affine({ x, y: out, scale: factor, shift: 0 });
  else runPasses("reduceSum", x, axes, out, factor);
  return out;
}

/** Copies `small` (a tensor of the kept shape) over the reduced axes of `shape`. Not recorded. */
function spread(small: Tensor, kept: Shape, shape: Shape): Tensor {
  const out = Tensor.empty(small.device, shape, small.dtype);
  const layout = collapse({ sizes: shape, strides: [broadcastStrides(kept, shape), stridesOf(shape)] });
  small.device.kernels.copyStrided({ x: small, out, xOffset: 0, outOffset: 0, layout });
  return out;
}

function sumOp(name: "sum" | "mean"): ListOp<ReduceAttributes> {
  const factorOf = (shape: Shape, axes: ReadonlySet<number>) => (name === "sum" ? 1 : 1 / countOf(shape, axes));
  return {
    name,
    outputs([x], attributes) {
      checkReal(name, { x: x! });
      check(name === "sum" || countOf(x!.shape, attributes.axes) > 0, "E_SHAPE", () =>
        `mean: x ${showShape(x!.shape)} has no elements along the axes to average over`);
      return [{ shape: reducedShape(x!.shape, attributes), dtype: x!.dtype }];
    },
    forward([x], [out], { axes }) {
      runPasses("reduceSum", x!, axes, out!, factorOf(x!.shape, axes));
    },
    gradient({ inputs: [x], attributes: { axes } }, [dy]) {
      const scaled = Tensor.empty(dy!.device, dy!.shape, dy!.dtype);
      dy!.device.kernels.affine({ x: dy!, y: scaled, scale: factorOf(x!.shape, axes), shift: 0 });
      const dx = spread(scaled, keptShape(x!.shape, axes), x!.shape);
      scaled.dispose();
      return [dx];
    },
  };
}

const SUM = sumOp("sum");
const MEAN = sumOp("mean");

/** Sum over some axes, or all of them. The sum over no elements is 0. */
export function sum(x: Tensor, options: ReduceOptions = {}): Tensor {
  return applyList(SUM, [x], attributesOf(x, options, "sum"))[0]!;
}

/** Mean over some axes, or all of them. Throws `E_SHAPE` for the mean of no elements. */
export function mean(x: Tensor, options: ReduceOptions = {}): Tensor {
  return applyList(MEAN, [x], attributesOf(x, options, "mean"))[0]!;
}

const maxOp: ListOp<ReduceAttributes> = {
  name: "max",
  outputs([x], attributes) {
    checkReal("max", { x: x! });
    check(countOf(x!.shape, attributes.axes) > 0, "E_SHAPE", () =>
      `max: x ${showShape(x!.shape)} has no elements along the axes to search`);
    return [{ shape: reducedShape(x!.shape, attributes), dtype: x!.dtype }];
  },
  forward([x], [out], { axes }) {
    runPasses("reduceMax", x!, axes, out!, 1);
  },
  gradient({ inputs: [x], outputs: [y], attributes: { axes } }, [dy]) {
    const { kernels } = x!.device;
    const kept = keptShape(x!.shape, axes);
    const like = (t: Tensor) => Tensor.empty(t.device, t.shape, t.dtype);
    const [mask, ties, share, dx] = [like(x!), like(y!), like(y!), like(x!)];
    const layout = collapseAgainst(kept, x!.shape);
    kernels.binary({ op: "equal", a: x!, b: y!, out: mask, layout });
    runPasses("reduceSum", mask, axes, ties, 1);
    kernels.binary({ op: "div", a: dy!, b: ties, out: share, layout: { sizes: [dy!.size], strides: [[1], [1]] } });
    kernels.binary({ op: "mul", a: mask, b: share, out: dx, layout });
    for (const t of [mask, ties, share]) t.dispose();
    return [dx];
  },
};

/** Layout of a whole tensor beside one of the kept shape that stretches to it. */
function collapseAgainst(kept: Shape, shape: Shape): Layout {
  return collapse({ sizes: shape, strides: [stridesOf(shape), broadcastStrides(kept, shape)] });
}

/** Largest element over some axes, or all of them; NaN wins. Ties share the gradient equally. `E_SHAPE` when there is none. */
export function max(x: Tensor, options: ReduceOptions = {}): Tensor {
  return applyList(maxOp, [x], attributesOf(x, options, "max"))[0]!;
}

/** Rows and the size of the last axis. */
function rowsOf(x: Tensor, what: string): { rows: number; width: number } {
  const width = x.shape.at(-1);
  check(width !== undefined, "E_SHAPE", () => `${what}: x is a scalar; it needs at least one axis`);
  return { rows: sizeOf(x.shape.slice(0, -1)), width };
}

function softmaxOp(logarithm: boolean): ListOp<undefined> {
  const name = logarithm ? "logSoftmax" : "softmax";
  return {
    name,
    outputs([x]) {
      checkReal(name, { x: x! });
      rowsOf(x!, name);
      return [{ shape: x!.shape, dtype: x!.dtype }];
    },
    forward([x], [y]) {
      x!.device.kernels.softmax({ x: x!, y: y!, ...rowsOf(x!, name), logarithm });
    },
    gradient({ outputs: [y] }, [dy]) {
      const dx = Tensor.empty(y!.device, y!.shape, y!.dtype);
      y!.device.kernels.softmaxGradient({ y: y!, dy: dy!, dx, ...rowsOf(y!, name), logarithm });
      return [dx];
    },
  };
}

const SOFTMAX = softmaxOp(false);
const LOG_SOFTMAX = softmaxOp(true);

/** e^x over its sum along the last axis. */
export function softmax(x: Tensor): Tensor {
  return applyList(SOFTMAX, [x], undefined)[0]!;
}

/** Logarithm of the softmax along the last axis, without loss for small probabilities. */
export function logSoftmax(x: Tensor): Tensor {
  return applyList(LOG_SOFTMAX, [x], undefined)[0]!;
}

const argmaxOp: ListOp<undefined> = {
  name: "argmax",
  outputs([x]) {
    checkReal("argmax", { x: x! });
    check(rowsOf(x!, "argmax").width > 0, "E_SHAPE", () => `argmax: the last axis of x ${showShape(x!.shape)} has no elements`);
    return [{ shape: x!.shape.slice(0, -1), dtype: "i32" }];
  },
  forward([x], [out]) {
    x!.device.kernels.argmax({ x: x!, out: out!, ...rowsOf(x!, "argmax") });
  },
  gradient() {
    return [null];
  },
};

/** Index of the largest element along the last axis, the first among equals: [..., D] -> i32 [...]. No gradient. */
export function argmax(x: Tensor): Tensor {
  return applyList(argmaxOp, [x], undefined)[0]!;
}
