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
import { kernelsOf } from "../kernels";
import { apply, checkTensors, like, type Op } from "../op";
import { normalizeAxis, type Shape, showShape, sizeOf } from "../shape";
import type { Family } from "../signature";
import { Tensor } from "../tensor";
import { checkReal } from "./checks";
import type { elementwiseKernels } from "./elementwise";
import { broadcastStrides, collapse, type Layout, stridesOf } from "./layout";
import { runPasses } from "./sums";
import type { viewKernels } from "./copy";

/** Beside the passes of sums.ts. */
export const rowKernels = {
  /** y is the softmax of each row, or its logarithm. */
  softmax: { numbers: { rows: "size", width: "size", logarithm: "flag" }, reads: { x: "[rows,width]" }, writes: { y: "[rows,width]" } },
  softmaxGradient: {
    numbers: { rows: "size", width: "size", logarithm: "flag" },
    reads: { y: "[rows,width]", dy: "[rows,width]" },
    writes: { dx: "[rows,width]" },
  },
  /** Index of the largest element, the first among equals; NaN counts as the largest. width >= 1. */
  argmax: { numbers: { rows: "size", width: "size" }, reads: { x: "[rows,width]" }, writes: { out: "i32[rows]" } },
} as const satisfies Family;

const kernels = kernelsOf<typeof rowKernels & typeof elementwiseKernels & typeof viewKernels>;

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
  checkTensors(what, { x });
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

/** Copies `small` (a tensor of the kept shape) over the reduced axes of `shape`. Not recorded. */
function spread(small: Tensor, kept: Shape, shape: Shape): Tensor {
  const out = Tensor.empty(small.device, shape, small.dtype);
  const layout = collapse({ sizes: shape, strides: [broadcastStrides(kept, shape), stridesOf(shape)] });
  kernels(small).copyStrided({ x: small, out, xOffset: 0, outOffset: 0, layout });
  return out;
}

/** What goes in and out of a reduction. */
type X = { readonly x: Tensor };
type Y = { readonly y: Tensor };

function sumOp(name: "sum" | "mean"): Op<X, Y, ReduceAttributes> {
  const factorOf = (shape: Shape, axes: ReadonlySet<number>) => (name === "sum" ? 1 : 1 / countOf(shape, axes));
  return {
    name,
    outputs({ x }, attributes) {
      checkReal(name, { x });
      check(name === "sum" || countOf(x.shape, attributes.axes) > 0, "E_SHAPE", () =>
        `mean: x ${showShape(x.shape)} has no elements along the axes to average over`);
      return { y: { shape: reducedShape(x.shape, attributes), dtype: x.dtype } };
    },
    forward({ x }, { y }, { axes }) {
      runPasses("reduceSum", x, axes, y, factorOf(x.shape, axes));
    },
    gradient({ inputs: { x }, attributes: { axes } }, { y: dy }) {
      const scaled = like(dy);
      kernels(dy).affine({ x: dy, y: scaled, scale: factorOf(x.shape, axes), shift: 0 });
      const dx = spread(scaled, keptShape(x.shape, axes), x.shape);
      scaled.dispose();
      return { x: dx };
    },
  };
}

const SUM = /* @__PURE__ */ sumOp("sum");
const MEAN = /* @__PURE__ */ sumOp("mean");

/** Sum over some axes, or all of them. The sum over no elements is 0. */
export function sum(x: Tensor, options: ReduceOptions = {}): Tensor {
  return apply(SUM, { x }, attributesOf(x, options, "sum")).y;
}

/** Mean over some axes, or all of them. Throws `E_SHAPE` for the mean of no elements. */
export function mean(x: Tensor, options: ReduceOptions = {}): Tensor {
  return apply(MEAN, { x }, attributesOf(x, options, "mean")).y;
}

