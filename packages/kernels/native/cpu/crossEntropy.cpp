// Cross-entropy fused with the output projection: src/ops/crossEntropy.ts has the mathematics.
//
// Rows go through in tiles. A tile's logits are one product over all threads, into a workspace that the TypeScript
// side allocates [tileRows, vocabulary]; then each row is finished on its own. The gradient recomputes the
// logits, turns them into dz in place, and multiplies on. dW sums over tiles in order, so its bits depend on the
// shapes alone.
#include <algorithm>
#include <cmath>

#include "check.h"
#include "families.h"
#include "gemm.h"
#include "vector.h"

namespace lenggen::LENGGEN_ISA {
namespace {

constexpr int64_t ROWS_PER_ITEM = 8;

// The numbers of both kernels.
struct Sizes {
  int64_t rows, width, vocabulary, tileRows;
  explicit Sizes(const Launch& launch)
      : rows(launch.integer(0)), width(launch.integer(1)), vocabulary(launch.integer(2)), tileRows(launch.integer(3)) {}
};

struct Tile {
  int64_t first, rows;
};

template <typename Body>
void overTiles(const Sizes& sizes, const Body& body) {
  for (int64_t first = 0; first < sizes.rows; first += sizes.tileRows) body(Tile{first, std::min(sizes.tileRows, sizes.rows - first)});
}

// body(row in all rows, its logits) for each row of a tile
template <typename Body>
void overRows(Pool& pool, const Sizes& sizes, Tile tile, float* logits, const Body& body) {
  pool.parallel((tile.rows + ROWS_PER_ITEM - 1) / ROWS_PER_ITEM, [&](int64_t item, int) {
    const int64_t end = std::min(tile.rows, (item + 1) * ROWS_PER_ITEM);
    for (int64_t i = item * ROWS_PER_ITEM; i < end; i++) body(tile.first + i, logits + i * sizes.vocabulary);
  });
}

void logitsOf(Pool& pool, const Sizes& sizes, Tile tile, const float* hidden, const float* weight, float* logits) {
  gemm(pool, tile.rows, sizes.vocabulary, sizes.width, {hidden + tile.first * sizes.width, sizes.width, 1}, {weight, 1, sizes.width},
       logits, sizes.vocabulary, false);
}

// ln Σ exp(z); NaN when z holds one.
float logSumExp(const float* z, int64_t n) {
  vf most = broadcast(-std::numeric_limits<float>::infinity());
  int64_t i = 0;
  for (; i + WIDTH <= n; i += WIDTH) most = max(most, load(z + i));
  float top = largest(most);
  for (; i < n; i++) top = z[i] > top || z[i] != z[i] ? z[i] : top;
  vf sums = zero();
  for (i = 0; i + WIDTH <= n; i += WIDTH) sums += exp(load(z + i) - top);
  float total = sum(sums);
  if (i < n) {
    const vf rest = exp(loadFirst(z + i, n - i) - top);
    for (int lane = 0; lane < n - i; lane++) total += rest[lane];
  }
  return top + std::log(total);
}

// buffers: hidden, weight, targets, workspace, losses, logsumexp
void checkForward(const Launch& launch) {
  requireCounts(launch, 6, 4);
  const int64_t rows = requireSize(launch, 0), width = requireSize(launch, 1), vocabulary = requireSize(launch, 2);
  const int64_t tileRows = requireSize(launch, 3);
  require(vocabulary >= 1 && tileRows >= 1, "the vocabulary and the tile must hold at least one row");
  requireElements(launch, 0, product({rows, width}));
  requireElements(launch, 1, product({vocabulary, width}));
  requireElements(launch, 2, rows);
  requireElements(launch, 3, product({tileRows, vocabulary}));
  requireElements(launch, 4, rows);
  requireElements(launch, 5, rows);
}

void forward(const Launch& launch, Pool& pool) {
  const Sizes sizes(launch);
  const float *hidden = launch.buffers[0].f32(), *weight = launch.buffers[1].f32();
  const int32_t* targets = launch.buffers[2].i32();
  float *logits = launch.buffers[3].f32(), *losses = launch.buffers[4].f32(), *logsumexp = launch.buffers[5].f32();
  overTiles(sizes, [&](Tile tile) {
    logitsOf(pool, sizes, tile, hidden, weight, logits);
    overRows(pool, sizes, tile, logits, [&](int64_t row, float* z) {
      const int64_t target = std::min<int64_t>(targets[row], sizes.vocabulary - 1);
      logsumexp[row] = target < 0 ? 0.0f : logSumExp(z, sizes.vocabulary);
      losses[row] = target < 0 ? 0.0f : logsumexp[row] - z[target];
    });
  });
}

// z becomes dz = g · (exp(z - s) - [v = target])
void turnIntoGradient(float* z, int64_t n, float s, float g, int64_t target) {
  if (target < 0) {
    std::fill(z, z + n, 0.0f);
    return;
  }
  for (int64_t i = 0; i < n; i += WIDTH) {
    const int64_t count = std::min<int64_t>(WIDTH, n - i);
    storeFirst(z + i, g * exp(loadFirst(z + i, count) - s), count);
  }
  z[target] -= g;
}

// buffers: hidden, weight, targets, logsumexp, dlosses, workspace, dhidden or none, dweight or none
void checkGradient(const Launch& launch) {
  requireCounts(launch, 8, 4);
  const int64_t rows = requireSize(launch, 0), width = requireSize(launch, 1), vocabulary = requireSize(launch, 2);
  const int64_t tileRows = requireSize(launch, 3);
  require(vocabulary >= 1 && tileRows >= 1, "the vocabulary and the tile must hold at least one row");
  requireElements(launch, 0, product({rows, width}));
  requireElements(launch, 1, product({vocabulary, width}));
  requireElements(launch, 2, rows);
  requireElements(launch, 3, rows);
  requireElements(launch, 4, rows);
  requireElements(launch, 5, product({tileRows, vocabulary}));
  requireOptional(launch, 6, product({rows, width}));
  requireOptional(launch, 7, product({vocabulary, width}));
}

void gradient(const Launch& launch, Pool& pool) {
  const Sizes sizes(launch);
  const float *hidden = launch.buffers[0].f32(), *weight = launch.buffers[1].f32();
  const int32_t* targets = launch.buffers[2].i32();
  const float *logsumexp = launch.buffers[3].f32(), *dlosses = launch.buffers[4].f32();
  float *logits = launch.buffers[5].f32(), *dhidden = launch.buffers[6].f32(), *dweight = launch.buffers[7].f32();
  const int64_t width = sizes.width, vocabulary = sizes.vocabulary;
  if (dweight && sizes.rows == 0) std::fill(dweight, dweight + vocabulary * width, 0.0f);
  overTiles(sizes, [&](Tile tile) {
    logitsOf(pool, sizes, tile, hidden, weight, logits);
    overRows(pool, sizes, tile, logits, [&](int64_t row, float* z) {
      turnIntoGradient(z, vocabulary, logsumexp[row], dlosses[row], std::min<int64_t>(targets[row], vocabulary - 1));
    });
    const int64_t start = tile.first * width;
    if (dhidden) gemm(pool, tile.rows, width, vocabulary, {logits, vocabulary, 1}, {weight, width, 1}, dhidden + start, width, false);
    if (dweight) gemm(pool, vocabulary, width, tile.rows, {logits, 1, vocabulary}, {hidden + start, width, 1}, dweight, width, tile.first > 0);
  });
}

}  // namespace

extern const Kernel crossEntropyKernels[] = {
    {"crossEntropy", checkForward, forward},
    {"crossEntropyGradient", checkGradient, gradient},
    {nullptr, nullptr, nullptr},
};

}  // namespace lenggen::LENGGEN_ISA
