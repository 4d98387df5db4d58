// Copies columns of B into the order in which tiles read them (gemmTile.h): a panel is one or two vectors wide and holds
// its piece of row 0, then of row 1, and so on.
#pragma once
#include <algorithm>

#include "gemm.h"

namespace lenggen {
namespace LENGGEN_ISA {
namespace {

// How many rows ahead `pack` asks for them: they are short and far apart.
constexpr int64_t PACK_AHEAD = 12;

// Writes b [steps, columns] to to[p * stride + j]; stride is `columns` rounded up to whole vectors, and what
// lies between them is written with anything.
void pack(Operand b, int64_t columns, int64_t steps, float* to, int64_t stride) {
  if (b.column == 1) {  // rows are contiguous: copy
    for (int64_t p = 0; p < steps; p++, to += stride) {
      const float* from = b.data + p * b.row;
      for (int64_t j = 0; j < columns; j += 16) __builtin_prefetch(from + PACK_AHEAD * b.row + j);
      for (int64_t j = 0; j < columns; j += WIDTH) store(to + j, j + WIDTH <= columns ? load(from + j) : loadFirst(from + j, columns - j));
    }
    return;
  }
  if (b.row != 1) {
    for (int64_t p = 0; p < steps; p++)
      for (int64_t j = 0; j < stride; j++) to[p * stride + j] = j < columns ? b.data[p * b.row + j * b.column] : 0.0f;
    return;
  }
  for (int64_t p = 0; p < steps; p += WIDTH) {  // columns are contiguous: transpose in squares
    const int64_t depth = std::min<int64_t>(WIDTH, steps - p);
    for (int64_t j = 0; j < columns; j += WIDTH) {
      const float* from = b.data + j * b.column + p;
      float* target = to + p * stride + j;
      vf square[WIDTH];
      if (depth == WIDTH && j + WIDTH <= columns) {
#pragma GCC unroll 16
        for (int r = 0; r < WIDTH; r++) square[r] = load(from + r * b.column);
        transposeSquare(square);
#pragma GCC unroll 16
        for (int r = 0; r < WIDTH; r++) store(target + r * stride, square[r]);
      } else {
        for (int64_t r = 0; r < WIDTH; r++) square[r] = loadFirst(from + std::min(r, columns - 1 - j) * b.column, depth);
        transposeSquare(square);
        for (int64_t r = 0; r < depth; r++) store(target + r * stride, square[r]);
      }
    }
  }
}

}  // namespace
}  // namespace LENGGEN_ISA
}  // namespace lenggen
