/**
 * Embedding: rows of a matrix picked by tokens. The gradient adds each row of dy to its token's row; the work is
 * split by rows of the matrix and every row takes its tokens in order, so that the bits never depend on threads.
 */
import type { Device } from "../device";
import { check } from "../errors";
import { applyList, type ListOp } from "../opList";
import { type Shape, showShape, sizeOf } from "../shape";
import { Tensor, tensor } from "../tensor";
import { checkReal } from "./checks";

export interface EmbeddingKernels {
  /**
   * out[i] = weight[tokens[i]]; weight [vocabulary, width], tokens [count], out [count, width]. A token outside of
   * 0 ... vocabulary - 1 is clamped, so that nothing is read out of bounds; vocabulary >= 1. The weight may be f16.
   */
  embedding(args: { weight: Tensor; tokens: Tensor; out: Tensor; count: number; width: number; vocabulary: number }): void;
  /** dweight[v] = Σ dy[i] over the i with tokens[i] = v, in order; clamped in the same way. */
  embeddingGradient(args: { tokens: Tensor; dy: Tensor; dweight: Tensor; count: number; width: number; vocabulary: number }): void;
}

function sizes(weight: Tensor, tokens: Tensor): { count: number; width: number; vocabulary: number } {
  const [vocabulary, width] = weight.shape as [number, number];
  return { count: tokens.size, width, vocabulary };
}

const embeddingOp: ListOp<undefined> = {
  name: "embedding",
  halves: [0],
  outputs([weight, tokens]) {
    checkReal("embedding", { weight: weight! });
    check(weight!.shape.length === 2, "E_SHAPE", () => `embedding: weight ${showShape(weight!.shape)} must be [vocabulary, width]`);
    check(tokens!.dtype === "i32", "E_DTYPE", () => `embedding: tokens are ${tokens!.dtype}; they must be i32 (see tokenTensor)`);
    check(weight!.shape[0]! > 0 || tokens!.size === 0, "E_SHAPE", () => "embedding: weight has no rows to pick from");
    return [{ shape: [...tokens!.shape, weight!.shape[1]!], dtype: weight!.dtype === "f16" ? "f32" : weight!.dtype }];
  },
  forward([weight, tokens], [out]) {
    if (out!.size === 0) return;
    weight!.device.kernels.embedding({ weight: weight!, tokens: tokens!, out: out!, ...sizes(weight!, tokens!) });
  },
  gradient({ inputs: [weight, tokens] }, [dy]) {
    const dweight = Tensor.empty(weight!.device, weight!.shape, weight!.dtype);
    weight!.device.kernels.embeddingGradient({ tokens: tokens!, dy: dy!, dweight, ...sizes(weight!, tokens!) });
    return [dweight, null];
  },
};

/** Rows of a matrix: weight [V, D], tokens i32 [...] -> [..., D]; of an f16 weight as f32. Make tokens with {@link tokenTensor}, which checks them. */
export function embedding(weight: Tensor, tokens: Tensor): Tensor {
  return applyList(embeddingOp, [weight, tokens], undefined)[0]!;
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
