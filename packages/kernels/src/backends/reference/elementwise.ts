import type { BinaryName, elementwiseKernels, UnaryName } from "../../ops/elementwise";
import type { KernelsOf } from "../../signature";
import { data } from "./data";
import { walk } from "./walk";

interface UnaryFunction {
  value(x: number): number;
  /** f'(x), with y = f(x) at hand. */
  derivative(x: number, y: number): number;
}

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));

const UNARY: Readonly<Record<UnaryName, UnaryFunction>> = {
  neg: { value: (x) => -x, derivative: () => -1 },
  exp: { value: Math.exp, derivative: (_, y) => y },
  log: { value: Math.log, derivative: (x) => 1 / x },
  sqrt: { value: Math.sqrt, derivative: (_, y) => 0.5 / y },
  square: { value: (x) => x * x, derivative: (x) => 2 * x },
  sigmoid: { value: sigmoid, derivative: (_, y) => y * (1 - y) },
  silu: { value: (x) => x * sigmoid(x), derivative: (x) => sigmoid(x) * (1 + x * (1 - sigmoid(x))) },
  // max(x, 0) + log(1 + e^-|x|): e^x alone overflows.
  softplus: { value: (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))), derivative: sigmoid },
  tanh: { value: Math.tanh, derivative: (_, y) => 1 - y * y },
  relu: { value: (x) => Math.max(x, 0), derivative: (x) => (Number.isNaN(x) ? x : x > 0 ? 1 : 0) },
};

const BINARY: Readonly<Record<BinaryName, (a: number, b: number) => number>> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  equal: (a, b) => (a === b ? 1 : 0),
  less: (a, b) => (a < b ? 1 : 0),
};

const PARTIAL = {
  mul: { a: (_: number, b: number) => b, b: (a: number) => a },
  div: { a: (_: number, b: number) => 1 / b, b: (a: number, b: number) => -a / (b * b) },
} as const;

export const elementwise: KernelsOf<typeof elementwiseKernels> = {
  unary({ op, x, y }) {
    const [xs, ys] = [data(x), data(y)];
    for (let i = 0; i < xs.length; i++) ys[i] = UNARY[op].value(xs[i]!);
  },
  unaryGradient({ op, x, y, dy, dx }) {
    const [xs, ys, g, gx] = [data(x), data(y), data(dy), data(dx)];
    for (let i = 0; i < xs.length; i++) gx[i] = g[i]! * UNARY[op].derivative(xs[i]!, ys[i]!);
  },
  affine({ x, y, scale, shift }) {
    const [xs, ys] = [data(x), data(y)];
    for (let i = 0; i < xs.length; i++) ys[i] = scale * xs[i]! + shift;
  },
  binary({ op, a, b, out, layout }) {
    const [as, bs, o] = [data(a), data(b), data(out)];
    walk(layout, (i, ia, ib) => (o[i] = BINARY[op](as[ia]!, bs[ib]!)));
  },
  binaryGradient({ op, operand, a, b, dy, out, layout }) {
    const [as, bs, g, o] = [data(a), data(b), data(dy), data(out)];
    walk(layout, (i, ia, ib) => (o[i] = g[i]! * PARTIAL[op][operand](as[ia]!, bs[ib]!)));
  },
};
