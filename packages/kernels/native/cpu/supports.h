// Which instruction sets this processor has and its operating system saves the registers of; narrowest first.
#pragma once

#if defined(__x86_64__)
#define LENGGEN_ALL_ISAS(X) X(baseline) X(avx2) X(avx512)
#elif defined(__aarch64__)
#define LENGGEN_ALL_ISAS(X) X(neon)
#endif

namespace lenggen::supports {

#if defined(__x86_64__)
inline bool baseline() { return true; }
inline bool avx2() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}
inline bool avx512() {
  return avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl");
}
#elif defined(__aarch64__)
inline bool neon() { return true; }
#endif

}  // namespace lenggen::supports
