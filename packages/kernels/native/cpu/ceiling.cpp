// The arithmetic ceiling: fused multiply-adds on registers alone, as many at a time as hide their latency.
#include "vector.h"

namespace lenggen::LENGGEN_ISA {

// On a processor with 32 vector registers 24 sums are enough for two units of latency 4 ... 6; with 16, 12.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int SUMS = 24;
#else
constexpr int SUMS = 12;
#endif

// Returns the number of floating-point operations done.
double multiplyAdd(int64_t rounds) {
  volatile float seed = 0.5f;
  const vf factor = broadcast(seed);
  const vf term = broadcast(seed * 0.25f);
  vf sums[SUMS];
#pragma GCC unroll 24
  for (int i = 0; i < SUMS; i++) sums[i] = broadcast(static_cast<float>(i));
  for (int64_t round = 0; round < rounds; round++) {
#pragma GCC unroll 24
    for (int i = 0; i < SUMS; i++) sums[i] = sums[i] * factor + term;
  }
  vf total = zero();
#pragma GCC unroll 24
  for (int i = 0; i < SUMS; i++) total += sums[i];
  volatile float sink = total[0];
  static_cast<void>(sink);
  return 2.0 * SUMS * WIDTH * static_cast<double>(rounds);
}

}  // namespace lenggen::LENGGEN_ISA
