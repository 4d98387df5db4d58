import type { BinaryName, ElementwiseKernels, UnaryName } from "../../ops/elementwise";
import type { Launch } from "./launch";
import { nestNumbers } from "./nest";

/** The order of the functions in native/cpu/elementwise.cpp. */
const UNARY_CODES: Readonly<Record<UnaryName, number>> = {
  neg: 0, exp: 1, log: 2, sqrt: 3, square: 4, sigmoid: 5, silu: 6, softplus: 7, tanh: 8,
};
const BINARY_CODES: Readonly<Record<BinaryName, number>> = { add: 0, sub: 1, mul: 2, div: 3, equal: 4 };
const GRADIENT_CODES = { mul: { a: 0, b: 1 }, div: { a: 2, b: 3 } } as const;

export const elementwise = (launch: Launch): ElementwiseKernels => ({
  unary({ op, x, y }) {
    launch("unary", [x, y], [UNARY_CODES[op]]);
  },
  unaryGradient({ op, x, y, dy, dx }) {
    launch("unaryGradient", [x, y, dy, dx], [UNARY_CODES[op]]);
  },
  affine({ x, y, scale, shift }) {
    launch("affine", [x, y], [scale, shift]);
  },
  binary({ op, a, b, out, layout }) {
    launch("binary", [a, b, out], [BINARY_CODES[op], ...nestNumbers(layout)]);
  },
  binaryGradient({ op, operand, a, b, dy, out, layout }) {
    launch("binaryGradient", [a, b, dy, out], [GRADIENT_CODES[op][operand], ...nestNumbers(layout)]);
  },
});
