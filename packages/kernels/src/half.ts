/**
 * Numbers of 16 bits, IEEE 754 half precision and bfloat16, from and to numbers. Half precision has 5 bits of exponent (bias 15) and 10 of
 * fraction where float32 has 8 (bias 127) and 23: shifted by 13, the bits of one are those of the other but for 112 in the exponent.
 */

/** The numbers that bits of half precision mean; exact. */
export function fromF16s(halves: Uint16Array, into: Float32Array): void {
  const bits = new Int32Array(into.buffer, into.byteOffset, into.length);
  for (let i = 0; i < bits.length; i++) {
    const half = halves[i]!;
    const exponent = half & 0x7c00;
    // An exponent of ones alone stays one: infinity and NaN.
    if (exponent) bits[i] = ((half & 0x8000) << 16) | (((half & 0x7fff) << 13) + (exponent === 0x7c00 ? 0x70000000 : 0x38000000));
    else into[i] = (half & 0x8000 ? -1 : 1) * (half & 0x3ff) * 2 ** -24; // zero, or subnormal
  }
}

/** The numbers that bits of bfloat16 (the upper half of a float32) mean; exact. */
export function fromBF16s(halves: Uint16Array, into: Float32Array): void {
  const bits = new Int32Array(into.buffer, into.byteOffset, into.length);
  for (let i = 0; i < bits.length; i++) bits[i] = halves[i]! << 16;
}

/** Nearest half-precision numbers, ties to even. Beyond the range: infinity. */
export function toF16s(numbers: Float32Array, into: Uint16Array): void {
  const bits = new Int32Array(numbers.buffer, numbers.byteOffset, numbers.length);
  for (let i = 0; i < bits.length; i++) {
    const x = bits[i]! & 0x7fffffff;
    // From the most frequent to the rarest. A carry out of the fraction moves into the exponent, which is right, up to infinity.
    into[i] = ((bits[i]! >>> 16) & 0x8000) | (
      x >= 0x38800000 && x < 0x47800000 ? (x - 0x38000000 + 0xfff + ((x >>> 13) & 1)) >>> 13
        // Subnormal: whole multiples of 2^-24, to which adding 2^52 rounds a float64.
        : x < 0x38800000 ? Math.abs(numbers[i]!) * 2 ** 24 + 2 ** 52 - 2 ** 52
          : x > 0x7f800000 ? 0x7e00 : 0x7c00);
  }
}

/** Nearest bfloat16 numbers, ties to even. Beyond the range: infinity. */
export function toBF16s(numbers: Float32Array, into: Uint16Array): void {
  const bits = new Int32Array(numbers.buffer, numbers.byteOffset, numbers.length);
  for (let i = 0; i < bits.length; i++) {
    const x = bits[i]!;
    // A NaN stays one when its payload is cut off.
    into[i] = Number.isNaN(numbers[i]) ? (x >>> 16) | 0x40 : (x + 0x7fff + ((x >>> 16) & 1)) >>> 16;
  }
}

/**
 * Float32 numbers of float64 ones, rounded to odd: towards zero, with the last bit set when anything was lost. Rounding these on to a
 * narrower type gives the same result as rounding the float64 itself, so that nothing is rounded twice.
 */
export function toOdd(numbers: ArrayLike<number>): Float32Array {
  const rounded = Float32Array.from(numbers);
  const bits = new Int32Array(rounded.buffer);
  for (let i = 0; i < bits.length; i++) {
    const x = numbers[i]!;
    if (rounded[i] !== x && !Number.isNaN(x) && !(bits[i]! & 1)) bits[i]! += Math.abs(rounded[i]!) < Math.abs(x) ? 1 : -1;
  }
  return rounded;
}

/** Pairs that {@link countNonFiniteF16} looks at together. */
const BLOCK = 1024;

/** How many half-precision numbers are NaN or infinite. */
export function countNonFiniteF16(halves: Uint16Array): number {
  // Two at a time where they lie so, and one by one only in blocks where one is.
  const pairs = halves.byteOffset % 4 === 0 ? new Int32Array(halves.buffer, halves.byteOffset, halves.length >> 1) : new Int32Array();
  let count = 0;
  const countFrom = (start: number, end: number): void => {
    for (let i = start; i < end; i++) if ((halves[i]! & 0x7c00) === 0x7c00) count++;
  };
  for (let start = 0; start < pairs.length; start += BLOCK) {
    const end = Math.min(start + BLOCK, pairs.length);
    let any = 0;
    // Adding one to an exponent of ones alone carries into the sign.
    for (let i = start; i < end; i++) any |= (pairs[i]! & 0x7c007c00) + 0x04000400;
    if (any & 0x80008000) countFrom(2 * start, 2 * end);
  }
  countFrom(2 * pairs.length, halves.length);
  return count;
}
