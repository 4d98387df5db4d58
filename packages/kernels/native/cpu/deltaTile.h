// Panels: what scans with a delta rule walk along time. A panel is a tile wide (TILE_COLUMNS) and holds so many columns of the values and
// of the state, which no other columns depend on; its rows lie one behind the other. The tiles here take some of its rows through several
// products and the triangular system while they stay in registers.
#pragma once
#include <algorithm>
#include <utility>

#include "gemmThen.h"

namespace lenggen {
namespace LENGGEN_ISA {
namespace {

constexpr int64_t PANEL = TILE_COLUMNS;
static_assert(TILE_VECTORS == 2, "tiles are two vectors wide");

// Panels of a matrix with `columns` columns, and the columns of the p-th.
inline int64_t panelsOf(int64_t columns) { return (columns + PANEL - 1) / PANEL; }
inline int64_t panelWidth(int64_t columns, int64_t p) { return std::min(PANEL, columns - p * PANEL); }

// sums += (rows of A, of k steps) · B, B being a panel.
template <int ROWS>
LENGGEN_INLINE void addProduct(vf (&sums)[ROWS][2], int64_t k, const float* a, int64_t aRow, int64_t aStep, const float* b, Ahead* ahead) {
  multiply<false>(sums, k, a, aRow, aStep, b, PANEL, WIDTH, nextOf(ahead, k, b));
}

// Two vectors of which `width` lanes count.
LENGGEN_INLINE void loadPair(const float* from, int64_t width, vf (&to)[2]) {
  if (width == PANEL) {
    to[0] = load(from), to[1] = load(from + WIDTH);
  } else {
    to[0] = loadFirst(from, std::min<int64_t>(width, WIDTH));
    to[1] = loadFirst(from + std::min<int64_t>(width, WIDTH), std::max<int64_t>(width - WIDTH, 0));
  }
}
LENGGEN_INLINE void storePair(float* to, int64_t width, vf first, vf second) {
  if (width == PANEL) {
    store(to, first), store(to + WIDTH, second);
  } else {
    storeFirst(to, first, std::min<int64_t>(width, WIDTH));
    if (width > WIDTH) storeFirst(to + WIDTH, second, width - WIDTH);
  }
}

template <int ROWS, typename Tile>
void runTile(const Tile& tile, int64_t i) {
  tile.template run<ROWS>(i);
}
template <typename Tile, int... ROWS>
void runRows(int rows, std::integer_sequence<int, ROWS...>, const Tile& tile, int64_t i) {
  constexpr void (*all[])(const Tile&, int64_t) = {runTile<ROWS + 1, Tile>...};
  all[rows - 1](tile, i);
}

// Calls tile.run<ROWS>(i) for all rows 0 ... m - 1, in order or from the last: heights differ by at most 1.
template <bool DESCENDING = false, typename Tile>
void eachTile(int64_t m, const Tile& tile) {
  constexpr std::make_integer_sequence<int, TILE_ROWS> heights{};
  const int64_t tiles = (m + TILE_ROWS - 1) / TILE_ROWS, low = tiles > 0 ? m / tiles : 0, high = m - low * tiles;
  int64_t i = DESCENDING ? m : 0;
  for (int64_t t = 0; t < tiles; t++) {
    const int64_t rows = low + (t >= tiles - high);
    if (DESCENDING) i -= rows;
    runRows(static_cast<int>(rows), heights, tile, i);
    if (!DESCENDING) i += rows;
  }
}

// A panel's columns of a row-major matrix; zeros in columns that are not there.
inline void loadPanel(const float* from, int64_t row, int64_t rows, int64_t width, float* to) {
  vf pair[2];
  for (int64_t i = 0; i < rows; i++, from += row, to += PANEL) {
    loadPair(from, width, pair);
    store(to, pair[0]), store(to + WIDTH, pair[1]);
  }
}

// to[i] = factor[i · factorStep] to[i] + (A of `steps` steps, turned) · B in panels, and a copy of it with rows of `copyRow`, unless that
// is nullptr. With a second product unless its steps are 0.
struct Update {
  int64_t steps;
  const float* a;
  int64_t aStep;
  const float* b;
  int64_t moreSteps;
  const float* moreA;
  const float* moreB;
  const float* factor;
  int64_t factorStep;
  bool fromZero;
  float* to;
  float* copy;
  int64_t copyRow, width;
  Ahead* ahead;

  template <int ROWS>
  void run(int64_t i) const {
    vf sums[ROWS][2] = {};
    addProduct(sums, steps, a + i, 1, aStep, b, ahead);
    if (moreSteps > 0) addProduct(sums, moreSteps, moreA + i, 1, aStep, moreB, ahead);
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; r++) {
      float* at = to + (i + r) * PANEL;
#pragma GCC unroll 2
      for (int v = 0; v < 2; v++) {
        if (!fromZero) sums[r][v] += load(at + v * WIDTH) * factor[(i + r) * factorStep];
        store(at + v * WIDTH, sums[r][v]);
      }
      if (copy) storePair(copy + (i + r) * copyRow, width, sums[r][0], sums[r][1]);
    }
  }
};

}  // namespace
}  // namespace LENGGEN_ISA
}  // namespace lenggen
