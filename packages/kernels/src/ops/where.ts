/**
 * Choosing by a condition: y = a where it is not 0, else b. What is not chosen changes nothing, not even when it is not a number.
 *
 * Gradient: da = dy where the condition is not 0, else 0; db the other way round; each summed over the axes along which it was stretched.
 */
import { kernelsOf } from "../kernels";
import { apply, checkTensors, like, type Op } from "../op";
import { broadcastShapes, sameShape } from "../shape";
import type { Family } from "../signature";
import type { Tensor } from "../tensor";
import { checkReal } from "./checks";
import { broadcastTo } from "./view";

export const whereKernels = {
  /** All of one size; a or b null: zeros. */
  where: { numbers: {}, reads: { condition: "[*]", a: "[*]?", b: "[*]?" }, writes: { y: "[*]" } },
} as const satisfies Family;

const kernels = kernelsOf<typeof whereKernels>;

const whereOp: Op<{ condition: Tensor; a: Tensor; b: Tensor }, { y: Tensor }> = {
  name: "where",
  outputs({ condition, a, b }) {
    checkReal("where", { condition, a, b });
    return { y: { shape: condition.shape, dtype: condition.dtype } };
  },
  forward({ condition, a, b }, { y }) {
    if (y.size > 0) kernels(y).where({ condition, a, b, y });
  },
  gradient({ inputs: { condition }, wanted }, { y: dy }) {
    const [da, db] = [wanted.a ? like(dy) : null, wanted.b ? like(dy) : null];
    if (da) kernels(dy).where({ condition, a: dy, b: null, y: da });
    if (db) kernels(dy).where({ condition, a: null, b: dy, y: db });
    return { a: da, b: db };
  },
};

/**
 * Chooses between a and b, number by number: a where `condition` is not 0, else b; all three broadcast. The condition passes no
 * gradient. Throws `E_SHAPE`, `E_DTYPE`.
 */
export function where(condition: Tensor, a: Tensor, b: Tensor): Tensor {
  checkTensors("where", { condition, a, b });
  const shape = broadcastShapes(broadcastShapes(condition.shape, a.shape, "where"), b.shape, "where");
  const stretched = (t: Tensor) => (sameShape(t.shape, shape) ? t : broadcastTo(t, shape));
  return apply(whereOp, { condition: stretched(condition), a: stretched(a), b: stretched(b) }, undefined).y;
}
