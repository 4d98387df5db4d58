// Root mean square norms: src/ops/norm.ts has the formulas. Rows are short enough to stay in the first-level cache
// between the two sweeps over them, so that each kernel reads and writes main memory once.
#include <cmath>

#include "families.h"
#include "rowBlocks.h"
#include "signatures/norm.h"

namespace lenggen::LENGGEN_ISA {
namespace {

float rstdOf(float squares, int64_t width, float eps) {
  return 1.0f / std::sqrt(squares / static_cast<float>(width) + eps);
}

void checkRmsNorm(const RmsNormArgs& args) {
  require((args.residual == nullptr) == (args.sum == nullptr), "residual and sum must both be there or both be absent");
}

template <bool HAS_RESIDUAL>
void runRmsNormAs(const RmsNormArgs& args, Pool& pool) {
  const float *x = args.x, *residual = args.residual, *weight = args.weight;
  float *y = args.y, *sums = args.sum, *rstd = args.rstd;
  const int64_t rows = args.rows, width = args.width;
  const float eps = args.eps;
  inRanges(pool, rows, width, [=](int64_t from, int64_t to) {
    for (int64_t row = from; row < to; row++) {
      const float* in = x + row * width;
      const float* h = HAS_RESIDUAL ? sums + row * width : in;
      float* out = y + row * width;
      const float squares = sumOver(width, [=](int64_t i, auto at) {
        vf v = at.get(in + i);
        if (HAS_RESIDUAL) {
          v += at.get(residual + row * width + i);
          at.put(sums + row * width + i, v);
        }
        return v * v;
      });
      const float r = rstdOf(squares, width, eps);
      if (rstd) rstd[row] = r;
      sweep(width, [=](int64_t i, auto at) { at.put(out + i, at.get(h + i) * r * at.get(weight + i)); });
    }
  });
}

void runRmsNorm(const RmsNormArgs& args, Pool& pool) {
  if (args.residual) runRmsNormAs<true>(args, pool);
  else runRmsNormAs<false>(args, pool);
}

template <bool HAS_DSUM, bool HAS_DRESIDUAL>
void runRmsNormGradientAs(const RmsNormGradientArgs& args, Pool& pool) {
  const float *x = args.x, *weight = args.weight, *rstd = args.rstd, *dy = args.dy, *dsum = args.dsum;
  float *dx = args.dx, *dresidual = args.dresidual;
  const int64_t rows = args.rows, width = args.width;
  overRowBlocks<1>(pool, rows, width, {args.dweight}, [=](int64_t row, float* partial) {
    const int64_t start = row * width;
    const float r = rstd[row];
    const float dot = sumOver(width, [=](int64_t i, auto at) {
      return at.get(dy + start + i) * at.get(weight + i) * at.get(x + start + i);
    });
    const float projection = dot * r / static_cast<float>(width);
    sweep(width, [=](int64_t i, auto at) {
      const vf normed = at.get(x + start + i) * r;
      const vf g = at.get(dy + start + i);
      vf d = (g * at.get(weight + i) - normed * projection) * r;
      if (HAS_DSUM) d += at.get(dsum + start + i);
      at.put(dx + start + i, d);
      if (HAS_DRESIDUAL) at.put(dresidual + start + i, d);
      at.put(partial + i, at.get(partial + i) + g * normed);
    });
  });
}

void runRmsNormGradient(const RmsNormGradientArgs& args, Pool& pool) {
  if (args.dsum && args.dresidual) runRmsNormGradientAs<true, true>(args, pool);
  else if (args.dsum) runRmsNormGradientAs<true, false>(args, pool);
  else if (args.dresidual) runRmsNormGradientAs<false, true>(args, pool);
  else runRmsNormGradientAs<false, false>(args, pool);
}

template <typename Args>
void checkGroups(const Args& args) {
  require(args.groups >= 1 && args.width % args.groups == 0, "groups must divide the width");
}

void runGatedRmsNorm(const GatedRmsNormArgs& args, Pool& pool) {
  const float *y = args.y, *gate = args.gate, *weight = args.weight;
  float *out = args.out, *rstd = args.rstd;
  const int64_t rows = args.rows, width = args.width, groups = args.groups;
  const float eps = args.eps;
  const int64_t size = width / groups;
  inRanges(pool, rows, width, [=](int64_t from, int64_t to) {
    for (int64_t block = from * groups; block < to * groups; block++) {
      const int64_t start = block * size;
      const float* w = weight + block % groups * size;
      // u waits in `out` for its norm.
      const float squares = sumOver(size, [=](int64_t i, auto at) {
        const vf u = at.get(y + start + i) * silu(at.get(gate + start + i));
        at.put(out + start + i, u);
        return u * u;
      });
      const float r = rstdOf(squares, size, eps);
      if (rstd) rstd[block] = r;
      sweep(size, [=](int64_t i, auto at) { at.put(out + start + i, at.get(out + start + i) * r * at.get(w + i)); });
    }
  });
}

void runGatedRmsNormGradient(const GatedRmsNormGradientArgs& args, Pool& pool) {
  const float *y = args.y, *gate = args.gate, *weight = args.weight, *rstd = args.rstd, *dout = args.dout;
  float *dy = args.dy, *dgate = args.dgate;
  const int64_t rows = args.rows, width = args.width, groups = args.groups;
  const int64_t size = width / groups;
  overRowBlocks<1>(pool, rows, width, {args.dweight}, [=](int64_t row, float* partials) {
    for (int64_t group = 0; group < groups; group++) {
      const int64_t start = row * width + group * size;
      const float* w = weight + group * size;
      float* partial = partials + group * size;
      const float r = rstd[row * groups + group];
      // The sigmoids wait in `dgate` for the second sweep.
      const float dot = sumOver(size, [=](int64_t i, auto at) {
        const vf z = at.get(gate + start + i);
        const vf s = sigmoid(z);
        at.put(dgate + start + i, s);
        return at.get(dout + start + i) * at.get(w + i) * at.get(y + start + i) * (z * s);
      });
      const float projection = dot * r / static_cast<float>(size);
      sweep(size, [=](int64_t i, auto at) {
        const vf z = at.get(gate + start + i), s = at.get(dgate + start + i), v = at.get(y + start + i);
        const vf activated = z * s;
        const vf normed = v * activated * r;
        const vf g = at.get(dout + start + i);
        const vf du = (g * at.get(w + i) - normed * projection) * r;
        at.put(dy + start + i, du * activated);
        at.put(dgate + start + i, du * v * (s + activated * (1.0f - s)));
        at.put(partial + i, at.get(partial + i) + g * normed);
      });
    }
  });
}

}  // namespace

extern const Kernel normKernels[] = {
    kernel<RmsNormArgs, runRmsNorm, checkRmsNorm>(),
    kernel<RmsNormGradientArgs, runRmsNormGradient>(),
    kernel<GatedRmsNormArgs, runGatedRmsNorm, checkGroups>(),
    kernel<GatedRmsNormGradientArgs, runGatedRmsNormGradient, checkGroups>(),
    {nullptr, nullptr, nullptr},
};

}  // namespace lenggen::LENGGEN_ISA
