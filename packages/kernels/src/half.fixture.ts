/** Numbers of 16 bits one by one, by the formats' definitions: what the conversions of half.ts are held against. */

/** The number that 16 bits mean in IEEE 754 half precision. */
export function fromF16(bits: number): number {
  return byDefinition(bits, 5);
}

/** The number that 16 bits mean as bfloat16. */
export function fromBF16(bits: number): number {
  return byDefinition(bits, 8);
}

function byDefinition(bits: number, exponentBits: number): number {
  const sign = bits >> 15 ? -1 : 1;
  const steps = 2 ** (15 - exponentBits); // of the fraction
  const fraction = (bits % steps) / steps;
  const exponent = Math.floor((bits % 2 ** 15) / steps);
  const bias = 2 ** (exponentBits - 1) - 1;
  if (exponent === 2 * bias + 1) return fraction ? NaN : sign * Infinity;
  return sign * (exponent === 0 ? fraction * 2 ** (1 - bias) : (1 + fraction) * 2 ** (exponent - bias));
}
