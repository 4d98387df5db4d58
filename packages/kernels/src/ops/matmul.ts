/**
 * Matrix products, batched and transposed, and the linear layer.
 *
 *   C = op(A) · op(B),   op(X) = X or Xᵀ
 *
 * Gradient, without transposes:  dA = dC · Bᵀ,  dB = Aᵀ · dC.  A transposed operand takes the transposed gradient:
 *   dA = op(B) · dCᵀ  when A is transposed,   dB = dCᵀ · op(A)  when B is.
 * An operand that is shared by a batch sums its gradient over the batch.
 */
import { check } from "../errors";
import { kernelsOf } from "../kernels";
import { apply, checkTensors, like, type Op } from "../op";
import { type Shape, sameShape, showShape, sizeOf } from "../shape";
import type { Family } from "../signature";
import { type Tensor, withWindow } from "../tensor";
import { checkHalf, checkReal } from "./checks";
import type { memoryKernels } from "./memory";

export const matmulKernels = {
  /**
   * out[i] (+)= op(a[i]) · op(b[i]) for i < batch, with op(a[i]) [m,k], op(b[i]) [k,n], out[i] [m,n]. Operand i starts
   * i · stride elements in; stride 0 shares one operand. With outStride 0 the products of the batch are summed.
   * b may be f16 where it is transposed, a is not, and batch is 1; nothing is accumulated then.
   */
  matmul: {
    numbers: {
      batch: "size", m: "size", n: "size", k: "size", transposeA: "flag", transposeB: "flag",
      aStride: "size", bStride: "size", outStride: "size", accumulate: "flag",
    },
    reads: { a: "[*]", b: "weight[*]" },
    writes: { out: "[*]" },
  },
} as const satisfies Family;

const kernels = kernelsOf<typeof matmulKernels & typeof memoryKernels>;

export interface MatmulOptions {
  /** Reads a as [..., K, M]. */
  readonly transposeA?: boolean;
  /** Reads b as [..., N, K]. */
  readonly transposeB?: boolean;
}

interface Sizes {
  readonly lead: Shape;
  readonly batch: number;
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** b is one matrix for the whole batch. */
  readonly shared: boolean;
}

function sizes(a: Tensor, b: Tensor, { transposeA = false, transposeB = false }: MatmulOptions): Sizes {
  const shapes = () => `matmul: a ${showShape(a.shape)}${transposeA ? "ᵀ" : ""} times b ${showShape(b.shape)}${transposeB ? "ᵀ" : ""}`;
  check(a.shape.length >= 2 && b.shape.length >= 2, "E_SHAPE", () => `${shapes()}: both need at least two axes`);
  const [rows, columns] = a.shape.slice(-2) as [number, number];
  const [bRows, bColumns] = b.shape.slice(-2) as [number, number];
  const [m, k] = transposeA ? [columns, rows] : [rows, columns];
  const [inner, n] = transposeB ? [bColumns, bRows] : [bRows, bColumns];
  check(k === inner, "E_SHAPE", () =>
    `${shapes()}: axis ${transposeA ? -2 : -1} of a and axis ${transposeB ? -1 : -2} of b must be equal, not ${k} and ${inner}`);
  const lead = a.shape.slice(0, -2);
  const shared = b.shape.length === 2;
  check(shared || sameShape(lead, b.shape.slice(0, -2)), "E_SHAPE",
    () => `${shapes()}: the leading axes must be equal, or b have two axes only`);
  return { lead, batch: sizeOf(lead), m, n, k, shared };
}

/** One product through the kernel; sums over the batch where `out` is one matrix. */
function launch(a: Tensor, b: Tensor, out: Tensor, s: Pick<Sizes, "batch" | "m" | "n" | "k">, options: MatmulOptions,
  accumulate = false): void {
  const stride = (t: Tensor, matrix: number) => (s.batch !== 1 && t.size === matrix ? 0 : matrix);
  kernels(out).matmul({
    a, b, out, batch: s.batch, m: s.m, n: s.n, k: s.k,
    transposeA: options.transposeA ?? false, transposeB: options.transposeB ?? false,
    aStride: stride(a, s.m * s.k), bStride: stride(b, s.k * s.n), outStride: stride(out, s.m * s.n), accumulate,
  });
}

