// Products whose results go through a last step while still in registers. As `gemmSmall`, with
// that step as a functor: finish(i, j, sums, last) gets the tile of A·B whose first element is (i, j), ROWS rows of
// VECTORS vectors, of which the last one has `last` (1 ... WIDTH) columns that count.
#pragma once
#include <algorithm>
#include <utility>

#include "gemmTile.h"

namespace lenggen {
namespace LENGGEN_ISA {
namespace {

template <bool RAGGED, int CACHE, int ROWS, int VECTORS, typename Finish>
void tileThen(int64_t i, int64_t j, int64_t k, Operand a, const float* b, int64_t bRow, int64_t last, const AheadPart& ahead,
    const Finish& finish) {
  vf sums[ROWS][VECTORS] = {};
  multiply<RAGGED, CACHE>(sums, k, a.data + i * a.row, a.row, a.column, b + j, bRow, last, ahead);
  finish(i, j, sums, last);
}

template <bool RAGGED, int CACHE, int VECTORS, typename Finish, int... ROWS>
void tileThenOf(int rows, std::integer_sequence<int, ROWS...>, int64_t i, int64_t j, int64_t k, Operand a, const float* b, int64_t bRow,
                int64_t last, const AheadPart& ahead, const Finish& finish) {
  constexpr void (*tiles[])(int64_t, int64_t, int64_t, Operand, const float*, int64_t, int64_t, const AheadPart&, const Finish&) = {
      tileThen<RAGGED, CACHE, ROWS + 1, VECTORS, Finish>...};
  tiles[rows - 1](i, j, k, a, b, bRow, last, ahead, finish);
}

// Steps that the tiles of a product take together: see Ahead::spread.
inline int64_t stepsOf(int64_t m, int64_t n, int64_t k) {
  return (m + TILE_ROWS - 1) / TILE_ROWS * ((n + TILE_COLUMNS - 1) / TILE_COLUMNS) * k;
}

// A[m,k] · B[k,n]. Rows of B are readable up to the next whole vector, unless it is RAGGED. CACHE: the level of the cache that `ahead`
// is brought into.
template <bool RAGGED = false, int CACHE = 2, typename Finish>
void productThen(int64_t m, int64_t n, int64_t k, Operand a, const float* b, int64_t bRow, const Finish& finish, Ahead* ahead = nullptr) {
  const int64_t tiles = (m + TILE_ROWS - 1) / TILE_ROWS, low = tiles > 0 ? m / tiles : 0, high = m - low * tiles;
  constexpr std::make_integer_sequence<int, TILE_ROWS> heights{};
  for (int64_t j = 0; j < n; j += TILE_COLUMNS) {
    const bool wide = n - j > WIDTH;
    const int64_t last = wide ? std::min<int64_t>(WIDTH, n - j - WIDTH) : n - j;
    // Heights differ by at most 1. Divisions here would keep the tiles waiting.
    for (int64_t t = 0, i = 0; t < tiles; t++) {
      const int rows = static_cast<int>(low + (t >= tiles - high));
      const AheadPart part = nextOf(ahead, k, b);
      if (RAGGED && last < WIDTH) {
        if (wide) tileThenOf<RAGGED, CACHE, 2>(rows, heights, i, j, k, a, b, bRow, last, part, finish);
        else tileThenOf<RAGGED, CACHE, 1>(rows, heights, i, j, k, a, b, bRow, last, part, finish);
      } else {
        if (wide) tileThenOf<false, CACHE, 2>(rows, heights, i, j, k, a, b, bRow, last, part, finish);
        else tileThenOf<false, CACHE, 1>(rows, heights, i, j, k, a, b, bRow, last, part, finish);
      }
      i += rows;
    }
  }
}

}  // namespace
}  // namespace LENGGEN_ISA
}  // namespace lenggen
