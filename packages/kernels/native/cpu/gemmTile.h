// The innermost part of matrix products: one tile of C, ROWS x (VECTORS · WIDTH), held in registers while k runs.
// Each step loads a row piece of B, broadcasts ROWS elements of A and does ROWS · VECTORS multiply-adds. Sizes: vector.h.
// After BLIS (Van Zee & van de Geijn 2015).
#pragma once
#include <algorithm>
#include <utility>

#include "ahead.h"
#include "gemm.h"

namespace lenggen {
namespace LENGGEN_ISA {
namespace {

// How far ahead, in steps, a tile asks for columns of A: they lie further apart than the processor looks ahead.
constexpr int64_t TILE_AHEAD = 8;
// sums += A·B. Element (i, p) of A is a[i * aRow + p * aStep], rows of B are contiguous; with RAGGED they have `last` floats in
// their last vector. Asks for `ahead` meanwhile, to be brought into the cache of level CACHE.
template <bool RAGGED, int CACHE = 2, int ROWS, int VECTORS>
LENGGEN_INLINE void multiply(vf (&sums)[ROWS][VECTORS], int64_t k, const float* a, int64_t aRow, int64_t aStep, const float* b,
    int64_t bRow,
                             int64_t last, AheadPart ahead) {
  // Every third row gets a pointer; the two after it are reached by index. One pointer a row would not fit the registers.
  constexpr int POINTERS = (ROWS + 2) / 3;
  const float* rows[POINTERS];
  for (int i = 0; i < POINTERS; i++) rows[i] = a + 3 * i * aRow;
  const bool columns = aStep != 1;
  for (int64_t p = 0; p < k;) {
    for (int64_t i = 0; i < ahead.floats; i += 16) __builtin_prefetch(ahead.data + i, 0, 4 - CACHE);
    ahead.data += ahead.stride;
    const int64_t stop = std::min(k, p + ahead.steps);
    do {
      vf row[VECTORS];
#pragma GCC unroll 4
      for (int v = 0; v < VECTORS; v++) row[v] = RAGGED && v == VECTORS - 1 ? loadFirst(b + v * WIDTH, last) : load(b + v * WIDTH);
      b += bRow;
      if (columns) {
        __builtin_prefetch(rows[0] + TILE_AHEAD * aStep);
        __builtin_prefetch(rows[POINTERS - 1] + TILE_AHEAD * aStep);
      }
#pragma GCC unroll 16
      for (int i = 0; i < ROWS; i++) {
        const vf element = broadcast(rows[i / 3][i % 3 * aRow]);
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; v++) sums[i][v] += element * row[v];
      }
#pragma GCC unroll 8
      for (int i = 0; i < POINTERS; i++) rows[i] += aStep;
    } while (++p < stop);
  }
}

// C (+)= A·B for one tile, operands as above. `last` (1 ... WIDTH) floats of the last vector of each row of C are written.
template <int ROWS, int VECTORS, bool RAGGED>
void tile(int64_t k, const float* a, int64_t aRow, int64_t aStep, const float* b, int64_t bRow, float* c, int64_t cRow, int64_t last,
          bool accumulate, AheadPart ahead) {
  vf sums[ROWS][VECTORS] = {};
  multiply<RAGGED>(sums, k, a, aRow, aStep, b, bRow, last, ahead);
#pragma GCC unroll 16
  for (int i = 0; i < ROWS; i++) {
    float* to = c + i * cRow;
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS - 1; v++) {
      if (accumulate) sums[i][v] += load(to + v * WIDTH);
      store(to + v * WIDTH, sums[i][v]);
    }
    vf edge = sums[i][VECTORS - 1];
    to += (VECTORS - 1) * WIDTH;
    if (last == WIDTH) store(to, accumulate ? edge + load(to) : edge);
    else storeFirst(to, accumulate ? edge + loadFirst(to, last) : edge, last);
  }
}

typedef void (*Tile)(int64_t k, const float* a, int64_t aRow, int64_t aStep, const float* b, int64_t bRow, float* c, int64_t cRow,
                     int64_t last, bool accumulate, AheadPart ahead);

template <bool RAGGED, int VECTORS, int... ROWS>
constexpr Tile tileOf(int rows, std::integer_sequence<int, ROWS...>) {
  constexpr Tile tiles[] = {tile<ROWS + 1, VECTORS, RAGGED>...};
  return tiles[rows - 1];
}

// The tile function for so many rows (1 ... TILE_ROWS) and vectors (1 ... TILE_VECTORS).
template <bool RAGGED>
Tile tileFor(int rows, int vectors) {
  constexpr std::make_integer_sequence<int, TILE_ROWS> all{};
  return vectors == 1 ? tileOf<RAGGED, 1>(rows, all) : tileOf<RAGGED, 2>(rows, all);
}

}  // namespace
}  // namespace LENGGEN_ISA
}  // namespace lenggen
