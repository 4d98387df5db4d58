/**
 * Float32 arithmetic in integers, as WGSL text. WGSL lets a device fuse products with sums, flush denormal numbers, assume
 * that there is no NaN, and be off in division and roots by several units in the last place. Where every device must give
 * the same bits (random numbers, the norm and factor of clipping), kernels compute with these functions instead: each takes
 * and gives bits of float32 numbers, and rounds to nearest, ties to even, as IEEE 754 says, denormal numbers and overflow to
 * infinity included. An operation is some 30 integer instructions.
 */

/** The bits of a number rounded to float32. */
export function floatBits(x: number): number {
  return new Uint32Array(Float32Array.of(x).buffer)[0]!;
}

/** The same as a WGSL literal. */
export const softLiteral = (x: number): string => `0x${floatBits(x).toString(16)}u`;

/** Declarations for programs; all names begin with `soft_` or `SOFT_`. */
export const SOFT_FLOAT = `
const SOFT_SIGN = 0x80000000u;
const SOFT_INFINITY = 0x7f800000u;
const SOFT_NAN = 0x7fc00000u;

// |x| = significand * 2^exponent
struct SoftParts { significand: u32, exponent: i32 }

// Of a finite x, with significand < 2^24.
fn soft_parts(x: u32) -> SoftParts {
  let field = (x >> 23u) & 255u;
  return SoftParts((x & 0x7fffffu) | (u32(field > 0u) << 23u), i32(max(field, 1u)) - 150);
}

// Of a finite x, with significand in [2^23, 2^24), or 0 where x is 0.
fn soft_normalised(x: u32) -> SoftParts {
  let parts = soft_parts(x);
  let lead = countLeadingZeros(parts.significand) - 8u;
  return SoftParts(parts.significand << lead, parts.exponent - i32(lead));
}

// x >> n for any n; the lowest bit is set when any of the lost ones was ("sticky"), which is all that rounding asks of them.
fn soft_shifted(x: u32, n: u32) -> u32 {
  if (n > 31u) { return u32(x != 0u); }
  let kept = x >> n;
  return kept | u32((kept << n) != x);
}

// The float32 number nearest to significand * 2^exponent. The significand is exact, or has at least 26 bits and a sticky lowest one.
fn soft_rounded(sign: u32, exponent: i32, significand: u32) -> u32 {
  if (significand == 0u) { return sign; }
  let lead = countLeadingZeros(significand);
  let field = exponent - i32(lead) + 158; // the exponent as it is stored
  if (field >= 255) { return sign | SOFT_INFINITY; }
  // Bits 31 ... 8 are kept, fewer in a denormal number; those below decide the rounding.
  let aligned = soft_shifted(significand << lead, u32(max(1 - field, 0)));
  let kept = aligned >> 8u;
  let rest = aligned & 255u;
  let up = u32(rest > 128u || (rest == 128u && (kept & 1u) == 1u));
  // Bit 23 and a carry of the rounding count the exponent up, if need be to infinity.
  return sign | ((u32(max(field, 1) - 1) << 23u) + kept + up);
}

// a + b; at most one may be infinite.
fn soft_add(a: u32, b: u32) -> u32 {
  let ordered = (a & ~SOFT_SIGN) >= (b & ~SOFT_SIGN);
  let larger = select(b, a, ordered);
  if ((larger & SOFT_INFINITY) == SOFT_INFINITY) { return larger; }
  let x = soft_parts(larger);
  let y = soft_parts(select(a, b, ordered));
  let low = soft_shifted(y.significand << 7u, u32(x.exponent - y.exponent));
  let sum = (x.significand << 7u) + select(low, ~low + 1u, ((a ^ b) & SOFT_SIGN) != 0u);
  return soft_rounded(select(larger, a & b, sum == 0u) & SOFT_SIGN, x.exponent - 7, sum);
}

// a * b of finite numbers.
fn soft_mul(a: u32, b: u32) -> u32 {
  let x = soft_normalised(a);
  let y = soft_normalised(b);
  // The product of 48 bits from halves of 12: its bits 47 ... 16, and a sticky one.
  let xs = vec2u(x.significand & 0xfffu, x.significand >> 12u);
  let ys = vec2u(y.significand & 0xfffu, y.significand >> 12u);
  let low = xs.x * ys.x;
  let middle = xs.x * ys.y + xs.y * ys.x + (low >> 12u);
  let lost = (low & 0xfffu) | (middle & 15u);
  let high = ((xs.y * ys.y) << 8u) + (middle >> 4u);
  return soft_rounded((a ^ b) & SOFT_SIGN, x.exponent + y.exponent + 16, high | u32(lost != 0u));
}

// a / b of finite numbers, b not 0.
fn soft_div(a: u32, b: u32) -> u32 {
  let x = soft_normalised(a);
  let y = soft_normalised(b);
  // Long division in digits of 7 bits: what is left is below 2^24, so that it can be shifted by them.
  var quotient = x.significand / y.significand;
  var left = x.significand % y.significand;
  for (var digit = 0; digit < 4; digit++) {
    left <<= 7u;
    quotient = (quotient << 7u) | (left / y.significand);
    left %= y.significand;
  }
  return soft_rounded((a ^ b) & SOFT_SIGN, x.exponent - y.exponent - 28, quotient | u32(left != 0u));
}

// The root of a finite x >= 0.
fn soft_sqrt(x: u32) -> u32 {
  let parts = soft_normalised(x);
  let odd = u32(parts.exponent & 1);
  let radicand = parts.significand << odd;
  // Bit by bit, as by hand: the root of radicand * 2^28, whose bits come in pairs, 13 from the radicand and 14 of zeros.
  var root = 0u;
  var left = 0u;
  for (var pair = 0u; pair < 27u; pair++) {
    left <<= 2u;
    if (pair < 13u) { left |= (radicand >> (24u - 2u * pair)) & 3u; }
    let trial = (root << 2u) | 1u;
    root <<= 1u;
    if (left >= trial) {
      left -= trial;
      root |= 1u;
    }
  }
  return soft_rounded(0u, ((parts.exponent - i32(odd)) >> 1u) - 14, root | u32(left != 0u));
}`;
