// What the products of a chunk end with (gemmThen.h).
#pragma once
#include "gemmThen.h"
#include "ssd.h"

namespace lenggen {
namespace LENGGEN_ISA {
namespace {

// to = A·B + factor · from, rows `row` floats apart in both; `from` may be `to`, or nullptr for zeros.
struct AddScaled {
  const float* from;
  float* to;
  int64_t row;
  float factor;
  template <int ROWS, int VECTORS>
  void operator()(int64_t i, int64_t j, const vf (&sums)[ROWS][VECTORS], int64_t last) const {
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; r++) {
#pragma GCC unroll 2
      for (int v = 0; v < VECTORS; v++) {
        const int64_t at = (i + r) * row + j + v * WIDTH;
        if (v < VECTORS - 1 || last == WIDTH) store(to + at, from ? sums[r][v] + load(from + at) * factor : sums[r][v]);
        else storeFirst(to + at, from ? sums[r][v] + loadFirst(from + at, last) * factor : sums[r][v], last);
      }
    }
  }
};

// With X = A·B, columns scaled by `factor`: total += X, and along[j] += Σ_i X[i,j] with[i,j]. All rows are `row` floats
// apart and may be read and written up to the next whole vector.
struct SumAndProject {
  const float* factor;
  const float* with;
  float *total, *along;
  int64_t row;
  template <int ROWS, int VECTORS>
  void operator()(int64_t i, int64_t j, const vf (&sums)[ROWS][VECTORS], int64_t) const {
#pragma GCC unroll 2
    for (int v = 0; v < VECTORS; v++) {
      const vf scale = load(factor + j + v * WIDTH);
      vf projection = load(along + j + v * WIDTH);
#pragma GCC unroll 16
      for (int r = 0; r < ROWS; r++) {
        const int64_t at = (i + r) * row + j + v * WIDTH;
        const vf value = sums[r][v] * scale;
        store(total + at, load(total + at) + value);
        projection += value * load(with + at);
      }
      store(along + j + v * WIDTH, projection);
    }
  }
};

}  // namespace
}  // namespace LENGGEN_ISA
}  // namespace lenggen
