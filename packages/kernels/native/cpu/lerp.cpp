// Mixes of two tensors by several shares: src/ops/lerp.ts. Each row of both is read once for all mixes.
#include <algorithm>
#include <vector>

#include "families.h"
#include "rowBlocks.h"
#include "signatures/lerp.h"

namespace lenggen::LENGGEN_ISA {
namespace {

template <bool EXTRA>
void runLerpAs(const LerpArgs& args, Pool& pool) {
  const int64_t rows = args.rows, width = args.width, count = args.count;
  inRanges(pool, rows, (count + 2) * width, [&](int64_t from, int64_t to) {
    for (int64_t row = from; row < to; row++)
      for (int64_t j = 0; j < count; j++) {
        const float *a = args.a + row * width, *b = args.b + row * width, *share = args.shares[j];
        const float* extra = EXTRA ? args.extra + (j * rows + row) * width : nullptr;
        float* y = args.outputs[j] + row * width;
        sweep(width, [=](int64_t i, auto at) {
          const vf x = at.get(a + i);
          vf s = at.get(share + i);
          if (EXTRA) s += at.get(extra + i);
          at.put(y + i, x + (at.get(b + i) - x) * s);
        });
      }
  });
}

template <typename Args>
void checkCount(const Args& args) {
  require(args.shares.count == args.count, "needs as many shares as it counts");
}

void runLerp(const LerpArgs& args, Pool& pool) {
  if (args.extra) runLerpAs<true>(args, pool);
  else runLerpAs<false>(args, pool);
}

// The shares' gradients are sums over rows: see rowBlocks.h, which has a fixed number of them.
template <bool EXTRA>
void runLerpGradientAs(const LerpGradientArgs& args, Pool& pool) {
  const int64_t rows = args.rows, width = args.width, count = args.count;
  const int64_t blocks = std::min(MOST_ROW_BLOCKS, (rows + LEAST_BLOCK_ROWS - 1) / LEAST_BLOCK_ROWS);
  const int64_t stride = count * width;
  float* partials = pool.shared(static_cast<size_t>(blocks * stride));
  pool.parallel(blocks, [&](int64_t block, int) {
    float* partial = partials + block * stride;
    std::fill(partial, partial + stride, 0.0f);
    for (int64_t row = rows * block / blocks; row < rows * (block + 1) / blocks; row++) {
      const float *a = args.a + row * width, *b = args.b + row * width;
      float *da = args.da + row * width, *db = args.db + row * width;
      std::fill(da, da + width, 0.0f);
      std::fill(db, db + width, 0.0f);
      for (int64_t j = 0; j < count; j++) {
        const float* extra = EXTRA ? args.extra + (j * rows + row) * width : nullptr;
        float* dextra = EXTRA ? args.dextra + (j * rows + row) * width : nullptr;
        if (args.douts[j] == nullptr) {
          if (EXTRA) std::fill(dextra, dextra + width, 0.0f);
          continue;
        }
        const float *share = args.shares[j], *dy = args.douts[j] + row * width;
        float* sum = partial + j * width;
        sweep(width, [=](int64_t i, auto at) {
          const vf g = at.get(dy + i);
          vf s = at.get(share + i);
          if (EXTRA) s += at.get(extra + i);
          const vf slope = g * (at.get(b + i) - at.get(a + i));
          at.put(da + i, at.get(da + i) + g * (1.0f - s));
          at.put(db + i, at.get(db + i) + g * s);
          at.put(sum + i, at.get(sum + i) + slope);
          if (EXTRA) at.put(dextra + i, slope);
        });
      }
    }
  });
  for (int64_t j = 0; j < count; j++) {
    float* into = args.dshares[j];
    sweep(width, [=](int64_t i, auto at) {
      vf total = zero();
      for (int64_t block = 0; block < blocks; block++) total += at.get(partials + block * stride + j * width + i);
      at.put(into + i, total);
    });
  }
}

void runLerpGradient(const LerpGradientArgs& args, Pool& pool) {
  if (args.extra) runLerpGradientAs<true>(args, pool);
  else runLerpGradientAs<false>(args, pool);
}

}  // namespace

extern const Kernel lerpKernels[] = {
    kernel<LerpArgs, runLerp, checkCount>(),
    kernel<LerpGradientArgs, runLerpGradient, checkCount>(),
    {nullptr, nullptr, nullptr},
};

}  // namespace lenggen::LENGGEN_ISA
