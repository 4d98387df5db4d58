// Products of few rows, where packing B would cost more than it saves: dot products with columns of B as they lie in memory, of
// floats or of half-precision numbers.
#pragma once
#include <algorithm>

#include "gemm.h"

namespace lenggen {
namespace LENGGEN_ISA {
namespace {

// ROWS x 4 dot products of contiguous rows: c[i * cRow + j] (+)= a_i · b_j.
template <typename Number, int ROWS>
void dots(int64_t columns, int64_t k, const float* a, int64_t aRow, const Number* b, int64_t bColumn, float* c, int64_t cRow,
    bool accumulate) {
  const Number* column[4];  // missing ones repeat the last
  for (int64_t j = 0; j < 4; j++) column[j] = b + std::min(j, columns - 1) * bColumn;
  vf sums[ROWS][4] = {};
  int64_t p = 0;
  for (; p + WIDTH <= k; p += WIDTH) {
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) __builtin_prefetch(column[j] + 4 * bColumn + p);
#pragma GCC unroll 4
    for (int i = 0; i < ROWS; i++)
#pragma GCC unroll 4
      for (int j = 0; j < 4; j++) sums[i][j] += load(a + i * aRow + p) * load(column[j] + p);
  }
  if (p < k)
#pragma GCC unroll 4
    for (int i = 0; i < ROWS; i++)
#pragma GCC unroll 4
      for (int j = 0; j < 4; j++) sums[i][j] += loadFirst(a + i * aRow + p, k - p) * loadFirst(column[j] + p, k - p);
#pragma GCC unroll 4
  for (int i = 0; i < ROWS; i++)
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
      if (j >= columns) break;
      float& to = c[i * cRow + j];
      to = accumulate ? to + sum(sums[i][j]) : sum(sums[i][j]);
    }
}

// Few rows against columns from ... to of B, which are contiguous: every element of B is read once, in order.
template <typename Number>
void dotProducts(int64_t m, int64_t from, int64_t to, int64_t k, Operand a, const Number* b, int64_t bColumn, float* c, int64_t cRow,
    bool accumulate) {
  constexpr int HIGHEST = TILE_ROWS > 8 ? 4 : 2;
  for (int64_t j = from; j < to; j += 4)
    for (int64_t i = 0; i < m; i += HIGHEST) {
      const int64_t wide = std::min<int64_t>(4, to - j), rows = std::min<int64_t>(HIGHEST, m - i);
      const auto run = rows == 1 ? dots<Number, 1> : rows == 2 ? dots<Number, 2> : rows == 3 ? dots<Number, HIGHEST == 4
          ? 3 : 2> : dots<Number, HIGHEST>;
      run(wide, k, a.data + i * a.row, a.row, b + j * bColumn, bColumn, c + i * cRow + j, cRow, accumulate);
    }
}

}  // namespace
}  // namespace LENGGEN_ISA
}  // namespace lenggen