const maxOp: Op<X, Y, ReduceAttributes> = {
  name: "max",
  outputs({ x }, attributes) {
    checkReal("max", { x });
    check(countOf(x.shape, attributes.axes) > 0, "E_SHAPE", () =>
      `max: x ${showShape(x.shape)} has no elements along the axes to search`);
    return { y: { shape: reducedShape(x.shape, attributes), dtype: x.dtype } };
  },
  forward({ x }, { y }, { axes }) {
    runPasses("reduceMax", x, axes, y, 1);
  },
  gradient({ inputs: { x }, outputs: { y }, attributes: { axes } }, { y: dy }) {
    const [mask, ties, share, dx] = [like(x), like(y), like(y), like(x)];
    const layout = collapseAgainst(keptShape(x.shape, axes), x.shape);
    kernels(x).binary({ op: "equal", a: x, b: y, out: mask, layout });
    runPasses("reduceSum", mask, axes, ties, 1);
    kernels(x).binary({ op: "div", a: dy, b: ties, out: share, layout: { sizes: [dy.size], strides: [[1], [1]] } });
    kernels(x).binary({ op: "mul", a: mask, b: share, out: dx, layout });
    for (const t of [mask, ties, share]) t.dispose();
    return { x: dx };
  },
};

/** Layout of a whole tensor beside one of the kept shape that stretches to it. */
function collapseAgainst(kept: Shape, shape: Shape): Layout {
  return collapse({ sizes: shape, strides: [stridesOf(shape), broadcastStrides(kept, shape)] });
}

/** Largest element over some axes, or all of them; NaN wins. Ties share the gradient equally. `E_SHAPE` when there is none. */
export function max(x: Tensor, options: ReduceOptions = {}): Tensor {
  return apply(maxOp, { x }, attributesOf(x, options, "max")).y;
}

/** Rows and the size of the last axis. */
function rowsOf(x: Tensor, what: string): { rows: number; width: number } {
  const width = x.shape.at(-1);
  check(width !== undefined, "E_SHAPE", () => `${what}: x is a scalar; it needs at least one axis`);
  return { rows: sizeOf(x.shape.slice(0, -1)), width };
}

function softmaxOp(logarithm: boolean): Op<X, Y> {
  const name = logarithm ? "logSoftmax" : "softmax";
  return {
    name,
    outputs({ x }) {
      checkReal(name, { x });
      rowsOf(x, name);
      return { y: { shape: x.shape, dtype: x.dtype } };
    },
    forward({ x }, { y }) {
      kernels(x).softmax({ x, y, logarithm, ...rowsOf(x, name) });
    },
    gradient({ outputs: { y } }, { y: dy }) {
      const dx = like(y);
      kernels(y).softmaxGradient({ y, dy, dx, logarithm, ...rowsOf(y, name) });
      return { x: dx };
    },
  };
}

const SOFTMAX = /* @__PURE__ */ softmaxOp(false);
const LOG_SOFTMAX = /* @__PURE__ */ softmaxOp(true);

/** e^x over its sum along the last axis. */
export function softmax(x: Tensor): Tensor {
  return apply(SOFTMAX, { x }, undefined).y;
}

/** Logarithm of the softmax along the last axis, without loss for small probabilities. */
export function logSoftmax(x: Tensor): Tensor {
  return apply(LOG_SOFTMAX, { x }, undefined).y;
}

const argmaxOp: Op<X, Y> = {
  name: "argmax",
  outputs({ x }) {
    checkReal("argmax", { x });
    check(rowsOf(x, "argmax").width > 0, "E_SHAPE", () => `argmax: the last axis of x ${showShape(x.shape)} has no elements`);
    return { y: { shape: x.shape.slice(0, -1), dtype: "i32" } };
  },
  forward({ x }, { y }) {
    kernels(x).argmax({ x, out: y, ...rowsOf(x, "argmax") });
  },
  gradient: () => ({}),
};

/** Index of the largest element along the last axis, the first among equals: [..., D] -> i32 [...]. No gradient. */
export function argmax(x: Tensor): Tensor {
  return apply(argmaxOp, { x }, undefined).y;
}
