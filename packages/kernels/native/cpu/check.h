// Checks of what a kernel's declaration can't say, for its `check`. They run on the JavaScript thread before
// anything is queued and throw std::invalid_argument, whose text reaches the user behind the kernel's name.
#pragma once
#include <initializer_list>
#include <stdexcept>
#include <string>

#include "kernel.h"

namespace lenggen {

inline void require(bool condition, const char* message) {
  if (!condition) throw std::invalid_argument(message);
}

// The product of sizes; throws rather than overflows.
inline int64_t product(std::initializer_list<int64_t> sizes) {
  int64_t result = 1;
  for (const int64_t size : sizes) {
    if (size < 0 || __builtin_mul_overflow(result, size, &result)) throw std::invalid_argument("sizes are negative or too large");
  }
  return result;
}

}  // namespace lenggen
