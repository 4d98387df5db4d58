// Copies blocks of matrices into the order in which tiles read them (gemmTile.h): a panel holds, for k = 0, 1, ..., `lanes`
// neighbouring elements. Panels of A are as many rows high as their tile, panels of B one or two vectors wide.
#pragma once
#include "gemm.h"

namespace lenggen {
namespace LENGGEN_ISA {
namespace {

// Packing writes whole vectors, so that up to this many floats after a panel are overwritten.
constexpr int64_t PACK_SLACK = 16;

typedef float v4 __attribute__((vector_size(16)));

// Writes four lanes of four steps: to[s * stride + i] = from[i][s].
LENGGEN_INLINE void transpose4(const float* const from[4], float* to, int64_t stride) {
  v4 r0, r1, r2, r3;
  std::memcpy(&r0, from[0], 16);
  std::memcpy(&r1, from[1], 16);
  std::memcpy(&r2, from[2], 16);
  std::memcpy(&r3, from[3], 16);
#if defined(__clang__)
#define LENGGEN_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
  typedef int32_t i4 __attribute__((vector_size(16)));
#define LENGGEN_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, i4{__VA_ARGS__})
#endif
  const v4 low01 = LENGGEN_SHUFFLE(r0, r1, 0, 4, 1, 5), high01 = LENGGEN_SHUFFLE(r0, r1, 2, 6, 3, 7);
  const v4 low23 = LENGGEN_SHUFFLE(r2, r3, 0, 4, 1, 5), high23 = LENGGEN_SHUFFLE(r2, r3, 2, 6, 3, 7);
  const v4 s0 = LENGGEN_SHUFFLE(low01, low23, 0, 1, 4, 5), s1 = LENGGEN_SHUFFLE(low01, low23, 2, 3, 6, 7);
  const v4 s2 = LENGGEN_SHUFFLE(high01, high23, 0, 1, 4, 5), s3 = LENGGEN_SHUFFLE(high01, high23, 2, 3, 6, 7);
#undef LENGGEN_SHUFFLE
  std::memcpy(to, &s0, 16);
  std::memcpy(to + stride, &s1, 16);
  std::memcpy(to + 2 * stride, &s2, 16);
  std::memcpy(to + 3 * stride, &s3, 16);
}

// The panel of elements (i, p), i < lanes, p < steps, of x (lanes along i): to[p * stride + i]. Lanes up to `stride`
// hold anything afterwards. Overwrites up to PACK_SLACK floats past the panel.
void pack(Operand x, int64_t lanes, int64_t steps, float* to, int64_t stride) {
  if (x.row == 1 && lanes <= WIDTH) {  // lanes are neighbours: copy, spilling over what comes next
    for (int64_t p = 0; p < steps; p++) store(to + p * stride, loadFirst(x.data + p * x.column, lanes));
    return;
  }
  if (x.row == 1) {
    for (int64_t p = 0; p < steps; p++, to += stride) {
      const float* from = x.data + p * x.column;
      int64_t i = 0;
      for (; i + WIDTH <= lanes; i += WIDTH) store(to + i, load(from + i));
      if (i < lanes) storeFirst(to + i, loadFirst(from + i, lanes - i), lanes - i);
    }
    return;
  }
  int64_t p = 0;
  if (x.column == 1) {  // steps are neighbours: transpose in squares of 4
    for (; p + 4 <= steps; p += 4) {
      // From the last square to the first: a ragged one spills into lanes that are written after it.
      for (int64_t i = (lanes - 1) / 4 * 4; i >= 0; i -= 4) {
        const float* from[4];
        for (int64_t r = 0; r < 4; r++) from[r] = x.data + (i + r < lanes ? i + r : lanes - 1) * x.row + p;
        transpose4(from, to + p * stride + i, stride);
      }
    }
  }
  for (; p < steps; p++)
    for (int64_t i = 0; i < lanes; i++) to[p * stride + i] = x.data[i * x.row + p * x.column];
}

}  // namespace
}  // namespace LENGGEN_ISA
}  // namespace lenggen
