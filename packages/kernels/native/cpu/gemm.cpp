// Blocking and splitting of matrix products. A block of steps of B is packed once into panels that all threads share;
// then each item of work takes a block of rows and runs the tiles of gemmTile.h over all panels. A is read in place: its
// elements are broadcast, so that packing would save nothing but misses of the cache, and cost more (measured).
// Products with few rows take shorter ways, since there packing B costs more than it saves.
#include "gemm.h"

#include <algorithm>

#include "gemmPack.h"
#include "gemmTile.h"

namespace lenggen {
namespace LENGGEN_ISA {
namespace {

// A panel of B (K_BLOCK x TILE_COLUMNS) should fit the L1 cache beside a tile of A; a block of A
// (ROW_BLOCK x K_BLOCK) and the panels of B that it meets the L2 cache.
constexpr int64_t K_BLOCK = 256;
constexpr int64_t ROW_BLOCK = 64;
constexpr int64_t SMALL_ROW_BLOCK = 32;
// gemmSingle packs this many columns of B at a time; with K_BLOCK, less than half of a 1 MB L2 cache.
constexpr int64_t COLUMN_BLOCK = 384;
// gemm packs up to this many columns of B at a time, and floats of B in all.
constexpr int64_t SHARED_COLUMNS = 1 << 13;
constexpr int64_t SHARED_LIMIT = 1 << 22;
// Floats of B that stay in the L2 cache while items of rows go by.
constexpr int64_t CACHED_PANELS = 3 << 16;
// Up to so many rows, a B whose columns are contiguous is read in place, by dot products.
constexpr int64_t DOT_ROWS = 8;
// Products of fewer multiply-adds are not worth waking other threads for.
constexpr int64_t PARALLEL_WORK = 1 << 17;

int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }
int64_t roundUp(int64_t a, int64_t b) { return ceilDiv(a, b) * b; }

// Part i of n things split evenly into `parts`.
struct Range {
  int64_t from, to;
  int64_t size() const { return to - from; }
};
Range share(int64_t n, int64_t parts, int64_t i) { return {n * i / parts, n * (i + 1) / parts}; }

// Even blocks of k, none longer than K_BLOCK; all but the last are a multiple of 4 long.
struct Blocks {
  int64_t k, step, count;
  explicit Blocks(int64_t k) : k(k), step(roundUp(ceilDiv(k, ceilDiv(k, K_BLOCK)), 4)), count(ceilDiv(k, step)) {}
  Range operator[](int64_t i) const { return {i * step, std::min(k, (i + 1) * step)}; }
};

// Columns as panels hold them: whole vectors.
int64_t paddedColumns(int64_t n) { return roundUp(n, WIDTH); }
int64_t panelCount(int64_t n) { return ceilDiv(n, TILE_COLUMNS); }
int vectorsOf(int64_t columns) { return static_cast<int>(ceilDiv(std::min<int64_t>(columns, TILE_COLUMNS), WIDTH)); }
// Floats in the last vector of a panel: 1 ... WIDTH.
int64_t lastOf(int64_t columns, int vectors) { return std::min<int64_t>(columns, TILE_COLUMNS) - (vectors - 1) * WIDTH; }

// Packs panel `j` of b [steps, n] to its place in `packed`, which holds paddedColumns(n) · steps floats.
void packPanel(Operand b, int64_t n, int64_t steps, int64_t j, float* packed) {
  const int64_t column = j * TILE_COLUMNS, columns = std::min<int64_t>(n - column, TILE_COLUMNS);
  pack(from(b, 0, column), columns, steps, packed + column * steps, vectorsOf(columns) * WIDTH);
}

// C[rows, n] (+)= A[rows, steps] · B[steps, n] with B packed.
void block(int64_t rows, int64_t n, int64_t steps, Operand a, const float* packedB, float* c, int64_t cRow, bool accumulate) {
  const int64_t tiles = ceilDiv(rows, TILE_ROWS);
  for (int64_t column = 0; column < n; column += TILE_COLUMNS) {
    const int vectors = vectorsOf(n - column);
    for (int64_t t = 0; t < tiles; t++) {
      const Range r = share(rows, tiles, t);
      const Tile run = tileFor<false>(static_cast<int>(r.size()), vectors);
      run(steps, a.data + r.from * a.row, a.row, a.column, packedB + column * steps, vectors * WIDTH, c + r.from * cRow + column, cRow,
          lastOf(n - column, vectors), accumulate, {packedB, 0, 0});
    }
  }
}

// ROWS x 4 dot products of contiguous rows: c[i * cRow + j] (+)= a_i · b_j.
template <int ROWS>
void dots(int64_t columns, int64_t k, const float* a, int64_t aRow, const float* b, int64_t bColumn, float* c, int64_t cRow, bool accumulate) {
  const float* column[4];  // missing ones repeat the last
  for (int64_t j = 0; j < 4; j++) column[j] = b + std::min(j, columns - 1) * bColumn;
  vf sums[ROWS][4] = {};
  int64_t p = 0;
  for (; p + WIDTH <= k; p += WIDTH)
#pragma GCC unroll 4
    for (int i = 0; i < ROWS; i++)
#pragma GCC unroll 4
      for (int j = 0; j < 4; j++) sums[i][j] += load(a + i * aRow + p) * load(column[j] + p);
  if (p < k)
#pragma GCC unroll 4
    for (int i = 0; i < ROWS; i++)
#pragma GCC unroll 4
      for (int j = 0; j < 4; j++) sums[i][j] += loadFirst(a + i * aRow + p, k - p) * loadFirst(column[j] + p, k - p);
#pragma GCC unroll 4
  for (int i = 0; i < ROWS; i++)
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
      if (j >= columns) break;
      float& to = c[i * cRow + j];
      to = accumulate ? to + sum(sums[i][j]) : sum(sums[i][j]);
    }
}

// Few rows against contiguous columns of B: every element of B is read once, in order.
void dotProducts(int64_t m, Range columns, int64_t k, Operand a, Operand b, float* c, int64_t cRow, bool accumulate) {
  constexpr int HIGHEST = TILE_ROWS > 8 ? 4 : 2;
  for (int64_t j = columns.from; j < columns.to; j += 4)
    for (int64_t i = 0; i < m; i += HIGHEST) {
      const int64_t wide = std::min<int64_t>(4, columns.to - j), rows = std::min<int64_t>(HIGHEST, m - i);
      const auto run = rows == 1 ? dots<1> : rows == 2 ? dots<2> : rows == 3 ? dots<HIGHEST == 4 ? 3 : 2> : dots<HIGHEST>;
      run(wide, k, a.data + i * a.row, a.row, b.data + j * b.column, b.column, c + i * cRow + j, cRow, accumulate);
    }
}

bool byDots(int64_t m, Operand a, Operand b) { return m <= DOT_ROWS && a.column == 1 && b.row == 1; }
// So few rows that each element of B is used once.
bool byOneTile(int64_t m, Operand b) { return m <= TILE_ROWS && b.column == 1; }

void clear(int64_t m, int64_t n, float* c, int64_t cRow) {
  for (int64_t i = 0; i < m; i++) std::fill(c + i * cRow, c + i * cRow + n, 0.0f);
}

}  // namespace

