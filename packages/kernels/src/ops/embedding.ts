/**
 * Embedding: rows of a matrix picked by tokens. The gradient adds each row of dy to its token's row; the work is
 * split by rows of the matrix and every row takes its tokens in order, so that the bits never depend on threads.
 */
import type { Device } from "../device";
import { check } from "../errors";
import { kernelsOf } from "../kernels";
import { apply, like, type Op } from "../op";
import { type Shape, showShape, sizeOf } from "../shape";
import type { Family } from "../signature";
import { type Tensor, tensor } from "../tensor";
import { checkReal } from "./checks";

const numbers = { count: "size", width: "size", vocabulary: "size" } as const;

/** A token outside of 0 ... vocabulary - 1 is clamped, so that nothing is read out of bounds; vocabulary >= 1 unless count is 0. */
export const embeddingKernels = {
  /** out[i] = weight[tokens[i]] */
  embedding: {
    numbers,
    reads: { weight: "weight[vocabulary,width]", tokens: "i32[count]" },
    writes: { out: "[count,width]" },
  },
  /** dweight[v] = Σ dy[i] over the i with tokens[i] = v, in order. */
  embeddingGradient: {
    numbers,
    reads: { tokens: "i32[count]", dy: "[count,width]" },
    writes: { dweight: "[vocabulary,width]" },
  },
} as const satisfies Family;

const kernels = kernelsOf<typeof embeddingKernels>;

function sizes(weight: Tensor, tokens: Tensor): { count: number; width: number; vocabulary: number } {
  const [vocabulary, width] = weight.shape as [number, number];
  return { count: tokens.size, width, vocabulary };
}

const embeddingOp: Op<{ weight: Tensor; tokens: Tensor }, { out: Tensor }> = {
  name: "embedding",
  halves: ["weight"],
  outputs({ weight, tokens }) {
    checkReal("embedding", { weight });
    check(weight.shape.length === 2, "E_SHAPE", () => `embedding: weight ${showShape(weight.shape)} must be [vocabulary, width]`);
    check(tokens.dtype === "i32", "E_DTYPE", () => `embedding: tokens are ${tokens.dtype}; they must be i32 (see tokenTensor)`);
    check(weight.shape[0]! > 0 || tokens.size === 0, "E_SHAPE", () => "embedding: weight has no rows to pick from");
    return { out: { shape: [...tokens.shape, weight.shape[1]!], dtype: weight.dtype === "f16" ? "f32" : weight.dtype } };
  },
  forward({ weight, tokens }, { out }) {
    if (out.size > 0) kernels(out).embedding({ weight, tokens, out, ...sizes(weight, tokens) });
  },
  gradient({ inputs: { weight, tokens } }, { out: dy }) {
    const dweight = like(weight);
    kernels(dy).embeddingGradient({ tokens, dy, dweight, ...sizes(weight, tokens) });
    return { weight: dweight };
  },
};

/**
 * Rows of a matrix: weight [V, D], tokens i32 [...] -> [..., D]; of an f16 weight as f32. Make tokens with {@link tokenTensor},
 * which checks them.
 */
export function embedding(weight: Tensor, tokens: Tensor): Tensor {
  return apply(embeddingOp, { weight, tokens }, undefined).out;
}

/**
 * Uploads tokens as i32. Throws `E_ARGUMENT` when one is not a whole number in 0 ... vocabulary - 1, `E_SHAPE` when
 * their number does not fill the shape. Devices don't check tokens again: out of range they are clamped.
 */
export function tokenTensor(device: Device, ids: ArrayLike<number>, shape: Shape, vocabulary: number): Tensor {
  check(ids.length === sizeOf(shape), "E_SHAPE", () => `tokens: ${ids.length} ids do not fill the shape ${showShape(shape)}`);
  for (let i = 0; i < ids.length; i++) {
    const id = ids[i]!;
    check(Number.isInteger(id) && id >= 0 && id < vocabulary, "E_ARGUMENT", () =>
      `tokens: id ${id} at place ${i} is not a whole number in 0 ... ${vocabulary - 1}`);
  }
  return tensor(device, ids, shape, "i32");
}
