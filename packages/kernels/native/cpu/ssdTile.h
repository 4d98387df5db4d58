// Products of a chunk whose results go through a last step while still in registers. As `gemmSmall`, with
// that step as a functor: finish(i, j, sums, last) gets the tile of A·B whose first element is (i, j), ROWS rows of
// VECTORS vectors, of which the last one has `last` (1 ... WIDTH) columns that count.
#pragma once
#include <utility>

#include "gemmTile.h"
#include "ssd.h"

namespace lenggen {
namespace LENGGEN_ISA {
namespace {

template <int ROWS, int VECTORS, typename Finish>
void ssdTile(int64_t i, int64_t j, int64_t k, Operand a, const float* b, int64_t bRow, int64_t last, AheadPart ahead, const Finish& finish) {
  vf sums[ROWS][VECTORS] = {};
  multiply<false>(sums, k, a.data + i * a.row, a.row, a.column, b + j, bRow, last, ahead);
  finish(i, j, sums, last);
}

template <int VECTORS, typename Finish, int... ROWS>
void ssdTileOf(int rows, std::integer_sequence<int, ROWS...>, int64_t i, int64_t j, int64_t k, Operand a, const float* b, int64_t bRow,
               int64_t last, AheadPart ahead, const Finish& finish) {
  constexpr void (*tiles[])(int64_t, int64_t, int64_t, Operand, const float*, int64_t, int64_t, AheadPart, const Finish&) = {ssdTile<ROWS + 1, VECTORS, Finish>...};
  tiles[rows - 1](i, j, k, a, b, bRow, last, ahead, finish);
}

// Steps that the tiles of a product take together: see Ahead::spread.
inline int64_t stepsOf(int64_t m, int64_t n, int64_t k) {
  return (m + TILE_ROWS - 1) / TILE_ROWS * ((n + TILE_COLUMNS - 1) / TILE_COLUMNS) * k;
}

// A[m,k] · B[k,n]; rows of B are readable up to the next whole vector.
template <typename Finish>
void productThen(int64_t m, int64_t n, int64_t k, Operand a, const float* b, int64_t bRow, const Finish& finish, Ahead* ahead = nullptr) {
  const int64_t tiles = (m + TILE_ROWS - 1) / TILE_ROWS;
  constexpr std::make_integer_sequence<int, TILE_ROWS> heights{};
  for (int64_t j = 0; j < n; j += TILE_COLUMNS) {
    for (int64_t t = 0; t < tiles; t++) {
      const int64_t i = m * t / tiles;
      const int rows = static_cast<int>(m * (t + 1) / tiles - i);
      if (n - j > WIDTH) ssdTileOf<2>(rows, heights, i, j, k, a, b, bRow, std::min<int64_t>(WIDTH, n - j - WIDTH), nextOf(ahead, k, b), finish);
      else ssdTileOf<1>(rows, heights, i, j, k, a, b, bRow, n - j, nextOf(ahead, k, b), finish);
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
