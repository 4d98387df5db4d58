/**
 * The larger and the smaller of two, from comparisons and choices. What is not a number wins. Where both are the same the gradient is the
 * first one's.
 */
import { check } from "../errors";
import type { Tensor } from "../tensor";
import { full } from "./memory";
import { add, addScalar, equal, less, neg } from "./elementwise";
import { where } from "./where";

/** b where `isBefore`, or where b is not a number; else a. */
function choose(isBefore: Tensor, a: Tensor, b: Tensor): Tensor {
  const isNotNumber = addScalar(neg(equal(b, b)), 1);
  return where(add(isBefore, isNotNumber), b, a);
}

/** The larger of a and b, broadcasting; not a number where either is. Differentiable; a has the gradient where they are equal. */
export function maximum(a: Tensor, b: Tensor): Tensor {
  return choose(less(a, b), a, b);
}

/** The smaller of a and b, broadcasting; not a number where either is. Differentiable; a has the gradient where they are equal. */
export function minimum(a: Tensor, b: Tensor): Tensor {
  return choose(less(b, a), a, b);
}

/**
 * x between `low` and `high`, either of which may be infinite; the gradient is 0 where x lies beyond. Throws `E_ARGUMENT` when low
 * is above high.
 */
export function clamp(x: Tensor, low: number, high: number): Tensor {
  check(low <= high, "E_ARGUMENT", () => `clamp: low ${low} must be at most high ${high}`);
  const limit = (value: number) => full(x.device, [1], value, x.dtype);
  const raised = low === -Infinity ? x : maximum(x, limit(low));
  return high === Infinity ? raised : minimum(raised, limit(high));
}
