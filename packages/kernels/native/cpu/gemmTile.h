// The innermost part of matrix products: one tile of C, ROWS x (VECTORS · WIDTH), held in registers while k runs.
// Each step loads a row piece of B, broadcasts ROWS elements of A and does ROWS · VECTORS multiply-adds. A tile must hide
// the latency of a multiply-add (4 cycles x 2 units = 8 sums in flight) and leave registers for B and one element of A:
// 14 x 2 of 32 registers (AVX-512, NEON), 6 x 2 of 16 (SSE, AVX2). After BLIS (Van Zee & van de Geijn 2015).
#pragma once
#include <utility>

#include "vector.h"

namespace lenggen {
namespace LENGGEN_ISA {
namespace {

#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int TILE_ROWS = 14;
#else
constexpr int TILE_ROWS = 6;
#endif
constexpr int TILE_VECTORS = 2;
constexpr int TILE_COLUMNS = TILE_VECTORS * WIDTH;

// How far ahead, in steps, a tile asks for columns of A: they lie further apart than the processor looks ahead.
constexpr int64_t TILE_AHEAD = 8;

// C (+)= A·B for one tile. Element (i, p) of A is a[i * aRow + p * aStep], rows of B and C are contiguous. `last` (1 ... WIDTH) floats
// of the last vector of each row of C are written; with RAGGED, B too has no more than those to read.
template <int ROWS, int VECTORS, bool RAGGED>
void tile(int64_t k, const float* a, int64_t aRow, int64_t aStep, const float* b, int64_t bRow, float* c, int64_t cRow, int64_t last,
          bool accumulate) {
  // Rows of C are far apart, so the processor does not foresee them.
#pragma GCC unroll 16
  for (int i = 0; i < ROWS; i++)
    for (int v = 0; v < VECTORS * WIDTH; v += 16) __builtin_prefetch(c + i * cRow + v, 1);
  vf sums[ROWS][VECTORS] = {};
  // Every third row gets a pointer; the two after it are reached by index. One pointer a row would not fit the registers.
  constexpr int POINTERS = (ROWS + 2) / 3;
  const float* rows[POINTERS];
  for (int i = 0; i < POINTERS; i++) rows[i] = a + 3 * i * aRow;
  const bool columns = aStep != 1;
  for (int64_t p = 0; p < k; p++) {
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
  }
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
                     int64_t last, bool accumulate);

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
