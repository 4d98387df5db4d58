// Blocking and splitting of matrix products. C is split into one or two blocks a thread. Each packs what it needs of B into panels, for
// itself, and runs the tiles of gemmTile.h over them; shared panels would be packed once less and waited for. A is read in place: its
// elements are broadcast, so that packing would save nothing but misses of the cache, and cost more (measured). What comes after
// is asked for meanwhile (ahead.h). Products with few rows take shorter ways, since there packing B costs more than it saves.
#include "gemm.h"

#include <algorithm>
#include <limits>

#include "gemmDots.h"
#include "gemmPack.h"
#include "gemmTile.h"

namespace lenggen {
namespace LENGGEN_ISA {
namespace {

// A panel of B (K_BLOCK x TILE_COLUMNS) should fit the L1 cache beside a tile of A; a block of A
// (ROW_BLOCK x K_BLOCK) and the panels of B that it meets the L2 cache.
constexpr int64_t K_BLOCK = 256;
constexpr int64_t ROW_BLOCK = 64;
// Floats of B that are packed at a time: less than half of a 1 MB L2 cache. Narrower bands would save nothing, and cut rows of C.
constexpr int64_t PACKED_FLOATS = 384 * K_BLOCK;
// Blocks of A whose columns lie a multiple of so many floats apart are copied, if so many columns of B use them: `copiesA`.
constexpr int64_t COPY_STRIDE = 1024;
constexpr int64_t COPY_COLUMNS = 256;
// Multiply-adds of a thread from which on two blocks of work a thread are better than one.
constexpr double TWO_BLOCKS_WORK = 1 << 24;
// Cycles to pack an element of B and to read one of A for the first time; a multiply-add takes 1 / (2 WIDTH).
constexpr double PACK_COST = 0.25, READ_COST = 0.125;
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

// C[rows, n] (+)= A[rows, steps] · B[steps, n] with B packed. Asks for what the next block reads, and for C before its turn comes:
// nextC is where the next block's is, or nullptr.
void block(int64_t rows, int64_t n, int64_t steps, Operand a, const float* packedB, float* c, int64_t cRow, bool accumulate,
           Ahead nextA, const float* nextC) {
  const int64_t tiles = ceilDiv(rows, TILE_ROWS);
  for (int64_t column = 0; column < n; column += TILE_COLUMNS) {
    const int vectors = vectorsOf(n - column);
    // A piece of C is as wide as two panels: they ask for that of the two after them.
    const float* later = column + Ahead::ROW < n ? c + column + Ahead::ROW : nextC;
    Ahead laterC;
    if (later && column % Ahead::ROW == 0) laterC.add(later, Ahead::ROW, cRow, rows);
    for (int64_t t = 0; t < tiles; t++) {
      const Range r = share(rows, tiles, t);
      const Tile run = tileFor<false>(static_cast<int>(r.size()), vectors);
      run(steps, a.data + r.from * a.row, a.row, a.column, packedB + column * steps, vectors * WIDTH, c + r.from * cRow + column, cRow,
          lastOf(n - column, vectors), accumulate, laterC.empty() ? nextA.next(steps, packedB) : laterC.next(steps, packedB));
    }
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

void gemmSmall(int64_t m, int64_t n, int64_t k, Operand a, const float* b, int64_t bRow, float* c, int64_t cRow, bool accumulate, Skip skip,
    Ahead* ahead) {
  const int64_t tiles = ceilDiv(m, TILE_ROWS);
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
      float* to = c + r.from * cRow + column;
      // Rows of C are far apart, so the processor does not foresee them.
      for (int64_t i = 0; i < height; i++)
        for (int64_t v = 0; v < vectors * WIDTH; v += 16) __builtin_prefetch(to + i * cRow + v, 1);
      run(steps, rows.data, a.row, a.column, b + first * bRow + column, bRow, to, cRow, last, accumulate, nextOf(ahead, steps, b));
    }
  }
}

namespace {

// Whether a block of A is copied before use: its columns are contiguous and so far apart that all of them fall into the same few
// sets of a cache, where they push each other out.
bool copiesA(int64_t n, Operand a) { return a.row == 1 && a.column % COPY_STRIDE == 0 && n >= COPY_COLUMNS; }

// a [rows, steps] with contiguous columns, in `to`.
Operand copyA(Operand a, int64_t rows, int64_t steps, float* to) {
  const int64_t stride = roundUp(rows, WIDTH);
  pack(transposed(a), rows, steps, to, stride);
  return {to, 1, stride};
}

// What asks for a [rows, steps], if one of its axes is contiguous.
Ahead asked(Operand a, int64_t rows, int64_t steps) {
  Ahead ahead;
  if (a.column == 1) ahead.add(a.data, steps, a.row, rows);
  else if (a.row == 1) ahead.add(a.data, rows, a.column, steps);
  return ahead;
}

// Bands of columns of B that are packed one after the other.
int64_t bandCount(int64_t n, int64_t k) { return ceilDiv(paddedColumns(n) * Blocks(k).step, PACKED_FLOATS); }

// C (+)= A·B through packed panels of B.
void packedProduct(float* scratch, int64_t m, int64_t n, int64_t k, Operand a, Operand b, float* c, int64_t cRow, bool accumulate) {
  const Blocks blocks(k);
  const int64_t bands = bandCount(n, k), panels = panelCount(n), rowBlocks = ceilDiv(m, ROW_BLOCK);
  for (int64_t band = 0; band < bands; band++) {
    const Range panel = share(panels, bands, band);
    const int64_t column = panel.from * TILE_COLUMNS, columns = std::min(n, panel.to * TILE_COLUMNS) - column;
    float* copy = scratch + paddedColumns(columns) * blocks.step;
    for (int64_t p = 0; p < blocks.count; p++) {
      const Range steps = blocks[p];
      for (int64_t j = 0; j < panel.size(); j++) packPanel(from(b, steps.from, column), columns, steps.size(), j, scratch);
      for (int64_t i = 0; i < rowBlocks; i++) {
        const Range rows = share(m, rowBlocks, i);
        Operand part = from(a, rows.from, steps.from);
        if (copiesA(n, a)) part = copyA(part, rows.size(), steps.size(), copy);
        const bool more = i + 1 < rowBlocks, last = !more && p + 1 == blocks.count;
        const Range nextRows = last ? Range{0, 0} : share(m, rowBlocks, more ? i + 1 : 0), nextSteps = last
            ? steps : blocks[more ? p : p + 1];
        block(rows.size(), columns, steps.size(), part, scratch, c + rows.from * cRow + column, cRow, accumulate || p > 0,
              asked(from(a, nextRows.from, nextSteps.from), nextRows.size(), nextSteps.size()), last
                  ? nullptr : c + nextRows.from * cRow + column);
      }
    }
  }
}

}  // namespace

size_t gemmScratch(int64_t n, int64_t k) {
  if (k == 0) return 0;
  const int64_t columns = std::min(paddedColumns(n), ceilDiv(panelCount(n), bandCount(n, k)) * TILE_COLUMNS);
  return static_cast<size_t>(columns * Blocks(k).step + roundUp(ROW_BLOCK, WIDTH) * K_BLOCK);
}

void gemmSingle(float* scratch, int64_t m, int64_t n, int64_t k, Operand a, Operand b, float* c, int64_t cRow, bool accumulate) {
  if (m == 0 || n == 0) return;
  if (k == 0) return accumulate ? void() : clear(m, n, c, cRow);
  if (byDots(m, a, b)) return dotProducts(m, 0, n, k, a, b.data, b.column, c, cRow, accumulate);
  if (byOneTile(m, b)) return gemmSmall(m, n, k, a, b.data, b.row, c, cRow, accumulate);
  packedProduct(scratch, m, n, k, a, b, c, cRow, accumulate);
}

namespace {

// How gemm splits C over threads: into so many blocks of rows times so many of columns. Each packs what it needs of B for
// itself, so that threads wait for each other at the end alone. Changes no number.
struct Split {
  int64_t rows = 1, columns = 1;
  Split(int64_t m, int64_t n, int64_t k, int64_t threads) {
    if (threads == 1) return;
    const double work = static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
    // Two blocks a thread even out some of what disturbs one of them; small products do without.
    const int64_t most = work >= static_cast<double>(threads) * TWO_BLOCKS_WORK ? 2 * threads : threads;
    double best = std::numeric_limits<double>::infinity();
    for (int64_t r = 1; r <= most && r <= ceilDiv(m, TILE_ROWS); r++)
      for (int64_t c = std::min(most / r, panelCount(n)); c > 0; c--) {
        const double height = static_cast<double>(ceilDiv(m, r)), width = static_cast<double>(ceilDiv(panelCount(n), c) * TILE_COLUMNS);
        const double time = static_cast<double>(ceilDiv(r * c, threads))
            * (height * width / WIDTH / 2 + PACK_COST * width + READ_COST * height);
        // Of two that are as good, the one with more blocks.
        if (time < best * (r * c > rows * columns ? 1.001 : 1)) best = time, rows = r, columns = c;
      }
  }
};

}  // namespace

void gemm(Pool& pool, int64_t m, int64_t n, int64_t k, Operand a, Operand b, float* c, int64_t cRow, bool accumulate) {
  if (m == 0 || n == 0) return;
  if (k == 0) return accumulate ? void() : clear(m, n, c, cRow);
  const bool parallel = static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k) > PARALLEL_WORK;
  if (byDots(m, a, b) || byOneTile(m, b)) {
    const int64_t parts = ceilDiv(n, 4 * TILE_COLUMNS);
    const auto part = [&](int64_t i, int) {
      const Range columns{i * 4 * TILE_COLUMNS, std::min<int64_t>(n, (i + 1) * 4 * TILE_COLUMNS)};
      if (byDots(m, a, b)) dotProducts(m, columns.from, columns.to, k, a, b.data, b.column, c, cRow, accumulate);
      else gemmSmall(m, columns.size(), k, a, b.data + columns.from, b.row, c + columns.from, cRow, accumulate);
    };
    if (parallel) return pool.parallel(parts, part);
    for (int64_t i = 0; i < parts; i++) part(i, 0);
    return;
  }
  const Split split(m, n, k, parallel ? pool.threads() : 1);
  pool.parallel(split.rows * split.columns, [&](int64_t item, int worker) {
    const Range rows = share(m, split.rows, item / split.columns), band = share(panelCount(n), split.columns, item % split.columns);
    const int64_t column = band.from * TILE_COLUMNS, columns = std::min(n, band.to * TILE_COLUMNS) - column;
    packedProduct(pool.scratch(worker, gemmScratch(columns, k)), rows.size(), columns, k, from(a, rows.from, 0), from(b, 0, column),
                  c + rows.from * cRow + column, cRow, accumulate);
  });
}

}  // namespace LENGGEN_ISA
}  // namespace lenggen
