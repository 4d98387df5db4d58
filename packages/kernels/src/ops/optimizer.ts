/**
 * AdamW and gradient clipping, each a few launches over all tensors of a tree. Nothing is read back: the norm and
 * the clipping factor stay on the device and go into the update as a tensor. No gradients flow through these.
 *
 *   norm = √(Σ g²) over the whole tree,   factor = min(1, maxNorm / norm)
 *
 * AdamW (Loshchilov & Hutter, "Decoupled weight decay regularization", ICLR 2019, algorithm 2), at step t >= 1:
 *   g ← factor · g
 *   m ← β₁ m + (1 - β₁) g,   v ← β₂ v + (1 - β₂) g²
 *   p ← p - η · (λ p + (m / (1 - β₁ᵗ)) / (√(v / (1 - β₂ᵗ)) + ε)),   λ = 0 for tensors that do not decay
 */
import type { Device } from "../device";
import type { DType } from "../dtype";
import { check } from "../errors";
import { kernelsOf } from "../kernels";
import { sameShape, showShape } from "../shape";
import type { Family } from "../signature";
import { Tensor } from "../tensor";
import { zeros } from "./memory";
import { leaves, mapTree, type TreeLike, zipLeaves } from "../tree";

export const optimizerKernels = {
  /** norm = √ of the sum of squares of all elements, which must not overflow before the norm does, in an order fixed by the sizes. */
  globalNorm: { numbers: {}, reads: { tensors: "[*]..." }, writes: { norm: "[1]" } },
  /** factor = min(1, maxNorm / norm); a norm that is not a number gives NaN. */
  clipFactor: { numbers: { maxNorm: "number" }, reads: { norm: "[1]" }, writes: { factor: "[1]" } },
  /**
   * Updates parameter, m and v of every tensor in place: lists of equal lengths, tensors of equal sizes. factor scales the gradients;
   * null: 1. Where skip is above 0 nothing changes; null: 0. The corrections are 1 - β₁ᵗ and 1 - β₂ᵗ; a weight decay is λ for its tensor.
   */
  adamW: {
    numbers: {
      learningRate: "number", beta1: "number", beta2: "number", eps: "number", correction1: "number", correction2: "number",
      weightDecays: "reals",
    },
    reads: { factor: "[1]?", skip: "i32[1]?", gradients: "[*]..." },
    writes: { parameters: "[*]...", m: "[*]...", v: "[*]..." },
  },
  /** count = number of elements that are infinite or not a number (at most 2³¹ - 1). */
  countNonFinite: { numbers: {}, reads: { tensors: "[*]..." }, writes: { count: "i32[1]" } },
  /** out, with its bits: x where count is 0, else `otherwise`; null: zeros. All of one shape and type. */
  unlessCounted: { numbers: {}, reads: { count: "i32[1]", x: "any[*]", otherwise: "any[*]?" }, writes: { out: "any[*]" } },
} as const satisfies Family;

const kernels = kernelsOf<typeof optimizerKernels>;

/** The tensors of a tree; they must share a device and a floating type. */
function floats(tree: unknown, op: string): { tensors: Tensor[]; device: Device; dtype: DType } {
  const found = leaves(tree);
  const first = found[0]?.tensor;
  check(first, "E_ARGUMENT", () => `${op}: the tree holds no tensors`);
  for (const { path, tensor } of found) {
    check(tensor.device === first.device, "E_DEVICE", () => `${op}: ${path} is on another device than ${found[0]!.path}`);
    check(tensor.dtype === first.dtype && tensor.dtype !== "i32", "E_DTYPE", () =>
      `${op}: ${path} is ${tensor.dtype}; all tensors must be f32, or all f64`);
  }
  return { tensors: found.map(({ tensor }) => tensor), device: first.device, dtype: first.dtype };
}

/** Euclidean norm over all elements of a tree: a tensor [1]. */
export function globalNorm(tree: unknown): Tensor {
  const { tensors, device, dtype } = floats(tree, "globalNorm");
  const norm = Tensor.empty(device, [1], dtype);
  kernels(norm).globalNorm({ tensors, norm });
  return norm;
}

/** What gradients of that norm are multiplied with to clip them: min(1, maxNorm / norm), a tensor [1]. */
export function clipFactor(norm: Tensor, maxNorm: number): Tensor {
  check(norm.size === 1, "E_SHAPE", () => `clipFactor: norm ${showShape(norm.shape)} must be one number`);
  check(maxNorm > 0, "E_ARGUMENT", () => `clipFactor: maxNorm ${maxNorm} must be above 0`);
  const factor = Tensor.empty(norm.device, [1], norm.dtype);
  kernels(norm).clipFactor({ norm, factor, maxNorm });
  return factor;
}

/** How many elements of a tree are infinite or not a number: a tensor [1] of i32. */
export function countNonFinite(tree: unknown): Tensor {
  const { tensors, device } = floats(tree, "countNonFinite");
  const count = Tensor.empty(device, [1], "i32");
  kernels(count).countNonFinite({ tensors, count });
  return count;
}