void transpose(int64_t rows, int64_t columns, const float* from, int64_t fromRow, float* to, int64_t toRow) {
  for (int64_t i = 0; i < rows; i += WIDTH) {
    const int64_t height = std::min<int64_t>(WIDTH, rows - i);
    for (int64_t j = 0; j < columns; j += WIDTH) {
      const int64_t width = std::min<int64_t>(WIDTH, columns - j);
      const float* source = from + i * fromRow + j;
      float* target = to + j * toRow + i;
      vf square[WIDTH];
      if (height == WIDTH && width == WIDTH) {
#pragma GCC unroll 16
        for (int r = 0; r < WIDTH; r++) square[r] = load(source + r * fromRow);
        transposeSquare(square);
#pragma GCC unroll 16
        for (int r = 0; r < WIDTH; r++) store(target + r * toRow, square[r]);
      } else {
        for (int64_t r = 0; r < WIDTH; r++) square[r] = loadFirst(source + std::min(r, height - 1) * fromRow, width);
        transposeSquare(square);
        for (int64_t r = 0; r < width; r++) storeFirst(target + r * toRow, square[r], height);
      }
    }
  }
}

void gemmSmall(int64_t m, int64_t n, int64_t k, Operand a, const float* b, int64_t bRow, float* c, int64_t cRow, bool accumulate, Skip skip, Ahead ahead) {
  const int64_t tiles = ceilDiv(m, TILE_ROWS);
  AheadStream stream(ahead);
  for (int64_t t = 0; t < tiles; t++) {
    const Range r = share(m, tiles, t);
    const int height = static_cast<int>(r.size());
    const int64_t first = skip == Skip::UpperA ? std::min(k, r.from) : 0;
    const int64_t steps = (skip == Skip::LowerA ? std::min(k, r.to) : k) - first;
    const int64_t columns = skip == Skip::LowerC ? std::min(n, r.to) : n;
    const Operand rows = from(a, r.from, first);
    for (int64_t column = 0; column < columns; column += TILE_COLUMNS) {
      const int vectors = vectorsOf(columns - column);
      const int64_t last = lastOf(columns - column, vectors);
      const Tile run = last == WIDTH ? tileFor<false>(height, vectors) : tileFor<true>(height, vectors);
      run(steps, rows.data, a.row, a.column, b + first * bRow + column, bRow, c + r.from * cRow + column, cRow, last, accumulate, stream.next(steps, b));
    }
  }
}

