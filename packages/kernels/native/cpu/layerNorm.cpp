// Layer norms: src/ops/layerNorm.ts has the formulas. Rows are short enough to stay in the first-level cache between the
// sweeps over them, so that each kernel reads and writes main memory once.
#include <cmath>

#include "families.h"
#include "rowBlocks.h"
#include "signatures/layerNorm.h"

namespace lenggen::LENGGEN_ISA {
namespace {

template <bool HAS_BIAS>
void runLayerNormAs(const LayerNormArgs& args, Pool& pool) {
  const float *x = args.x, *weight = args.weight, *bias = args.bias;
  float *y = args.y, *means = args.mean, *rstd = args.rstd;
  const int64_t rows = args.rows, width = args.width;
  const float eps = args.eps, inverse = 1.0f / static_cast<float>(width);
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
      if (means) means[row] = mean;
      if (rstd) rstd[row] = r;
      sweep(width, [=](int64_t i, auto at) {
        vf v = (at.get(in + i) - mean) * r * at.get(weight + i);
        if (HAS_BIAS) v += at.get(bias + i);
        at.put(out + i, v);
      });
    }
  });
}

void runLayerNorm(const LayerNormArgs& args, Pool& pool) {
  if (args.bias) runLayerNormAs<true>(args, pool);
  else runLayerNormAs<false>(args, pool);
}

void runLayerNormGradient(const LayerNormGradientArgs& args, Pool& pool) {
  const float *x = args.x, *weight = args.weight, *means = args.mean, *rstd = args.rstd, *dy = args.dy;
  float* dx = args.dx;
  const int64_t rows = args.rows, width = args.width;
  const float inverse = 1.0f / static_cast<float>(width);
  overRowBlocks<2>(pool, rows, width, {args.dweight, args.dbias}, [=](int64_t row, float* partials) {
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
    kernel<LayerNormArgs, runLayerNorm>(),
    kernel<LayerNormGradientArgs, runLayerNormGradient>(),
    {nullptr, nullptr, nullptr},
};

}  // namespace lenggen::LENGGEN_ISA
