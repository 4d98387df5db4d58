// Cross-entropy fused with the output projection: src/ops/crossEntropy.ts has the mathematics.
//
// Rows and vocabulary are cut into tiles. A tile's logits are one product over all threads, into scratch memory for one tile;
// then each row of the tile is finished on its own. The forward keeps a running
// maximum and sum per row (Milakov & Gimelshein 2018). The gradient recomputes the logits, turns them into dz in
// place, and multiplies on. All sums over tiles go in order, so that their bits depend on the shapes alone.
#include <algorithm>
#include <cmath>

#include "families.h"
#include "gemm.h"
#include "signatures/crossEntropy.h"
#include "vector.h"

namespace lenggen::LENGGEN_ISA {
namespace {

constexpr int64_t ROWS_PER_ITEM = 8;

// Logits that a tile holds (4 MB, which a cache takes), and the most of its rows and columns.
constexpr int64_t TILE_LOGITS = 1 << 20, TILE_ROWS = 2048, TILE_COLUMNS = 1024;

struct Sizes {
  int64_t rows, width, vocabulary, tileRows, tileColumns;
  // The vocabulary is cut evenly, in whole vectors of the widest instruction set; rows fill the tile up.
  template <typename Args>
  explicit Sizes(const Args& args) : rows(args.rows), width(args.width), vocabulary(args.vocabulary) {
    const int64_t pieces = 16 * ((vocabulary + TILE_COLUMNS - 1) / TILE_COLUMNS);
    tileColumns = std::min(vocabulary, (vocabulary + pieces - 1) / pieces * 16);
    tileRows = std::max<int64_t>(1, std::min({rows, TILE_ROWS, TILE_LOGITS / tileColumns}));
  }
  // A tile of logits, then a running sum and the target's logit for each row of a tile.
  int64_t workspace() const { return tileRows * (tileColumns + 2); }
};

template <typename Args>
void checkVocabulary(const Args& args) {
  require(args.vocabulary >= 1, "the vocabulary must not be empty");
}

// Rows from `row` on and entries of the vocabulary from `column` on.
struct Tile {
  int64_t row, rows, column, columns;
};

template <typename Body>
void overTiles(const Sizes& sizes, const Body& body) {
  for (int64_t row = 0; row < sizes.rows; row += sizes.tileRows) {
    for (int64_t column = 0; column < sizes.vocabulary; column += sizes.tileColumns) {
      body(Tile{row, std::min(sizes.tileRows, sizes.rows - row), column, std::min(sizes.tileColumns, sizes.vocabulary - column)});
    }
  }
}

// body(row within the tile) for each row of a tile
template <typename Body>
void overRows(Pool& pool, const Tile& tile, const Body& body) {
  pool.parallel((tile.rows + ROWS_PER_ITEM - 1) / ROWS_PER_ITEM, [&](int64_t item, int) {
    const int64_t end = std::min(tile.rows, (item + 1) * ROWS_PER_ITEM);
    for (int64_t i = item * ROWS_PER_ITEM; i < end; i++) body(i);
  });
}

void logitsOf(Pool& pool, const Tile& tile, int64_t width, const float* hidden, const float* weight, float* logits) {
  gemm(pool, tile.rows, tile.columns, width, {hidden + tile.row * width, width, 1}, {weight + tile.column * width, 1, width}, logits,
       tile.columns, false);
}

void logitsOf(Pool& pool, const Tile& tile, int64_t width, const float* hidden, const uint16_t* weight, float* logits) {
  gemmHalf(pool, tile.rows, tile.columns, width, hidden + tile.row * width, weight + tile.column * width, logits, tile.columns);
}

// The largest of n >= 0 numbers and `top`; NaN when there is one.
float largestOf(const float* z, int64_t n, float top) {
  vf most = broadcast(top);
  int64_t i = 0;
  for (; i + WIDTH <= n; i += WIDTH) most = select(most != most, most, max(most, load(z + i)));
  top = largest(most);
  for (; i < n; i++) top = z[i] > top || z[i] != z[i] ? z[i] : top;
  return top;
}

// Σ exp(z - top)
float sumOfExponentials(const float* z, int64_t n, float top) {
  vf sums = zero();
  int64_t i = 0;
  for (; i + WIDTH <= n; i += WIDTH) sums += exp(load(z + i) - top);
  float total = sum(sums);
  if (i < n) {
    const vf rest = exp(loadFirst(z + i, n - i) - top);
    for (int lane = 0; lane < n - i; lane++) total += rest[lane];
  }
  return total;
}

template <typename Weight>
void forwardAs(const CrossEntropyArgs& args, Pool& pool) {
  const Sizes sizes(args);
  const float* hidden = args.hidden;
  const Weight* weight = static_cast<const Weight*>(args.weight.data);
  const int32_t* targets = args.targets;
  float *logits = pool.shared(static_cast<size_t>(sizes.workspace() + sizes.rows)), *losses = args.losses;
  float* const logsumexp = args.logsumexp ? args.logsumexp : logits + sizes.workspace();
  float* const runningSum = logits + sizes.tileRows * sizes.tileColumns;
  float* const targetLogit = runningSum + sizes.tileRows;
  const float least = -std::numeric_limits<float>::infinity();
  overTiles(sizes, [&](const Tile& tile) {
    logitsOf(pool, tile, sizes.width, hidden, weight, logits);
    overRows(pool, tile, [&](int64_t i) {
      const int64_t row = tile.row + i, target = std::min<int64_t>(targets[row], sizes.vocabulary - 1);
      if (target < 0) {
        losses[row] = logsumexp[row] = 0;
        return;
      }
      const float* z = logits + i * tile.columns;
      const bool first = tile.column == 0;
      const float before = first ? least : logsumexp[row];  // the running maximum, until the last tile is done
      const float top = largestOf(z, tile.columns, before);
      const float carried = first ? 0.0f : runningSum[i] * std::exp(before - top);
      // While all logits are -inf there is nothing to add.
      runningSum[i] = top == least ? 0.0f : carried + sumOfExponentials(z, tile.columns, top);
      logsumexp[row] = top;
      if (target >= tile.column && target < tile.column + tile.columns) targetLogit[i] = z[target - tile.column];
      if (tile.column + tile.columns == sizes.vocabulary) {
        logsumexp[row] = top + std::log(runningSum[i]);
        losses[row] = logsumexp[row] - targetLogit[i];
      }
    });
  });
}

void forward(const CrossEntropyArgs& args, Pool& pool) {
  if (args.weight.type == BufferType::f16) forwardAs<uint16_t>(args, pool);
  else forwardAs<float>(args, pool);
}

// z becomes dz = g · (exp(z - s) - [v = target])
void turnIntoGradient(float* z, int64_t n, float s, float g, int64_t target) {
  for (int64_t i = 0; i < n; i += WIDTH) {
    const int64_t count = std::min<int64_t>(WIDTH, n - i);
    storeFirst(z + i, g * exp(loadFirst(z + i, count) - s), count);
  }
  if (target >= 0 && target < n) z[target] -= g;
}

void gradient(const CrossEntropyGradientArgs& args, Pool& pool) {
  const Sizes sizes(args);
  const float *hidden = args.hidden, *weight = args.weight, *logsumexp = args.logsumexp, *dlosses = args.dlosses;
  const int32_t* targets = args.targets;
  float *logits = pool.shared(static_cast<size_t>(sizes.workspace())), *dhidden = args.dhidden, *dweight = args.dweight;
  const int64_t width = sizes.width;
  if (dweight && sizes.rows == 0) std::fill(dweight, dweight + sizes.vocabulary * width, 0.0f);
  overTiles(sizes, [&](const Tile& tile) {
    logitsOf(pool, tile, width, hidden, weight, logits);
    overRows(pool, tile, [&](int64_t i) {
      const int64_t row = tile.row + i, target = std::min<int64_t>(targets[row], sizes.vocabulary - 1);
      float* z = logits + i * tile.columns;
      if (target < 0) std::fill(z, z + tile.columns, 0.0f);
      else turnIntoGradient(z, tile.columns, logsumexp[row], dlosses[row], target - tile.column);
    });
    const int64_t atRow = tile.row * width, atColumn = tile.column * width;
    if (dhidden) {
      gemm(pool, tile.rows, width, tile.columns, {logits, tile.columns, 1}, {weight + atColumn, width, 1}, dhidden + atRow, width,
           tile.column > 0);
    }
    if (dweight) {
      gemm(pool, tile.columns, width, tile.rows, {logits, 1, tile.columns}, {hidden + atRow, width, 1}, dweight + atColumn, width,
           tile.row > 0);
    }
  });
}

}  // namespace

extern const Kernel crossEntropyKernels[] = {
    kernel<CrossEntropyArgs, forward, checkVocabulary>(),
    kernel<CrossEntropyGradientArgs, gradient, checkVocabulary>(),
    {nullptr, nullptr, nullptr},
};

}  // namespace lenggen::LENGGEN_ISA