const matmulOp: Op<{ a: Tensor; b: Tensor }, { out: Tensor }, MatmulOptions> = {
  name: "matmul",
  outputs({ a, b }, options) {
    checkReal("matmul", { a, b });
    const { lead, m, n } = sizes(a, b, options);
    return { out: { shape: [...lead, m, n], dtype: a.dtype } };
  },
  forward({ a, b }, { out }, options) {
    launch(a, b, out, sizes(a, b, options), options);
  },
  gradient({ inputs: { a, b }, attributes: options, wanted }, { out: dout }) {
    const { batch, m, n, k } = sizes(a, b, options);
    const { transposeA = false, transposeB = false } = options;
    const da = wanted.a ? like(a) : null;
    const db = wanted.b ? like(b) : null;
    if (da && transposeA) launch(b, dout, da, { batch, m: k, n: m, k: n }, { transposeA: transposeB, transposeB: true });
    else if (da) launch(dout, b, da, { batch, m, n: k, k: n }, { transposeB: !transposeB });
    if (db && transposeB) launch(dout, a, db, { batch, m: n, n: k, k: m }, { transposeA: true, transposeB: transposeA });
    else if (db) launch(a, dout, db, { batch, m: k, n, k: m }, { transposeA: !transposeA });
    return { a: da, b: db };
  },
};

/**
 * Matrix product: a [..., M, K] times b [..., K, N] -> [..., M, N]; leading axes are equal, or b is one matrix for
 * all. Throws `E_SHAPE` when sizes do not fit.
 */
export function matmul(a: Tensor, b: Tensor, options: MatmulOptions = {}): Tensor {
  return apply(matmulOp, { a, b }, options).out;
}

interface LinearAttributes {
  /** Of the public function, for messages. */
  readonly name: string;
  /** Rows of each output's block of the weight. */
  readonly split: readonly number[];
}

type LinearInputs = { readonly x: Tensor; readonly weight: Tensor };

const linearOp: Op<LinearInputs, { outputs: readonly Tensor[] }, LinearAttributes> = {
  name: "linear",
  halves: ["weight"],
  outputs({ x, weight }, { name, split }) {
    if (weight.dtype !== "f16") checkReal(name, { x, weight });
    const width = x.shape.at(-1);
    check(weight.shape.length === 2 && width === weight.shape[1], "E_SHAPE", () =>
      `${name}: weight ${showShape(weight.shape)} must be [N, K] with K the last axis of x ${showShape(x.shape)}`);
    checkHalf(name, weight, { x });
    check(split.every((rows) => Number.isSafeInteger(rows) && rows >= 0) && split.reduce((a, b) => a + b, 0) === weight.shape[0],
      "E_SHAPE", () =>
      `${name}: the blocks ${showShape(split)} must be whole numbers that add up to the ${weight.shape[0]} rows of weight `
        + showShape(weight.shape));
    return { outputs: split.map((rows) => ({ shape: [...x.shape.slice(0, -1), rows], dtype: x.dtype })) };
  },
  forward(inputs, { outputs }, { split }) {
    eachBlock(inputs, split, (i, s, block) => launch(inputs.x, block, outputs[i]!, s, { transposeB: true }));
  },
  gradient({ inputs, attributes: { split }, wanted }, { outputs: gradients }) {
    const { x, weight } = inputs;
    const dx = wanted.x ? like(x) : null;
    const dweight = wanted.weight ? like(weight) : null;
    let started = false;
    let row = 0;
    eachBlock(inputs, split, (i, { m, n, k }, block) => {
      const dout = gradients[i];
      if (dweight) {
        withWindow(dweight, [n, k], row * k, (part) => {
          if (dout) launch(dout, x, part, { batch: 1, m: n, n: k, k: m }, { transposeA: true });
          else if (part.size > 0) kernels(part).fill({ out: part, value: 0 });
        });
      }
      if (dx && dout) {
        launch(dout, block, dx, { batch: 1, m, n: k, k: n }, {}, started);
        started = true;
      }
      row += n;
    });
    return { x: dx, weight: dweight };
  },
};

/** Calls `body` with each block of the weight's rows as a window; m rows of x, n of the block, k columns. */
function eachBlock(
  { x, weight }: LinearInputs,
  split: readonly number[],
  body: (i: number, sizes: { batch: 1; m: number; n: number; k: number }, block: Tensor) => void,
): void {
  const k = weight.shape[1]!;
  const m = sizeOf(x.shape.slice(0, -1));
  let row = 0;
  split.forEach((n, i) => {
    withWindow(weight, [n, k], row * k, (block) => body(i, { batch: 1, m, n, k }, block));
    row += n;
  });
}

/** Linear layer without bias: x [..., K], weight [N, K] -> x · weightᵀ [..., N]. The weight may be f16. */
export function linear(x: Tensor, weight: Tensor): Tensor {
  checkTensors("linear", { weight });
  return apply(linearOp, { x, weight }, { name: "linear", split: [weight.shape[0] ?? 0] }).outputs[0]!;
}

/**
 * A linear layer whose output comes in parts, each its own tensor: x [..., K], weight [ΣNᵢ, K] -> [..., Nᵢ] for each.
 * The weight stays one parameter with one gradient.
 */
export function linearSplit(x: Tensor, weight: Tensor, split: readonly number[]): Tensor[] {
  return [...apply(linearOp, { x, weight }, { name: "linearSplit", split: [...split] }).outputs];
}
