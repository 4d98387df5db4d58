/**
 * Elementwise functions, of one tensor and of two with broadcasting after NumPy's rule.
 *
 * Gradients, with y = f(x):
 *
 *   neg -1   exp y   log 1/x   sqrt 1/(2y)   square 2x   tanh 1 - y²   sigmoid y(1 - y)
 *   silu s(1 + x(1 - s)) with s = sigmoid(x)   softplus sigmoid(x)
 *
 * Those of two operands are summed over the axes along which the operand was stretched.
 */
import { applyList, type ListOp } from "../opList";
import { broadcastShapes, type Shape, sizeOf } from "../shape";
import { Tensor } from "../tensor";
import { checkReal } from "./checks";
import { broadcastStrides, collapse, type Layout } from "./layout";
import { sumToShape } from "./reduce";

export type UnaryName = "neg" | "exp" | "log" | "sqrt" | "square" | "sigmoid" | "silu" | "softplus" | "tanh";

/** `equal` gives 1 where both are the same and 0 elsewhere; it passes no gradient. */
export type BinaryName = "add" | "sub" | "mul" | "div" | "equal";

export interface ElementwiseKernels {
  /** y = f(x); same size. */
  unary(args: { op: UnaryName; x: Tensor; y: Tensor }): void;
  /** dx = dy · f'(x), from whichever of x and y = f(x) is handier. */
  unaryGradient(args: { op: UnaryName; x: Tensor; y: Tensor; dy: Tensor; dx: Tensor }): void;
  /** y = scale · x + shift */
  affine(args: { x: Tensor; y: Tensor; scale: number; shift: number }): void;
  /** out = a ∘ b. The layout's strides are those of a and b; out is dense in the order of the sizes. */
  binary(args: { op: BinaryName; a: Tensor; b: Tensor; out: Tensor; layout: Layout }): void;
  /** out = dy · ∂(a ∘ b)/∂operand for `mul` and `div`; dy and out are dense, before any sum over stretched axes. */
  binaryGradient(args: {
    op: "mul" | "div"; operand: "a" | "b"; a: Tensor; b: Tensor; dy: Tensor; out: Tensor; layout: Layout;
  }): void;
}

function unaryOp(op: UnaryName): ListOp<undefined> {
  return {
    name: op,
    outputs([x]) {
      checkReal(op, { x: x! });
      return [{ shape: x!.shape, dtype: x!.dtype }];
    },
    forward([x], [y]) {
      x!.device.kernels.unary({ op, x: x!, y: y! });
    },
    gradient({ inputs: [x], outputs: [y] }, [dy]) {
      const dx = Tensor.empty(x!.device, x!.shape, x!.dtype);
      x!.device.kernels.unaryGradient({ op, x: x!, y: y!, dy: dy!, dx });
      return [dx];
    },
  };
}

function unary(op: UnaryName): (x: Tensor) => Tensor {
  const object = unaryOp(op);
  return (x) => applyList(object, [x], undefined)[0]!;
}

/** -x */
export const neg = unary("neg");
/** eˣ */
export const exp = unary("exp");
/** Natural logarithm; NaN below 0. */
export const log = unary("log");
/** Square root; NaN below 0. The gradient at 0 is infinite. */
export const sqrt = unary("sqrt");
/** x² */
export const square = unary("square");
/** 1 / (1 + e⁻ˣ) */
export const sigmoid = unary("sigmoid");
/** x · sigmoid(x) */
export const silu = unary("silu");
/** log(1 + eˣ), without overflow. */
export const softplus = unary("softplus");
/** Hyperbolic tangent. */
export const tanh = unary("tanh");

const affineOp: ListOp<{ readonly scale: number; readonly shift: number }> = {
  name: "affine",
  outputs([x]) {
    checkReal("scale or addScalar", { x: x! });
    return [{ shape: x!.shape, dtype: x!.dtype }];
  },
  forward([x], [y], { scale, shift }) {
    x!.device.kernels.affine({ x: x!, y: y!, scale, shift });
  },
  gradient({ inputs: [x], attributes: { scale } }, [dy]) {
    const dx = Tensor.empty(x!.device, x!.shape, x!.dtype);
    x!.device.kernels.affine({ x: dy!, y: dx, scale, shift: 0 });
    return [dx];
  },
};

/** factor · x */
export function scale(x: Tensor, factor: number): Tensor {
  return applyList(affineOp, [x], { scale: factor, shift: 0 })[0]!;
}

/** x + term, for a plain number. */
export function addScalar(x: Tensor, term: number): Tensor {
  return applyList(affineOp, [x], { scale: 1, shift: term })[0]!;
}

/** Gradient of one operand: a constant times dy, or what the kernel says. */
type OperandRule = number | "kernel";

const BINARY_RULES: Readonly<Record<BinaryName, { readonly a: OperandRule; readonly b: OperandRule } | null>> = {
  add: { a: 1, b: 1 },
  sub: { a: 1, b: -1 },
  mul: { a: "kernel", b: "kernel" },
  div: { a: "kernel", b: "kernel" },
  equal: null,
};

/** The loop nest over the output of two operands that broadcast; strides are those of a and b. */
function broadcastLayout(a: Shape, b: Shape, out: Shape): Layout {
  return collapse({ sizes: out, strides: [broadcastStrides(a, out), broadcastStrides(b, out)] });
}

function binaryOp(op: BinaryName): ListOp<undefined> {
  return {
    name: op,
    outputs([a, b]) {
      checkReal(op, { a: a!, b: b! });
      return [{ shape: broadcastShapes(a!.shape, b!.shape, op), dtype: a!.dtype }];
    },
    forward([a, b], [out]) {
      a!.device.kernels.binary({ op, a: a!, b: b!, out: out!, layout: broadcastLayout(a!.shape, b!.shape, out!.shape) });
    },
    gradient({ inputs: [a, b], wanted }, [dy]) {
      const rules = BINARY_RULES[op];
      if (!rules) return [null, null];
      return (["a", "b"] as const).map((operand, i) => {
        if (!wanted[i]) return null;
        const target = (operand === "a" ? a! : b!).shape;
        const rule = rules[operand];
        if (typeof rule === "number") return sumToShape(dy!, target, rule);
        const full = Tensor.empty(dy!.device, dy!.shape, dy!.dtype);
        const layout = broadcastLayout(a!.shape, b!.shape, dy!.shape);
        dy!.device.kernels.binaryGradient({ op: op as "mul" | "div", operand, a: a!, b: b!, dy: dy!, out: full, layout });
        const result = full.size === sizeOf(target) ? full.window(target) : sumToShape(full, target, 1);
        full.dispose();
        return result;
      });
    },
  };
}

function binary(op: BinaryName): (a: Tensor, b: Tensor) => Tensor {
  const object = binaryOp(op);
  return (a, b) => applyList(object, [a, b], undefined)[0]!;
}

/** a + b, broadcasting. */
export const add = binary("add");
/** a - b, broadcasting. */
export const sub = binary("sub");
/** a · b, elementwise, broadcasting. */
export const mul = binary("mul");
/** a / b, broadcasting. */
export const div = binary("div");
/** 1 where a and b are the same number and 0 elsewhere, broadcasting; no gradient. */
export const equal = binary("equal");
