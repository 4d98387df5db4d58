// Layer norms: src/ops/layerNorm.ts has the formulas. Rows are short enough to stay in the first-level cache between the
// sweeps over them, so that each kernel reads and writes main memory once.
#include <cmath>

#include "check.h"
#include "families.h"
#include "rowBlocks.h"

namespace lenggen::LENGGEN_ISA {
namespace {

// buffers: x, weight, bias?, y, mean, rstd; numbers: rows, width, eps
void checkLayerNorm(const Launch& launch) {
  requireCounts(launch, 6, 3);
  const int64_t rows = requireSize(launch, 0), width = requireSize(launch, 1), size = product({rows, width});
  for (const int i : {0, 3}) requireElements(launch, i, size);
  requireElements(launch, 1, width);
  requireOptional(launch, 2, width);
  for (const int i : {4, 5}) requireElements(launch, i, rows);
}

template <bool HAS_BIAS>
void runLayerNormAs(const Launch& launch, Pool& pool) {
  const Buffer* buffers = launch.buffers;
  const float* x = buffers[0].f32();
  const float* weight = buffers[1].f32();
  const float* bias = buffers[2].f32();
  float* y = buffers[3].f32();
  float* means = buffers[4].f32();
  float* rstd = buffers[5].f32();
  const int64_t rows = launch.integer(0), width = launch.integer(1);
  const float eps = launch.real(2), inverse = 1.0f / static_cast<float>(width);
  inRanges(pool, rows, width, [=](int64_t from, int64_t to) {
    for (int64_t row = from; row < to; row++) {
      const float* in = x + row * width;
      float* out = y + row * width;
      const float mean = sumOver(width, [=](int64_t i, auto at) { return at.get(in + i); }) * inverse;
      // From the mean, not as the mean square less the squared mean, which loses all digits when the mean is large.
      const float squares = sumOver(width, [=](int64_t i, auto at) {
        const vf centred = at.keep(at.get(in + i) - mean);
        return centred * centred;
      });
      const float r = 1.0f / std::sqrt(squares * inverse + eps);
      means[row] = mean;
      rstd[row] = r;
      sweep(width, [=](int64_t i, auto at) {
        vf v = (at.get(in + i) - mean) * r * at.get(weight + i);
        if (HAS_BIAS) v += at.get(bias + i);
        at.put(out + i, v);
      });
    }
  });
}

void runLayerNorm(const Launch& launch, Pool& pool) {
  if (launch.buffers[2].data) runLayerNormAs<true>(launch, pool);
  else runLayerNormAs<false>(launch, pool);
}

// buffers: x, weight, mean, rstd, dy, dx, dweight, dbias?; numbers: rows, width
void checkLayerNormGradient(const Launch& launch) {
  requireCounts(launch, 8, 2);
  const int64_t rows = requireSize(launch, 0), width = requireSize(launch, 1), size = product({rows, width});
  for (const int i : {0, 4, 5}) requireElements(launch, i, size);
  for (const int i : {1, 6}) requireElements(launch, i, width);
  for (const int i : {2, 3}) requireElements(launch, i, rows);
  requireOptional(launch, 7, width);
}

void runLayerNormGradient(const Launch& launch, Pool& pool) {
  const Buffer* buffers = launch.buffers;
  const float* x = buffers[0].f32();
  const float* weight = buffers[1].f32();
  const float* means = buffers[2].f32();
  const float* rstd = buffers[3].f32();
  const float* dy = buffers[4].f32();
  float* dx = buffers[5].f32();
  const int64_t rows = launch.integer(0), width = launch.integer(1);
  const float inverse = 1.0f / static_cast<float>(width);
  overRowBlocks<2>(pool, rows, width, {buffers[6].f32(), buffers[7].f32()}, [=](int64_t row, float* partials) {
    const int64_t start = row * width;
    const float mean = means[row], r = rstd[row];
    // Terms past the end are 0, since dy is.
    const float level = inverse * sumOver(width, [=](int64_t i, auto at) { return at.get(dy + start + i) * at.get(weight + i); });
    const float projection = inverse * r * sumOver(width, [=](int64_t i, auto at) {
      return at.get(dy + start + i) * at.get(weight + i) * (at.get(x + start + i) - mean);
    });
    sweep(width, [=](int64_t i, auto at) {
      const vf normed = (at.get(x + start + i) - mean) * r;
      const vf g = at.get(dy + start + i);
      at.put(dx + start + i, (g * at.get(weight + i) - level - normed * projection) * r);
      at.put(partials + i, at.get(partials + i) + g * normed);
      at.put(partials + width + i, at.get(partials + width + i) + g);
    });
  });
}

}  // namespace

extern const Kernel layerNormKernels[] = {
    {"layerNorm", checkLayerNorm, runLayerNorm},
    {"layerNormGradient", checkLayerNormGradient, runLayerNormGradient},
    {nullptr, nullptr, nullptr},
};

}  // namespace lenggen::LENGGEN_ISA
