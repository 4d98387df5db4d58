/** Starting values that several families draw alike. */

/** The number at the share u (0 to 1) of a range whose logarithm is evenly filled. */
export function logUniform([low, high]: readonly [number, number], u: number): number {
  return low * (high / low) ** u;
}

/** x with log(1 + exp(x)) = y. */
export function inverseSoftplus(y: number): number {
  return y + Math.log(-Math.expm1(-y));
}
