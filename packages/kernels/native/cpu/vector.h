// Vectors of floats, as wide as the instruction set that this file is compiled for.
//
// One source serves all: GCC/Clang vector extensions give + - * / and comparisons on `vf`, and what they lack is below.
// A loop over n floats looks like this:
//
//   int64_t i = 0;
//   for (; i + WIDTH <= n; i += WIDTH) store(y + i, silu(load(x + i)));
//   if (i < n) storeFirst(y + i, silu(loadFirst(x + i, n - i)), n - i);
//
// `a * b + c` becomes one fused multiply-add where the processor has it (-ffp-contract=fast). A comparison gives a `vi`
// of 0 and -1 per lane, as `select` takes it. A float broadcasts in arithmetic: `2.0f * v`.
//
// Everything sits in the namespace of the instruction set: else the linker would merge inline functions of different
// instruction sets into one, and a plain processor would meet AVX-512 code.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <utility>
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

// On AVX-512 the zeroing forms of intrinsics stand for the plain ones (the mask is full, so the code is the same):
// GCC 12 warns of an uninitialised value inside its own plain ones.
#define LENGGEN_INLINE static inline __attribute__((always_inline))

namespace lenggen {
namespace LENGGEN_ISA {

#if defined(__AVX512F__)
constexpr int WIDTH = 16;
#elif defined(__AVX2__)
constexpr int WIDTH = 8;
#else
constexpr int WIDTH = 4;
#endif

// A tile of a matrix product, held in registers while the summed axis runs: rows times vectors of columns. It must hide the
// latency of a multiply-add (4 cycles x 2 units = 8 sums in flight) and leave registers for a row piece of B and one element
// of A: 14 x 2 of 32 registers (AVX-512, NEON), 6 x 2 of 16 (SSE, AVX2).
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int TILE_ROWS = 14;
#else
constexpr int TILE_ROWS = 6;
#endif
constexpr int TILE_VECTORS = 2;
constexpr int TILE_COLUMNS = TILE_VECTORS * WIDTH;

typedef float vf __attribute__((vector_size(WIDTH * 4)));
typedef int32_t vi __attribute__((vector_size(WIDTH * 4)));

// The same bits as the other type, and the nearest float of a whole number.
LENGGEN_INLINE vi bitsOf(vf v) { return (vi)v; }
LENGGEN_INLINE vf floatOf(vi bits) { return (vf)bits; }
LENGGEN_INLINE vf toFloat(vi v) { return __builtin_convertvector(v, vf); }

// ---- memory: any float or int32 address will do -----------------------------------------------------------------

LENGGEN_INLINE vf load(const float* p) {
  vf v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
LENGGEN_INLINE vi load(const int32_t* p) {
  vi v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
LENGGEN_INLINE void store(float* p, vf v) { std::memcpy(p, &v, sizeof v); }
LENGGEN_INLINE void store(int32_t* p, vi v) { std::memcpy(p, &v, sizeof v); }

// x - 0 is x for every x, -0 included, and compilers know it; 0 + x is not.
LENGGEN_INLINE vf broadcast(float x) { return x - vf{}; }
LENGGEN_INLINE vi broadcast(int32_t x) { return vi{} + x; }
LENGGEN_INLINE vf zero() { return vf{}; }

// 0, 1, 2, ...
LENGGEN_INLINE vi lanes() {
  vi v;
  for (int i = 0; i < WIDTH; i++) v[i] = i;
  return v;
}

// The first n lanes (0 <= n <= WIDTH) from memory, zeros in the others; reads nothing past the n-th float.
LENGGEN_INLINE vf loadFirst(const float* p, int64_t n) {
#if defined(__AVX512F__)
  return (vf)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
#elif defined(__AVX2__)
  return (vf)_mm256_maskload_ps(p, (__m256i)(lanes() < (int32_t)n));
#else
  vf v = {};
  for (int64_t i = 0; i < n; i++) v[i] = p[i];
  return v;
#endif
}

// Half-precision numbers (IEEE 754 binary16), widened, which is exact. Any address will do.
LENGGEN_INLINE vf load(const uint16_t* p) {
#if defined(__AVX512F__)
  return (vf)_mm512_maskz_cvtph_ps(0xffff, _mm256_loadu_si256((const __m256i*)p));
#elif defined(__F16C__)
  return (vf)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)p));
#elif defined(__ARM_NEON)
  return (vf)vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
#else
  // In place, the bits have an exponent that is 112 too low. A subnormal number is its fraction times 2^-24; infinity and NaN
  // have an exponent of their own. No float on the way is subnormal, since those count as 0.
  vi bits;
  for (int i = 0; i < WIDTH; i++) bits[i] = p[i];
  const vi magnitude = (bits & 0x7fff) << 13, special = magnitude >= 0x7c00 << 13, subnormal = magnitude < 0x0400 << 13;
  const vi normal = magnitude + (special & (112 << 23)) + (112 << 23);
  const vi wide = (subnormal & bitsOf(toFloat(bits & 0x03ff) * 0x1p-24f)) | (~subnormal & normal);
  return (vf)(wide | (bits & 0x8000) << 16);
#endif
}
LENGGEN_INLINE vf loadFirst(const uint16_t* p, int64_t n) {
  uint16_t rest[WIDTH] = {};
  std::memcpy(rest, p, static_cast<size_t>(n) * sizeof *p);
  return load(rest);
}

// Writes the first n lanes (0 <= n <= WIDTH) and nothing past them.
LENGGEN_INLINE void storeFirst(float* p, vf v, int64_t n) {
#if defined(__AVX512F__)
  _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v);
#elif defined(__AVX2__)
  _mm256_maskstore_ps(p, (__m256i)(lanes() < (int32_t)n), (__m256)v);
#else
  for (int64_t i = 0; i < n; i++) p[i] = v[i];
#endif
}

