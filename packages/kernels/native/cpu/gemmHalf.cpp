// Products with weights in half precision: memory moves half of what it would.
#include <algorithm>

#include "gemm.h"
#include "gemmDots.h"

namespace lenggen::LENGGEN_ISA {
namespace {

// Columns of B that a thread takes at a time where rows are few.
constexpr int64_t DOT_COLUMNS = 128;
// Floats of a band of B that is widened before it is multiplied: it should stay in the L2 cache while the rows of A meet it.
constexpr int64_t BAND_FLOATS = 1 << 15;
// Whole panels of the product.
constexpr int64_t LEAST_BAND = 2 * TILE_COLUMNS;

}  // namespace

void widen(const uint16_t* from, int64_t n, float* to) {
  int64_t i = 0;
  for (; i + WIDTH <= n; i += WIDTH) store(to + i, load(from + i));
  if (i < n) storeFirst(to + i, loadFirst(from + i, n - i), n - i);
}

void gemmHalf(Pool& pool, int64_t m, int64_t n, int64_t k, const float* a, const uint16_t* b, float* c, int64_t cRow) {
  const bool few = m <= DOT_ROWS;
  const int64_t band = few ? DOT_COLUMNS : std::max(LEAST_BAND, BAND_FLOATS / std::max<int64_t>(k, 1) / LEAST_BAND * LEAST_BAND);
  const size_t scratch = (gemmScratch(band, k) + 15) / 16 * 16;
  pool.parallel((n + band - 1) / band, [&](int64_t item, int worker) {
    const int64_t column = item * band, end = std::min(n, column + band);
    const Operand rows{a, k, 1};
    if (few) return dotProducts(m, column, end, k, rows, b, k, c, cRow, false);
    float* own = pool.scratch(worker, scratch + static_cast<size_t>(band * k));
    float* wide = own + scratch;
    widen(b + column * k, (end - column) * k, wide);
    gemmSingle(own, m, end - column, k, rows, {wide, 1, k}, c + column, cRow, false);
  });
}

}  // namespace lenggen::LENGGEN_ISA
