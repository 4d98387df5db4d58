import type { BinaryName, elementwiseKernels, UnaryName } from "../../ops/elementwise";
import type { KernelsOf } from "../../signature";
import { stridesOf } from "../../ops/layout";
import type { Launcher } from "./launcher";
import { flat, nest, type NestKernel } from "./nest";
import { MATH } from "./wgsl";

interface UnaryFunction {
  /** WGSL of f(x), single numbers. */
  readonly value: string;
  /** WGSL of f'(x), from x or from y = f(x), or from neither. */
  readonly derivative: string;
  readonly from: "x" | "y" | "neither";
}

const UNARY: Readonly<Record<UnaryName, UnaryFunction>> = {
  neg: { value: "-x", derivative: "-1.0", from: "neither" },
  exp: { value: "fine_exp(x)", derivative: "y", from: "y" },
  log: { value: "fine_log(x)", derivative: "1.0 / x", from: "x" },
  sqrt: { value: "select(sqrt(x), not_a_number(), x < 0.0)", derivative: "0.5 / y", from: "y" },
  square: { value: "x * x", derivative: "2.0 * x", from: "x" },
  sigmoid: { value: "sigmoid(x)", derivative: "y * (1.0 - y)", from: "y" },
  silu: { value: "silu(x)", derivative: "sigmoid(x) * (1.0 + x * (1.0 - sigmoid(x)))", from: "x" },
  softplus: { value: "softplus(x)", derivative: "sigmoid(x)", from: "x" },
  // 1 - y², without the rounding of y².
  tanh: { value: "fine_tanh(x)", derivative: "(1.0 - y) * (1.0 + y)", from: "y" },
  // By bits: what is below 0 has its sign, and what is not a number is above infinity.
  relu: {
    value: "select(x, 0.0, (bitcast<u32>(x) >> 31u) == 1u && (bitcast<u32>(x) & 0x7fffffffu) <= 0x7f800000u)",
    derivative: "select(select(x, 0.0, (bitcast<u32>(x) & 0x7fffffffu) <= 0x7f800000u), 1.0, bitcast<i32>(x) > 0 && bitcast<u32>(x) <= "
      + "0x7f800000u)",
    from: "x",
  },
};

/** NaN equals nothing and 0 is -0: by bits, since compilers may assume that there is no NaN and flush small numbers to 0. */
const equalBits = (T: string, U: string) => {
  const [a, b] = [`bitcast<${U}>(a)`, `bitcast<${U}>(b)`];
  const same = `((${a} == ${b}) | (((${a} | ${b}) << ${U}(1u)) == ${U}(0u)))`;
  return `select(${T}(0.0), ${T}(1.0), ${same} & ((${a} & ${U}(0x7fffffffu)) <= ${U}(0x7f800000u)))`;
};

/** The order of whole numbers that bits have without their sign, for the reasons above. */
const lessBits = (T: string, U: string, I: string) => {
  const size = (x: string) => `(bitcast<${U}>(${x}) & ${U}(0x7fffffffu))`;
  const order = (x: string) => `select(${I}${size(x)}, -${I}${size(x)}, (bitcast<${U}>(${x}) >> ${U}(31u)) == ${U}(1u))`;
  const number = (x: string) => `(${size(x)} <= ${U}(0x7f800000u))`;
  return `select(${T}(0.0), ${T}(1.0), (${order("a")} < ${order("b")}) & ${number("a")} & ${number("b")})`;
};

const BINARY: Readonly<Record<BinaryName, (vector: boolean) => string>> = {
  add: () => "a + b",
  sub: () => "a - b",
  mul: () => "a * b",
  div: () => "a / b",
  equal: (vector) => (vector ? equalBits("vec4f", "vec4u") : equalBits("f32", "u32")),
  less: (vector) => (vector ? lessBits("vec4f", "vec4u", "vec4i") : lessBits("f32", "u32", "i32")),
};

interface PartialDerivative {
  /** Operands that it needs. */
  readonly takes: readonly ("a" | "b")[];
  /** WGSL of dy · ∂(a ∘ b)/∂operand. */
  readonly result: string;
}

const PARTIAL: Readonly<Record<"mul" | "div", Readonly<Record<"a" | "b", PartialDerivative>>>> = {
  mul: { a: { takes: ["b"], result: "dy * b" }, b: { takes: ["a"], result: "dy * a" } },
  // The square of b could overflow.
  div: { a: { takes: ["b"], result: "dy / b" }, b: { takes: ["a", "b"], result: "-dy * (a / b) / b" } },
};

/** A function of single numbers, called for each of four where the operands are vectors. */
const unaryNest = (name: string, reads: readonly string[], result: string): NestKernel =>
  nest({
    name,
    element: "f32",
    reads,
    declarations: `${MATH}\nfn apply(${reads.map((read) => `${read}: f32`).join(", ")}) -> f32 { return ${result}; }`,
    result: (vector) => {
      const call = (suffix: string) => `apply(${reads.map((read) => read + suffix).join(", ")})`;
      return vector ? `vec4f(${[".x", ".y", ".z", ".w"].map(call).join(", ")})` : call("");
    },
  });

const mapValues = <K extends string, V, W>(table: Readonly<Record<K, V>>, f: (value: V, key: K) => W) =>
  Object.fromEntries(Object.entries(table).map(([key, value]) => [key, f(value as V, key as K)])) as Record<K, W>;

const VALUES = mapValues(UNARY, ({ value }, op) => unaryNest(op, ["x"], value));
const DERIVATIVES = mapValues(UNARY, ({ derivative, from }, op) =>
  unaryNest(`${op}Gradient`, [...(from === "neither" ? [] : [from]), "dy"], `dy * (${derivative})`));
const BINARIES = mapValues(BINARY, (result, op) => nest({ name: op, element: "f32", reads: ["a", "b"], result }));
const PARTIALS = mapValues(PARTIAL, (sides, op) =>
  mapValues(sides, ({ takes, result }, side) =>
    nest({ name: `${op}Gradient of ${side}`, element: "f32", reads: [...takes, "dy"], result: () => result })));

const AFFINE = nest({ name: "affine", element: "f32", reads: ["x"], params: ["scale", "shift"], result: () =>
  "params.scale * x + params.shift" });

export const elementwise = (gpu: Launcher): KernelsOf<typeof elementwiseKernels> => ({
  unary({ op, x, y }) {
    VALUES[op](gpu, [x, y], flat(x.size, 2));
  },
  unaryGradient({ op, x, y, dy, dx }) {
    const { from } = UNARY[op];
    const operands = from === "neither" ? [dy, dx] : [from === "x" ? x : y, dy, dx];
    DERIVATIVES[op](gpu, operands, flat(x.size, operands.length));
  },
  affine({ x, y, scale, shift }) {
    AFFINE(gpu, [x, y], flat(x.size, 2), { scale, shift });
  },
  binary({ op, a, b, out, layout }) {
    const [as, bs] = layout.strides;
    BINARIES[op](gpu, [a, b, out], { sizes: layout.sizes, strides: [as!, bs!, stridesOf(layout.sizes)] });
  },
  binaryGradient({ op, operand, a, b, dy, out, layout }) {
    const strides = { a: layout.strides[0]!, b: layout.strides[1]! };
    const { takes } = PARTIAL[op][operand];
    const given = takes.map((name) => (name === "a" ? a : b));
    const own = stridesOf(layout.sizes);
    PARTIALS[op][operand](gpu, [...given, dy, out], { sizes: layout.sizes, strides: [...takes.map((name) => strides[name]), own, own] });
  },
});