size_t gemmScratch(int64_t n, int64_t k) {
  return k == 0 ? 0 : static_cast<size_t>(paddedColumns(std::min(n, COLUMN_BLOCK)) * Blocks(k).step);
}

void gemmSingle(float* scratch, int64_t m, int64_t n, int64_t k, Operand a, Operand b, float* c, int64_t cRow, bool accumulate) {
  if (m == 0 || n == 0) return;
  if (k == 0) return accumulate ? void() : clear(m, n, c, cRow);
  if (byDots(m, a, b)) return dotProducts(m, {0, n}, k, a, b, c, cRow, accumulate);
  if (byOneTile(m, b)) return gemmSmall(m, n, k, a, b.data, b.row, c, cRow, accumulate);
  const Blocks blocks(k);
  for (int64_t column = 0; column < n; column += COLUMN_BLOCK) {
    const int64_t columns = std::min(COLUMN_BLOCK, n - column);
    for (int64_t p = 0; p < blocks.count; p++) {
      const Range steps = blocks[p];
      for (int64_t j = 0; j < panelCount(columns); j++) packPanel(from(b, steps.from, column), columns, steps.size(), j, scratch);
      const int64_t rowBlocks = ceilDiv(m, ROW_BLOCK);
      for (int64_t i = 0; i < rowBlocks; i++) {
        const Range rows = share(m, rowBlocks, i);
        block(rows.size(), columns, steps.size(), from(a, rows.from, steps.from), scratch, c + rows.from * cRow + column, cRow,
              accumulate || p > 0);
      }
    }
  }
}

