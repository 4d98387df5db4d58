/** Numbers of 16 bits, IEEE 754 half precision and bfloat16, from and to numbers. */

const scratch = /* @__PURE__ */ new DataView(new ArrayBuffer(4));

function bitsOf(x: number): number {
  scratch.setFloat32(0, x);
  return scratch.getUint32(0);
}

function fromBits(bits: number): number {
  scratch.setUint32(0, bits);
  return scratch.getFloat32(0);
}

/** The number that 16 bits mean in IEEE 754 half precision; exact. */
export function fromF16(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 0x3ff;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25));
}

/** The number that 16 bits mean as bfloat16 (the upper half of a float32); exact. */
export function fromBF16(bits: number): number {
  return fromBits(bits << 16);
}

/** All numbers of a 16-bit format by their bits, made when first asked for: looking up is ten times as fast as converting. */
function tableOf(convert: (bits: number) => number): () => Float32Array {
  let table: Float32Array | undefined;
  return () => (table ??= Float32Array.from({ length: 1 << 16 }, (_, bits) => convert(bits)));
}

/** The number of each half-precision pattern. */
export const f16Table = /* @__PURE__ */ tableOf(fromF16);
/** The number of each bfloat16 pattern. */
export const bf16Table = /* @__PURE__ */ tableOf(fromBF16);

/**
 * Float32 bits of x rounded to odd: truncated, with the last bit set when anything was lost. Rounding these on to
 * a narrower type gives the same result as rounding x itself, so float64 numbers are not rounded twice.
 */
function oddBits(x: number): number {
  const rounded = Math.fround(x);
  const bits = bitsOf(rounded);
  if (rounded === x || Number.isNaN(x) || bits & 1) return bits;
  return Math.abs(rounded) < Math.abs(x) ? bits + 1 : bits - 1;
}

/** Shifts 31 bits right by 1 to 24, rounding to nearest, ties to even. */
function roundedShift(bits: number, shift: number): number {
  const floor = bits >>> shift;
  const rest = bits & ((1 << shift) - 1);
  const half = 1 << (shift - 1);
  return floor + (rest > half || (rest === half && (floor & 1) === 1) ? 1 : 0);
}

/** Nearest bfloat16, ties to even. Beyond the range: infinity. */
export function toBF16(x: number): number {
  const bits = oddBits(x);
  if (Number.isNaN(x)) return (bits >>> 16) | 0x40; // keep it a NaN when its payload is cut off
  return ((bits >>> 16) & 0x8000) | roundedShift(bits & 0x7fffffff, 16);
}

/** Nearest half-precision number, ties to even. Beyond the range: infinity. */
export function toF16(x: number): number {
  return halfOfBits(oddBits(x));
}

/** Nearest half-precision numbers of float32 numbers, which need not be looked at one by one as numbers: many times as fast. */
export function toF16s(numbers: Float32Array, into: Uint16Array): void {
  const bits = new Int32Array(numbers.buffer, numbers.byteOffset, numbers.length);
  for (let i = 0; i < bits.length; i++) {
    const x = bits[i]!;
    // Exponents of normal halves: they are re-biased, and what is cut off is rounded to nearest, ties to even; a carry moves into them.
    const normal = ((x >>> 23) & 255) - 113;
    into[i] = normal >>> 0 < 30
      ? ((x >>> 16) & 0x8000) | (((x & 0x7fffffff) - 0x38000000 + 0xfff + ((x >>> 13) & 1)) >>> 13) : halfOfBits(x);
  }
}

/** How many half-precision numbers are NaN or infinite. */
export function countNonFiniteF16(halves: Uint16Array): number {
  let count = 0;
  // Two at a time where they lie so: adding one to an exponent of ones alone carries into the sign.
  const pairs = halves.byteOffset % 4 === 0 ? new Uint32Array(halves.buffer, halves.byteOffset, halves.length >> 1) : new Uint32Array();
  const isNot = (i: number): number => ((halves[i]! & 0x7c00) === 0x7c00 ? 1 : 0);
  for (let i = 0; i < pairs.length; i++)
    if ((((pairs[i]! & 0x7c007c00) + 0x04000400) | 0) & 0x80008000) count += isNot(2 * i) + isNot(2 * i + 1);
  for (let i = 2 * pairs.length; i < halves.length; i++) count += isNot(i);
  return count;
}

/** Nearest half-precision number of what float32 bits mean, ties to even. */
function halfOfBits(bits: number): number {
  const sign = (bits >>> 16) & 0x8000;
  const exponent = ((bits >>> 23) & 255) - 112; // re-biased from 127 to 15
  const fraction = bits & 0x7fffff;
  if (exponent === 143 && fraction !== 0) return sign | 0x7e00; // NaN
  if (exponent >= 31) return sign | 0x7c00;
  // A carry out of the fraction moves into the exponent, which is right, up to infinity.
  if (exponent > 0) return sign | roundedShift((exponent << 23) | fraction, 13);
  if (exponent < -10) return sign;
  return sign | roundedShift(fraction | 0x800000, 14 - exponent);
}
