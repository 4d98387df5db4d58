// The arithmetic ceilings: fused multiply-adds on registers alone, as many at a time as hide their latency, and exponentials.
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

// Returns the number of exponentials (2^x, the cheapest that there is) of numbers in the first cache, added up.
double exponentials(int64_t rounds) {
  constexpr int VECTORS = 32, AT_ONCE = 4;
  volatile float seed = -0.125f;
  float numbers[VECTORS * WIDTH];
  for (int i = 0; i < VECTORS * WIDTH; i++) numbers[i] = seed * static_cast<float>(i % 97);
  vf sums[AT_ONCE] = {};
  for (int64_t round = 0; round < rounds; round++) {
    // Else the compiler would see that each round computes the same.
    __asm__ volatile("" : : "r"(numbers) : "memory");
    for (int i = 0; i < VECTORS; i += AT_ONCE)
      for (int j = 0; j < AT_ONCE; j++) sums[j] += exp2(load(numbers + (i + j) * WIDTH));
  }
  volatile float sink = sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
  static_cast<void>(sink);
  return static_cast<double>(VECTORS * WIDTH) * static_cast<double>(rounds);
}

}  // namespace lenggen::LENGGEN_ISA
