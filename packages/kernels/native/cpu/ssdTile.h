// Products of a chunk whose results go through a last step while still in registers. As `gemmSmall`, with
// that step as a functor: finish(i, j, sums, last) gets the tile of A·B whose first element is (i, j), ROWS rows of
// VECTORS vectors, of which the last one has `last` (1 ... WIDTH) columns that count.
#pragma once
#include <utility>

#include "gemm.h"

namespace lenggen {
namespace LENGGEN_ISA {
namespace {

// As many sums as registers allow beside a row of B and one element of A: see gemmTile.h.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int SSD_TILE_ROWS = 14;
#else
constexpr int SSD_TILE_ROWS = 6;
#endif

template <int ROWS, int VECTORS, typename Finish>
void ssdTile(int64_t i, int64_t j, int64_t k, Operand a, const float* b, int64_t bRow, int64_t last, const Finish& finish) {
  vf sums[ROWS][VECTORS] = {};
  // Every third row gets a pointer; the two after it are reached by index. One pointer a row would not fit the registers.
  const float* rows[(ROWS + 2) / 3];
  for (int r = 0; r < (ROWS + 2) / 3; r++) rows[r] = a.data + (i + 3 * r) * a.row;
  b += j;
  for (int64_t p = 0; p < k; p++, b += bRow) {
    vf row[VECTORS];
#pragma GCC unroll 2
    for (int v = 0; v < VECTORS; v++) row[v] = load(b + v * WIDTH);
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; r++) {
      const vf element = broadcast(rows[r / 3][r % 3 * a.row]);
#pragma GCC unroll 2
      for (int v = 0; v < VECTORS; v++) sums[r][v] += element * row[v];
    }
#pragma GCC unroll 8
    for (int r = 0; r < (ROWS + 2) / 3; r++) rows[r] += a.column;
  }
  finish(i, j, sums, last);
}

template <int VECTORS, typename Finish, int... ROWS>
void ssdTileOf(int rows, std::integer_sequence<int, ROWS...>, int64_t i, int64_t j, int64_t k, Operand a, const float* b, int64_t bRow,
               int64_t last, const Finish& finish) {
  constexpr void (*tiles[])(int64_t, int64_t, int64_t, Operand, const float*, int64_t, int64_t, const Finish&) = {ssdTile<ROWS + 1, VECTORS, Finish>...};
  tiles[rows - 1](i, j, k, a, b, bRow, last, finish);
}

// A[m,k] · B[k,n]; rows of B are readable up to the next whole vector.
template <typename Finish>
void productThen(int64_t m, int64_t n, int64_t k, Operand a, const float* b, int64_t bRow, const Finish& finish) {
  const int64_t tiles = (m + SSD_TILE_ROWS - 1) / SSD_TILE_ROWS;
  constexpr std::make_integer_sequence<int, SSD_TILE_ROWS> heights{};
  for (int64_t j = 0; j < n; j += 2 * WIDTH) {
    for (int64_t t = 0; t < tiles; t++) {
      const int64_t i = m * t / tiles;
      const int rows = static_cast<int>(m * (t + 1) / tiles - i);
      if (n - j > WIDTH) ssdTileOf<2>(rows, heights, i, j, k, a, b, bRow, std::min<int64_t>(WIDTH, n - j - WIDTH), finish);
      else ssdTileOf<1>(rows, heights, i, j, k, a, b, bRow, n - j, finish);
    }
  }
}

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
