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

// How tile operands lie in memory.
enum class Layout {
  Packed,    // A [k][ROWS], B [k][VECTORS · WIDTH]: strides are constants
  Strided,   // any strides; B has whole vectors to read
  Ragged,    // any strides; the last vector of B has `last` floats to read
};

// C (+)= A·B for one tile; `last` (1 ... WIDTH) floats of the last vector of each row of C are written.
template <int ROWS, int VECTORS, Layout LAYOUT>
void tile(int64_t k, const float* a, int64_t aRow, int64_t aStep, const float* b, int64_t bRow, float* c, int64_t cRow, int64_t last,
          bool accumulate) {
  if (LAYOUT == Layout::Packed) {
    aRow = 1;
    aStep = ROWS;
    bRow = VECTORS * WIDTH;
  }
  // Rows of C are far apart, so the processor does not foresee them.
#pragma GCC unroll 16
  for (int i = 0; i < ROWS; i++)
    for (int v = 0; v < VECTORS * WIDTH; v += 16) __builtin_prefetch(c + i * cRow + v, 1);
  vf sums[ROWS][VECTORS] = {};
  // Every third row gets a pointer; the two after it are reached by index. One pointer a row would not fit the registers.
  const float* rows[(ROWS + 2) / 3];
  for (int i = 0; i < (ROWS + 2) / 3; i++) rows[i] = a + 3 * i * aRow;
  for (int64_t p = 0; p < k; p++) {
    vf row[VECTORS];
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; v++)
      row[v] = LAYOUT == Layout::Ragged && v == VECTORS - 1 ? loadFirst(b + v * WIDTH, last) : load(b + v * WIDTH);
    b += bRow;
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; i++) {
      const vf element = broadcast(LAYOUT == Layout::Packed ? a[i] : rows[i / 3][i % 3 * aRow]);
#pragma GCC unroll 4
      for (int v = 0; v < VECTORS; v++) sums[i][v] += element * row[v];
    }
    if (LAYOUT == Layout::Packed) a += ROWS;
    else
#pragma GCC unroll 8
      for (int i = 0; i < (ROWS + 2) / 3; i++) rows[i] += aStep;
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

template <Layout LAYOUT, int VECTORS, int... ROWS>
constexpr Tile tileOf(int rows, std::integer_sequence<int, ROWS...>) {
  constexpr Tile tiles[] = {tile<ROWS + 1, VECTORS, LAYOUT>...};
  return tiles[rows - 1];
}

// The tile function for so many rows (1 ... TILE_ROWS) and vectors (1 ... TILE_VECTORS).
template <Layout LAYOUT>
Tile tileFor(int rows, int vectors) {
  constexpr std::make_integer_sequence<int, TILE_ROWS> all{};
  return vectors == 1 ? tileOf<LAYOUT, 1>(rows, all) : tileOf<LAYOUT, 2>(rows, all);
}

}  // namespace
}  // namespace LENGGEN_ISA
}  // namespace lenggen