// ---- lanes ------------------------------------------------------------------------------------------------------

// Lane by lane: a where the mask is -1, b where it is 0.
LENGGEN_INLINE vf select(vi mask, vf a, vf b) { return mask ? a : b; }
LENGGEN_INLINE vi select(vi mask, vi a, vi b) { return mask ? a : b; }

// a·b + c, rounded once where the processor can.
LENGGEN_INLINE vf fma(vf a, vf b, vf c) { return a * b + c; }

// The larger lane. When one is NaN the result is b, so put what must pass NaN through second.
LENGGEN_INLINE vf max(vf a, vf b) {
#if defined(__AVX512F__)
  return (vf)_mm512_maskz_max_ps(-1, (__m512)a, (__m512)b);
#elif defined(__AVX2__)
  return (vf)_mm256_max_ps((__m256)a, (__m256)b);
#else
  return a > b ? a : b;
#endif
}
// The smaller lane; NaN as for max.
LENGGEN_INLINE vf min(vf a, vf b) {
#if defined(__AVX512F__)
  return (vf)_mm512_maskz_min_ps(-1, (__m512)a, (__m512)b);
#elif defined(__AVX2__)
  return (vf)_mm256_min_ps((__m256)a, (__m256)b);
#else
  return a < b ? a : b;
#endif
}
LENGGEN_INLINE vf abs(vf v) { return floatOf(bitsOf(v) & 0x7fffffff); }

// Exactly rounded.
LENGGEN_INLINE vf sqrt(vf v) {
#if defined(__AVX512F__)
  return (vf)_mm512_maskz_sqrt_ps(-1, (__m512)v);
#elif defined(__AVX2__)
  return (vf)_mm256_sqrt_ps((__m256)v);
#elif defined(__x86_64__)
  return (vf)_mm_sqrt_ps((__m128)v);
#elif defined(__aarch64__)
  return (vf)vsqrtq_f32((float32x4_t)v);
#else
  for (int i = 0; i < WIDTH; i++) v[i] = std::sqrt(v[i]);
  return v;
#endif
}
LENGGEN_INLINE vf rsqrt(vf v) { return 1.0f / sqrt(v); }

// Sum over the lanes by halves, always in the same order.
LENGGEN_INLINE float sum(vf v) {
  float lane[WIDTH];
  store(lane, v);
  typedef float v4 __attribute__((vector_size(16)));
  v4 part[WIDTH / 4];
  std::memcpy(part, lane, sizeof part);
  for (int n = WIDTH / 8; n > 0; n /= 2)
    for (int i = 0; i < n; i++) part[i] += part[i + n];
  return (part[0][0] + part[0][2]) + (part[0][1] + part[0][3]);
}

// The largest lane; NaN when the lanes hold one.
LENGGEN_INLINE float largest(vf v) {
  float m = v[0];
  for (int i = 1; i < WIDTH; i++) m = v[i] > m || v[i] != v[i] ? v[i] : m;
  return m;
}

// One step of transposeSquare: swaps the blocks of D x D off the diagonal of each 2D x 2D.
template <int D, int... I>
LENGGEN_INLINE void swapBlocks(vf (&rows)[WIDTH], std::integer_sequence<int, I...>) {
#pragma GCC unroll 16
  for (int i = 0; i < WIDTH; i++) {
    if (i & D) continue;
    const vf a = rows[i], b = rows[i + D];
#if defined(__clang__)
    rows[i] = __builtin_shufflevector(a, b, (I & D ? WIDTH + I - D : I)...);
    rows[i + D] = __builtin_shufflevector(a, b, (I & D ? WIDTH + I : I + D)...);
#else
    rows[i] = __builtin_shuffle(a, b, vi{(I & D ? WIDTH + I - D : I)...});
    rows[i + D] = __builtin_shuffle(a, b, vi{(I & D ? WIDTH + I : I + D)...});
#endif
  }
}

