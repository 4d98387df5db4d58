/**
 * Elementwise functions, of one tensor and of two with broadcasting after NumPy's rule.
 *
 * Gradients, with y = f(x):
 *
 *   neg -1   exp y   log 1/x   sqrt 1/(2y)   square 2x   tanh 1 - y²   sigmoid y(1 - y)
 *   silu s(1 + x(1 - s)) with s = sigmoid(x)   softplus sigmoid(x)   relu 1 where x > 0, else 0
 *
 * Those of two operands are summed over the axes along which the operand was stretched.
 */
import { check } from "../errors";
import { kernelsOf } from "../kernels";
import { apply, like, type Op } from "../op";
import { broadcastShapes, sameShape, type Shape, sizeOf } from "../shape";
import type { Family } from "../signature";
import { Tensor } from "../tensor";
import { checkReal } from "./checks";
import { broadcastStrides, collapse, type Layout } from "./layout";
import { sumToShape } from "./sums";

const UNARY = ["neg", "exp", "log", "sqrt", "square", "sigmoid", "silu", "softplus", "tanh", "relu"] as const;

/** `equal` and `less` give 1 where that is so and 0 elsewhere; they pass no gradient. */
const BINARY = ["add", "sub", "mul", "div", "equal", "less"] as const;

export type UnaryName = (typeof UNARY)[number];
export type BinaryName = (typeof BINARY)[number];

/**
 * All tensors of a kernel have one size, but a and b: a layout's strides are those of the two, beside what is dense in the order of its
 * sizes.
 */
export const elementwiseKernels = {
  /** y = f(x) */
  unary: { numbers: { op: UNARY }, reads: { x: "[*]" }, writes: { y: "[*]" } },
  /** dx = dy · f'(x), from whichever of x and y = f(x) is handier. */
  unaryGradient: { numbers: { op: UNARY }, reads: { x: "[*]", y: "[*]", dy: "[*]" }, writes: { dx: "[*]" } },
  /** y = scale · x + shift */
  affine: { numbers: { scale: "real", shift: "real" }, reads: { x: "[*]" }, writes: { y: "[*]" } },
  /** out = a ∘ b */
  binary: { numbers: { op: BINARY, layout: "nest" }, reads: { a: "[*]", b: "[*]" }, writes: { out: "[*]" } },
  /** out = dy · ∂(a ∘ b)/∂operand, before any sum over stretched axes. */
  binaryGradient: {
    numbers: { op: ["mul", "div"], operand: ["a", "b"], layout: "nest" },
    reads: { a: "[*]", b: "[*]", dy: "[*]" },
    writes: { out: "[*]" },
  },
} as const satisfies Family;

const kernels = kernelsOf<typeof elementwiseKernels>;

function unaryOp(op: UnaryName): Op<{ x: Tensor }, { y: Tensor }> {
  return {
    name: op,
    outputs({ x }) {
      checkReal(op, { x });
      return { y: { shape: x.shape, dtype: x.dtype } };
    },
    forward({ x }, { y }) {
      kernels(x).unary({ op, x, y });
    },
    gradient({ inputs: { x }, outputs: { y } }, { y: dy }) {
      const dx = like(x);
      kernels(x).unaryGradient({ op, x, y, dy, dx });
      return { x: dx };
    },
  };
}

function unary(op: UnaryName): (x: Tensor) => Tensor {
  const object = unaryOp(op);
  return (x) => apply(object, { x }, undefined).y;
}

/** The negative -x. */
export const neg = /* @__PURE__ */ unary("neg");
/** The exponential eˣ. */
export const exp = /* @__PURE__ */ unary("exp");
/** Natural logarithm; NaN below 0. */
export const log = /* @__PURE__ */ unary("log");
/** Square root; NaN below 0. The gradient at 0 is infinite. */
export const sqrt = /* @__PURE__ */ unary("sqrt");
/** The square x². */
export const square = /* @__PURE__ */ unary("square");
/** Logistic function 1 / (1 + e⁻ˣ). */
export const sigmoid = /* @__PURE__ */ unary("sigmoid");
/** Sigmoid linear unit (swish): x · sigmoid(x). */
export const silu = /* @__PURE__ */ unary("silu");
/** Smooth positive part log(1 + eˣ), without overflow. */
export const softplus = /* @__PURE__ */ unary("softplus");
/** Hyperbolic tangent. */
export const tanh = /* @__PURE__ */ unary("tanh");
/** Rectifier: x above 0, else 0; the gradient at 0 is 0. */
export const relu = /* @__PURE__ */ unary("relu");

