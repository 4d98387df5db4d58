// Picking by indices along an axis: src/ops/gather.ts.
#include <algorithm>

#include "families.h"
#include "signatures/gather.h"
#include "split.h"

namespace lenggen::LENGGEN_ISA {
namespace {

constexpr int64_t COLUMNS = 64;  // neighbours that one item of the gradient owns

template <typename Args>
void checkSize(const Args& args) {
  require(args.size >= 1, "there must be something to pick from");
}

void forward(const GatherArgs& args, Pool& pool) {
  const float* x = args.x;
  const int32_t* indices = args.indices;
  float* y = args.y;
  const int64_t size = args.size, count = args.count, inner = args.inner;
  inRanges(pool, args.outer * count, inner, [=](int64_t from, int64_t to) {
    for (int64_t row = from; row < to; row++) {
      for (int64_t i = 0; i < inner; i++) {
        const int64_t index = std::min<int64_t>(indices[row * inner + i], size - 1);
        y[row * inner + i] = index < 0 ? 0.0f : x[(row / count * size + index) * inner + i];
      }
    }
  });
}

// An item owns some columns of one outer place, so that no two write to one element.
void gradient(const GatherGradientArgs& args, Pool& pool) {
  const int32_t* indices = args.indices;
  const float* dy = args.dy;
  float* dx = args.dx;
  const int64_t size = args.size, count = args.count, inner = args.inner, blocks = (inner + COLUMNS - 1) / COLUMNS;
  pool.parallel(args.outer * blocks, [=](int64_t item, int) {
    const int64_t outer = item / blocks, first = item % blocks * COLUMNS, columns = std::min(COLUMNS, inner - first);
    for (int64_t s = 0; s < size; s++) std::fill_n(dx + (outer * size + s) * inner + first, columns, 0.0f);
    for (int64_t c = 0; c < count; c++) {
      const int64_t row = (outer * count + c) * inner + first;
      for (int64_t i = 0; i < columns; i++) {
        const int64_t index = std::min<int64_t>(indices[row + i], size - 1);
        if (index >= 0) dx[(outer * size + index) * inner + first + i] += dy[row + i];
      }
    }
  });
}

}  // namespace

extern const Kernel gatherKernels[] = {
    kernel<GatherArgs, forward, checkSize>(),
    kernel<GatherGradientArgs, gradient, checkSize>(),
    {nullptr, nullptr, nullptr},
};

}  // namespace lenggen::LENGGEN_ISA