// rows[i][j] and rows[j][i] change places.
LENGGEN_INLINE void transposeSquare(vf (&rows)[WIDTH]) {
  constexpr std::make_integer_sequence<int, WIDTH> all{};
  if constexpr (WIDTH >= 16) swapBlocks<8>(rows, all);
  if constexpr (WIDTH >= 8) swapBlocks<4>(rows, all);
  swapBlocks<2>(rows, all);
  swapBlocks<1>(rows, all);
}

// ---- functions: errors in units in the last place over the whole range, and at the edges what IEEE says -----------------

// Two bounds keep the exponent arithmetic inside an int; beyond them the results are infinity and 0 anyway.
constexpr float EXP_LOW = -105.0f, EXP_HIGH = 90.0f;

// e^x; within 2 ulp, where the result is a normal number (others are 0). exp(0) is 1, exp(-inf) 0, overflow is inf, NaN stays NaN.
// Coefficients: Cephes expf (Moshier).
LENGGEN_INLINE vf exp(vf x) {
  x = min(broadcast(EXP_HIGH), max(broadcast(EXP_LOW), x));
  // Adding 1.5·2^23 rounds to a whole number, which then stands in the low bits.
  const vf shifted = x * 1.44269504088896341f + 12582912.0f;
  const vf n = shifted - 12582912.0f;
  const vf r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  vf p = r * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
#if defined(__AVX512F__)
  return (vf)_mm512_maskz_scalef_ps(-1, (__m512)p, (__m512)n);
#else
  // 2^n in two factors, since n reaches past the exponents of normal numbers.
  const vi whole = bitsOf(shifted) - 0x4b400000;
  const vi half = whole >> 1;
  return p * floatOf((half + 127) << 23) * floatOf((whole - half + 127) << 23);
#endif
}

// 2^x, cheaper than exp; within 2 ulp, where the result is a normal number (others are 0). exp2(0) is 1, exp2(-inf) 0, what overflows is
// not finite, NaN stays NaN.
LENGGEN_INLINE vf exp2(vf x) {
#if defined(__AVX512F__)
  // 2^(i/16), i = 0 ... 15, are picked from one register by the lowest bits of x in sixteenths, to which adding 1.5·2^19 rounds. Between
  // them three terms of the exponential series are exact to 1e-8.
  const vf powers = {1.0f, 1.04427378f, 1.09050773f, 1.13878863f, 1.18920712f, 1.24185781f, 1.29683955f, 1.35425555f,
                     1.41421356f, 1.47682615f, 1.54221083f, 1.61049033f, 1.68179283f, 1.75625216f, 1.83400809f, 1.91520656f};
  const vf shifted = x + 786432.0f;
  const vf n = shifted - 786432.0f;
  const vf r = x - n;
  const vf power = (vf)_mm512_maskz_permutexvar_ps(-1, (__m512i)shifted, (__m512)powers);
  vf p = r * 5.550410866482158e-2f + 2.402265069591007e-1f;
  p = (p * r + 6.931471805599453e-1f) * r;
  // This takes the whole part of n, and for n = -inf it gives 0 even of NaN.
  return (vf)_mm512_maskz_scalef_ps(-1, (__m512)(p * power + power), (__m512)n);
#else
  // Coefficients: Cephes exp2f (Moshier). At the bounds the exponent is that of 0 and of infinity.
  x = min(broadcast(128.0f), max(broadcast(-127.0f), x));
  const vf shifted = x + 12582912.0f;
  const vf n = shifted - 12582912.0f;
  const vf r = x - n;
  vf p = r * 1.535336188319500e-4f + 1.339887440266574e-3f;
  p = p * r + 9.618437357674640e-3f;
  p = p * r + 5.550332471162809e-2f;
  p = p * r + 2.402264791363012e-1f;
  p = p * r + 6.931472028550421e-1f;
  p = p * r + 1.0f;
  // n goes into the exponent; what is added is 0, or NaN, which has lost its bits. Subnormal results count as 0.
  return r * 0.0f + floatOf(bitsOf(p) + (bitsOf(shifted) << 23));
#endif
}