const affineOp: Op<{ x: Tensor }, { y: Tensor }, { readonly scale: number; readonly shift: number }> = {
  name: "affine",
  outputs({ x }) {
    checkReal("scale or addScalar", { x });
    return { y: { shape: x.shape, dtype: x.dtype } };
  },
  forward({ x }, { y }, attributes) {
    kernels(x).affine({ x, y, ...attributes });
  },
  gradient: ({ attributes }, { y: dy }) => ({ x: scaled(dy, attributes.scale) }),
};

/** factor · x, not recorded. */
function scaled(x: Tensor, factor: number): Tensor {
  const y = like(x);
  kernels(x).affine({ x, y, scale: factor, shift: 0 });
  return y;
}

/** Multiplies by a plain number: factor · x. */
export function scale(x: Tensor, factor: number): Tensor {
  checkNumber("scale", "factor", factor);
  return apply(affineOp, { x }, { scale: factor, shift: 0 }).y;
}

/** Adds a plain number: x + term. */
export function addScalar(x: Tensor, term: number): Tensor {
  checkNumber("addScalar", "term", term);
  return apply(affineOp, { x }, { scale: 1, shift: term }).y;
}

function checkNumber(op: string, name: string, value: unknown): void {
  check(typeof value === "number", "E_ARGUMENT", () =>
    `${op}: ${name} is ${value instanceof Tensor ? "a tensor" : String(value)}, and must be a plain number; mul and add take tensors`);
}

/** What dy is multiplied with to give the gradients of a and b, or null for none; those of the others are the kernel's. */
const FACTORS: Readonly<Partial<Record<BinaryName, { readonly a: number; readonly b: number } | null>>> = {
  add: { a: 1, b: 1 },
  sub: { a: 1, b: -1 },
  equal: null,
  less: null,
};

/** The loop nest over the output of two operands that broadcast; strides are those of a and b. */
function broadcastLayout(a: Shape, b: Shape, out: Shape): Layout {
  return collapse({ sizes: out, strides: [broadcastStrides(a, out), broadcastStrides(b, out)] });
}

function binaryOp(op: BinaryName): Op<{ a: Tensor; b: Tensor }, { out: Tensor }> {
  return {
    name: op,
    outputs({ a, b }) {
      checkReal(op, { a, b });
      return { out: { shape: broadcastShapes(a.shape, b.shape, op), dtype: a.dtype } };
    },
    forward({ a, b }, { out }) {
      kernels(a).binary({ op, a, b, out, layout: broadcastLayout(a.shape, b.shape, out.shape) });
    },
    gradient({ inputs: { a, b }, wanted }, { out: dy }) {
      const factors = FACTORS[op];
      if (factors === null) return {};
      const of = (operand: "a" | "b"): Tensor => {
        const target = (operand === "a" ? a : b).shape;
        const factor = factors?.[operand];
        if (factor) return sameShape(dy.shape, target) ? scaled(dy, factor) : sumToShape(dy, target, factor);
        const full = like(dy);
        kernels(dy).binaryGradient({ op: op as "mul" | "div", operand, a, b, dy, out: full,
          layout: broadcastLayout(a.shape, b.shape, dy.shape) });
        const result = full.size === sizeOf(target) ? full.window(target) : sumToShape(full, target, 1);
        full.dispose();
        return result;
      };
      return { a: wanted.a ? of("a") : null, b: wanted.b ? of("b") : null };
    },
  };
}

function binary(op: BinaryName): (a: Tensor, b: Tensor) => Tensor {
  const object = binaryOp(op);
  return (a, b) => apply(object, { a, b }, undefined).out;
}

/** a + b, broadcasting. */
export const add = /* @__PURE__ */ binary("add");
/** a - b, broadcasting. */
export const sub = /* @__PURE__ */ binary("sub");
/** a · b, elementwise, broadcasting. */
export const mul = /* @__PURE__ */ binary("mul");
/** a / b, broadcasting. */
export const div = /* @__PURE__ */ binary("div");
/** 1 where a and b are the same number and 0 elsewhere, broadcasting; no gradient. */
export const equal = /* @__PURE__ */ binary("equal");
/** 1 where a is less than b and 0 elsewhere, also where either is not a number; broadcasting; no gradient. */
export const less = /* @__PURE__ */ binary("less");
