// Gradients of weights that rows share are sums over rows. They are built in a fixed number of row blocks, each with its own
// partial sum, and the partial sums are added in order: the bits do not depend on the threads, and the error grows
// with the block, not the whole.
#pragma once
#include <algorithm>
#include <array>

#include "split.h"
#include "sweep.h"

namespace lenggen::LENGGEN_ISA {

constexpr int64_t MOST_ROW_BLOCKS = 64, LEAST_BLOCK_ROWS = 8;

// Runs body(row, partials) over all rows, where `partials` [SUMS, width] gathers what goes to sums[0], sums[1] ..., each
// [width]; a sum that is null is dropped.
template <size_t SUMS, typename Body>
void overRowBlocks(Pool& pool, int64_t rows, int64_t width, const std::array<float*, SUMS>& sums, const Body& body) {
  const int64_t blocks = std::min(MOST_ROW_BLOCKS, (rows + LEAST_BLOCK_ROWS - 1) / LEAST_BLOCK_ROWS);
  const int64_t stride = static_cast<int64_t>(SUMS) * width;
  float* partials = pool.shared(static_cast<size_t>(blocks * stride));
  pool.parallel(blocks, [&](int64_t block, int) {
    float* partial = partials + block * stride;
    std::fill(partial, partial + stride, 0.0f);
    for (int64_t row = rows * block / blocks; row < rows * (block + 1) / blocks; row++) body(row, partial);
  });
  for (size_t s = 0; s < SUMS; s++) {
    float* into = sums[s];
    if (into == nullptr) continue;
    const float* first = partials + static_cast<int64_t>(s) * width;
    inRanges(pool, width, blocks, [&](int64_t from, int64_t to) {
      sweep(to - from, [&](int64_t i, auto at) {
        vf total = zero();
        for (int64_t block = 0; block < blocks; block++) total += at.get(first + block * stride + from + i);
        at.put(into + from + i, total);
      });
    });
  }
}

}  // namespace lenggen::LENGGEN_ISA
