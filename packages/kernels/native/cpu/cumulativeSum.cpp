// Running sums: src/ops/cumulativeSum.ts. Summed in double precision, so that long sums keep their digits.
#include <algorithm>
#include <cmath>

#include "families.h"
#include "signatures/cumulativeSum.h"

namespace lenggen::LENGGEN_ISA {
namespace {

constexpr int64_t COLUMNS = 64;  // neighbours that one item sums side by side

void run(const CumulativeSumArgs& args, Pool& pool) {
  const float *x = args.x, *start = args.start;
  float* y = args.y;
  const int64_t length = args.length, inner = args.inner, blocks = (inner + COLUMNS - 1) / COLUMNS;
  const bool reverse = args.reverse;
  const double modulo = args.modulo;
  pool.parallel(args.outer * blocks, [=](int64_t item, int) {
    const int64_t first = item % blocks * COLUMNS, columns = std::min(COLUMNS, inner - first);
    double sums[COLUMNS] = {};
    if (start) for (int64_t i = 0; i < columns; i++) sums[i] = start[item / blocks * inner + first + i];
    for (int64_t step = 0; step < length; step++) {
      const int64_t row = (item / blocks * length + (reverse ? length - 1 - step : step)) * inner + first;
      for (int64_t i = 0; i < columns; i++) sums[i] += x[row + i];
      if (modulo > 0.0) {
        for (int64_t i = 0; i < columns; i++)
          // Most steps are small, so that few sums leave the range. What is not a number stays so.
          if (!(sums[i] >= 0.0 && sums[i] < modulo)) sums[i] -= modulo * std::floor(sums[i] / modulo);
      }
      for (int64_t i = 0; i < columns; i++) y[row + i] = static_cast<float>(sums[i]);
    }
  });
}

}  // namespace

extern const Kernel cumulativeSumKernels[] = {
    kernel<CumulativeSumArgs, run>(),
    {nullptr, nullptr, nullptr},
};

}  // namespace lenggen::LENGGEN_ISA