/**
 * Keeps `x` unless something was counted: `x` where `count` (a tensor [1] of i32, see {@link countNonFinite}) is 0, else `otherwise`,
 * of the same shape and type; zeros unless given. Bits are copied, and nothing is read back. No gradients flow through it.
 */
export function unlessCounted(count: Tensor, x: Tensor, otherwise: Tensor | null = null): Tensor {
  checkCount("unlessCounted: count", count);
  check(x.dtype !== "f16", "E_DTYPE", () => "unlessCounted: x is f16, which is for weights alone");
  check(otherwise === null || (sameShape(otherwise.shape, x.shape) && otherwise.dtype === x.dtype), "E_SHAPE", () =>
    `unlessCounted: otherwise is ${otherwise!.dtype} ${showShape(otherwise!.shape)}; it must be ${x.dtype} ${showShape(x.shape)}, as x is`);
  const out = Tensor.empty(x.device, x.shape, x.dtype);
  kernels(x).unlessCounted({ count, x, otherwise, out });
  return out;
}

function checkCount(name: string, count: Tensor): void {
  check(count.dtype === "i32" && count.size === 1, "E_SHAPE",
    () => `${name} is ${count.dtype} ${showShape(count.shape)}; it must be one i32`);
}

/** The state of AdamW: first and second moments, each a tree like the parameters. */
export interface AdamWMoments<P> {
  readonly m: TreeLike<P, Tensor>;
  readonly v: TreeLike<P, Tensor>;
}

/** Zero moments: where AdamW starts. */
export function adamWMoments<P>(parameters: P): AdamWMoments<P> {
  const blank = () => mapTree(parameters, (t) => zeros(t.device, t.shape, t.dtype));
  return { m: blank(), v: blank() };
}

/** Options of {@link adamW}. */
export interface AdamWOptions {
  readonly learningRate: number;
  /** Updates done before this one, plus 1. */
  readonly step: number;
  /** 0.9 unless given. */
  readonly beta1?: number;
  /** 0.999 unless given. */
  readonly beta2?: number;
  /** 1e-8 unless given. */
  readonly eps?: number;
  /** λ; 0.01 unless given. */
  readonly weightDecay?: number;
  /** Whether weight decay applies to the parameter of that path; to all unless given. */
  readonly decays?: (path: string) => boolean;
  /** A tensor [1] of i32, see {@link countNonFinite}: where it is above 0, parameters and moments stay as they are, to the bit. */
  readonly skip?: Tensor;
}

/**
 * One AdamW update (Loshchilov & Hutter 2019, algorithm 2) of `parameters` and `moments`, in place. `gradients` is a tree like the
 * parameters; `factor` (a tensor [1], see {@link clipFactor}) scales them. Throws `E_ARGUMENT` when the trees differ.
 */
export function adamW<P>(
  parameters: P,
  gradients: TreeLike<P, Tensor>,
  moments: AdamWMoments<P>,
  options: AdamWOptions,
  factor: Tensor | null = null,
): void {
  const { learningRate, step, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weightDecay = 0.01, decays = () => true, skip = null } = options;
  const within = (name: string, value: number, fits: boolean, range: string) =>
    check(fits, "E_ARGUMENT", () => `adamW: ${name} is ${value}; it must be ${range}`);
  within("learningRate", learningRate, learningRate >= 0 && learningRate < Infinity, "a finite number of at least 0");
  within("step", step, Number.isSafeInteger(step) && step >= 1, "a whole number of at least 1");
  within("beta1", beta1, beta1 >= 0 && beta1 < 1, "in [0, 1)");
  within("beta2", beta2, beta2 >= 0 && beta2 < 1, "in [0, 1)");
  within("eps", eps, eps > 0 && eps < Infinity, "a finite number above 0");
  within("weightDecay", weightDecay, weightDecay >= 0 && weightDecay < Infinity, "a finite number of at least 0");

  const { device } = floats([parameters, gradients, moments.m, moments.v, ...(factor ? [factor] : [])], "adamW");
  check(factor === null || factor.size === 1, "E_SHAPE", () => `adamW: factor ${showShape(factor!.shape)} must be one number`);
  if (skip) checkCount("adamW: skip", skip);
  const items = zipLeaves(parameters, gradients).map(({ path, a: parameter, b: gradient }) => ({ path, parameter, gradient }));
  const [m, v] = [moments.m, moments.v].map((tree) => zipLeaves(parameters, tree).map((pair) => pair.b)) as [Tensor[], Tensor[]];
  items.forEach(({ path, parameter, gradient }, i) =>
    check([gradient, m[i]!, v[i]!].every((t) => sameShape(t.shape, parameter.shape)), "E_SHAPE", () =>
      `adamW: the gradient ${showShape(gradient.shape)} and the moments of ${path} must have its shape ${showShape(parameter.shape)}`));
  kernels({ device }).adamW({
    parameters: items.map(({ parameter }) => parameter), gradients: items.map(({ gradient }) => gradient), m, v,
    weightDecays: items.map(({ path }) => (decays(path) ? weightDecay : 0)),
    factor, skip, learningRate, beta1, beta2, eps, correction1: 1 - beta1 ** step, correction2: 1 - beta2 ** step,
  });
}