namespace {

// How gemm splits C: into so many blocks of rows times so many of columns, the same for any number of threads.
struct Split {
  int64_t rows, columns;
  Split(int64_t m, int64_t n) {
    // Multiples of 16 blocks leave no thread of 2, 4, 8 or 16 idle at the end; small products must do with 4.
    rows = m >= 16 * ROW_BLOCK ? roundUp(ceilDiv(m, ROW_BLOCK), 16) : m > 4 * SMALL_ROW_BLOCK ? roundUp(ceilDiv(m, SMALL_ROW_BLOCK), 4) : ceilDiv(m, SMALL_ROW_BLOCK);
    // Few blocks of rows: split columns too.
    columns = std::max<int64_t>(1, std::min(ceilDiv(8, rows), panelCount(n) / 4));
  }
};

template <typename Body>
void forItems(Pool& pool, bool parallel, int64_t items, const Body& body) {
  if (parallel) return pool.parallel(items, body);
  for (int64_t i = 0; i < items; i++) body(i, 0);
}

// gemm for the blocks of steps `part`, and columns that fit the shared buffer with them.
void gemmPart(Pool& pool, bool parallel, int64_t m, int64_t n, const Blocks& blocks, Range part, Operand a, Operand b, float* c, int64_t cRow,
              bool accumulate) {
  const int64_t panels = panelCount(n), padded = paddedColumns(n), first = blocks[part.from].from;
  float* packedB = pool.shared(static_cast<size_t>(padded * (blocks[part.to - 1].to - first)));
  forItems(pool, parallel, panels * part.size(), [&](int64_t item, int) {
    const Range steps = blocks[part.from + item / panels];
    packPanel(from(b, steps.from, 0), n, steps.size(), item % panels, packedB + padded * (steps.from - first));
  });
  const Split split(m, n);
  forItems(pool, parallel, split.rows * split.columns, [&](int64_t item, int) {
    const Range rows = share(m, split.rows, item / split.columns), band = share(panels, split.columns, item % split.columns);
    const int64_t column = band.from * TILE_COLUMNS, columns = std::min(n, band.to * TILE_COLUMNS) - column;
    for (int64_t p = part.from; p < part.to; p++) {
      const Range steps = blocks[p];
      block(rows.size(), columns, steps.size(), from(a, rows.from, steps.from), packedB + padded * (steps.from - first) + column * steps.size(),
            c + rows.from * cRow + column, cRow, accumulate || p > 0);
    }
  });
}

}  // namespace

void gemm(Pool& pool, int64_t m, int64_t n, int64_t k, Operand a, Operand b, float* c, int64_t cRow, bool accumulate) {
  if (m == 0 || n == 0) return;
  if (k == 0) return accumulate ? void() : clear(m, n, c, cRow);
  const bool parallel = static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k) > PARALLEL_WORK;
  if (byDots(m, a, b) || byOneTile(m, b)) {
    const int64_t parts = ceilDiv(n, 4 * TILE_COLUMNS);
    return forItems(pool, parallel, parts, [&](int64_t i, int) {
      const Range columns{i * 4 * TILE_COLUMNS, std::min<int64_t>(n, (i + 1) * 4 * TILE_COLUMNS)};
      if (byDots(m, a, b)) dotProducts(m, columns, k, a, b, c, cRow, accumulate);
      else gemmSmall(m, columns.size(), k, a, b.data + columns.from, b.row, c + columns.from, cRow, accumulate);
    });
  }
  const Blocks blocks(k);
  for (int64_t column = 0; column < n; column += SHARED_COLUMNS) {
    const int64_t columns = std::min(SHARED_COLUMNS, n - column), panels = paddedColumns(columns) * blocks.step;
    // While a block of B stays in the L2 cache, all rows go by before the next block. One too large to stay comes from
    // memory each time; then a row had better meet all blocks at once, while its part of C is in the cache.
    const int64_t depth = panels <= CACHED_PANELS ? 1 : std::max<int64_t>(1, SHARED_LIMIT / panels);
    for (int64_t p = 0; p < blocks.count; p += depth)
      gemmPart(pool, parallel, m, columns, blocks, {p, std::min(blocks.count, p + depth)}, a, from(b, 0, column), c + column, cRow, accumulate);
  }
}

}  // namespace LENGGEN_ISA
}  // namespace lenggen