// Natural logarithm; within 2 ulp, subnormal x included. log(0) is -inf, log(x < 0) NaN, log(inf) inf.
// Coefficients: Cephes logf (Moshier).
LENGGEN_INLINE vf log(vf x) {
  // The bits of a subnormal number are its whole multiple of 2^-149. Bits are compared, as the number itself counts as 0.
  const vi tiny = bitsOf(x) < 0x00800000;
  const vf scaled = select(tiny, toFloat(bitsOf(x)), x);
  // m in [sqrt(1/2), sqrt(2)), x = m·2^e
  const vi bits = bitsOf(scaled) - 0x3f3504f3;
  const vf e = toFloat((bits >> 23) - (tiny & 149));
  const vf m = floatOf((bits & 0x007fffff) + 0x3f3504f3) - 1.0f;
  const vf square = m * m;
  vf p = m * 7.0376836292e-2f - 1.1514610310e-1f;
  p = p * m + 1.1676998740e-1f;
  p = p * m - 1.2420140846e-1f;
  p = p * m + 1.4249322787e-1f;
  p = p * m - 1.6668057665e-1f;
  p = p * m + 2.0000714765e-1f;
  p = p * m - 2.4999993993e-1f;
  p = p * m + 3.3333331174e-1f;
  vf y = p * m * square;
  y = e * -2.12194440e-4f + y;
  y = square * -0.5f + y;
  y = (m + y) + e * 0.693359375f;
  const float inf = std::numeric_limits<float>::infinity();
  y = select(x < inf, y, x);  // inf and NaN
  y = select(bitsOf(x) < 0, broadcast(std::numeric_limits<float>::quiet_NaN()), y);
  return select((bitsOf(x) & INT32_MAX) == 0, broadcast(-inf), y);
}

// log(1 + x) for x >= 0, accurate for tiny x too.
LENGGEN_INLINE vf log1p(vf x) {
  const vf w = x + 1.0f;
  return log(w) + (x - (w - 1.0f)) / w;
}

// 1 / (1 + e^-x)
LENGGEN_INLINE vf sigmoid(vf x) { return 1.0f / (1.0f + exp(-x)); }

// x · sigmoid(x). NaN at -inf, as in PyTorch.
LENGGEN_INLINE vf silu(vf x) { return x / (1.0f + exp(-x)); }

// log(1 + e^x), with no overflow and no loss for very negative x.
LENGGEN_INLINE vf softplus(vf x) { return max(zero(), x) + log1p(exp(-abs(x))); }

// Hyperbolic tangent; coefficients for small x: Cephes tanhf (Moshier).
LENGGEN_INLINE vf tanh(vf x) {
  const vf square = x * x;
  vf p = square * -5.70498872745e-3f + 2.06390887954e-2f;
  p = p * square - 5.37397155531e-2f;
  p = p * square + 1.33314422036e-1f;
  p = p * square - 3.33332819422e-1f;
  const vf small = p * square * x + x;
  const vf e = exp(-2.0f * abs(x));
  const vf large = floatOf(bitsOf((1.0f - e) / (1.0f + e)) | (bitsOf(x) & INT32_MIN));
  return select(abs(x) < 0.625f, small, large);
}

// Cosine and sine of an angle of up to a few thousand turns, within 2e-7; NaN where it is not finite.
// Coefficients, and pi/2 in three pieces of which whole multiples of the first two are exact: Cephes sinf and cosf (Moshier).
LENGGEN_INLINE void turnOf(vf angle, vf& cosine, vf& sine) {
  // Adding 1.5·2^23 rounds to a whole number of quarter turns, which then stands in the low bits.
  const vf shifted = angle * 0.636619772367581343f + 12582912.0f;
  const vf n = shifted - 12582912.0f;
  const vf r = ((angle - n * 1.5703125f) - n * 4.837512969970703125e-4f) - n * 7.54978995489188216e-8f;
  const vf z = r * r;
  vf s = z * -1.9515295891e-4f + 8.3321608736e-3f;
  s = s * z - 1.6666654611e-1f;
  s = s * z * r + r;
  vf c = z * 2.443315711809948e-5f - 1.388731625493765e-3f;
  c = c * z + 4.166664568298827e-2f;
  c = c * (z * z) - z * 0.5f + 1.0f;
  const vi quarter = bitsOf(shifted);
  const vi swapped = (quarter & 1) != 0;
  // The second and third quarter turn the signs: bit 1 of n for the sine, of n + 1 for the cosine.
  sine = floatOf(bitsOf(select(swapped, c, s)) ^ ((quarter & 2) << 30));
  cosine = floatOf(bitsOf(select(swapped, s, c)) ^ (((quarter + 1) & 2) << 30));
}

}  // namespace LENGGEN_ISA
}  // namespace lenggen
