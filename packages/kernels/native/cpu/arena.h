// How kernels divide a block of scratch memory.
#pragma once
#include <cstdint>

namespace lenggen {
namespace LENGGEN_ISA {
namespace {

// Rounds up to whole vectors of any instruction set: rows of scratch matrices are this long, so that loops over
// columns need no tails. What lies beyond the last column is undefined.
inline int64_t padded(int64_t n) { return (n + 15) / 16 * 16; }

// Scratch memory, handed out in 64-byte steps.
class Arena {
 public:
  explicit Arena(float* memory) : next_(memory) {}
  float* take(int64_t floats) {
    float* result = next_;
    next_ += padded(floats);
    return result;
  }

 private:
  float* next_;
};

}  // namespace
}  // namespace LENGGEN_ISA
}  // namespace lenggen
