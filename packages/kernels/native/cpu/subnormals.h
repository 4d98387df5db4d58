// Subnormal numbers, below 1.2e-38 as a float, cost many processors a hundred cycles an operation, and decays that
// underflow are full of them. So a device's threads take them for 0, as inputs and as results. What is moved, converted
// from half precision or computed with integers keeps them.
//
// All of it is inlined or local to the file that includes it, so that each instruction set has its own.
#pragma once
#include <cstdint>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace lenggen {
namespace {

#if defined(__x86_64__)
constexpr uint64_t FLUSH_SUBNORMALS = 0x8040;  // MXCSR: flush to zero, denormals are zero
#elif defined(__aarch64__)
constexpr uint64_t FLUSH_SUBNORMALS = uint64_t{1} << 24;  // FPCR.FZ: both, of all but half precision
#else
constexpr uint64_t FLUSH_SUBNORMALS = 0;
#endif

// How this thread's floating point is set. Other threads have their own.
__attribute__((always_inline)) inline uint64_t floatSettings() {
#if defined(__x86_64__)
  return _mm_getcsr();
#elif defined(__aarch64__)
  uint64_t settings;
  asm volatile("mrs %0, fpcr" : "=r"(settings));
  return settings;
#else
  return 0;
#endif
}

// The compiler moves no access of memory across it.
__attribute__((always_inline)) inline void setFloatSettings([[maybe_unused]] uint64_t settings) {
  asm volatile("" ::: "memory");
#if defined(__x86_64__)
  _mm_setcsr(static_cast<unsigned>(settings));
#elif defined(__aarch64__)
  asm volatile("msr fpcr, %0" ::"r"(settings));
#endif
  asm volatile("" ::: "memory");
}

// From now on, on this thread: only on threads of our own.
__attribute__((always_inline)) inline void flushSubnormals() { setFloatSettings(floatSettings() | FLUSH_SUBNORMALS); }

// As long as it lives, this thread computes as IEEE 754 says: for what must have the same bits on every device.
class ExactSubnormals {
 public:
  __attribute__((always_inline)) ExactSubnormals() : before_(floatSettings()) { setFloatSettings(before_ & ~FLUSH_SUBNORMALS); }
  __attribute__((always_inline)) ~ExactSubnormals() { setFloatSettings(before_); }
  ExactSubnormals(const ExactSubnormals&) = delete;
  ExactSubnormals& operator=(const ExactSubnormals&) = delete;

 private:
  const uint64_t before_;
};

}  // namespace
}  // namespace lenggen
