// Root mean square norms: src/ops/norm.ts has the formulas. Rows are short enough to stay in the first-level cache
// between the two sweeps over them, so that each kernel reads and writes main memory once.
#include <cmath>

#include "check.h"
#include "families.h"
#include "rowBlocks.h"

namespace lenggen::LENGGEN_ISA {
namespace {

float rstdOf(float squares, int64_t width, float eps) {
  return 1.0f / std::sqrt(squares / static_cast<float>(width) + eps);
}

// buffers: x, residual?, weight, y, sum?, rstd; numbers: rows, width, eps
void checkRmsNorm(const Launch& launch) {
  requireCounts(launch, 6, 3);
  const int64_t rows = requireSize(launch, 0), width = requireSize(launch, 1), size = product({rows, width});
  requireElements(launch, 0, size);
  requireOptional(launch, 1, size);
  requireElements(launch, 2, width);
  requireElements(launch, 3, size);
  requireOptional(launch, 4, size);
  requireElements(launch, 5, rows);
  require((launch.buffers[1].data == nullptr) == (launch.buffers[4].data == nullptr), "residual and sum must both be there or both be absent");
}

template <bool HAS_RESIDUAL>
void runRmsNormAs(const Launch& launch, Pool& pool) {
  const Buffer* buffers = launch.buffers;
  const float* x = buffers[0].f32();
  const float* residual = buffers[1].f32();
  const float* weight = buffers[2].f32();
  float* y = buffers[3].f32();
  float* sums = buffers[4].f32();
  float* rstd = buffers[5].f32();
  const int64_t rows = launch.integer(0), width = launch.integer(1);
  const float eps = launch.real(2);
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
      rstd[row] = r;
      sweep(width, [=](int64_t i, auto at) { at.put(out + i, at.get(h + i) * r * at.get(weight + i)); });
    }
  });
}

void runRmsNorm(const Launch& launch, Pool& pool) {
  if (launch.buffers[1].data) runRmsNormAs<true>(launch, pool);
  else runRmsNormAs<false>(launch, pool);
}

// buffers: x, weight, rstd, dy, dsum?, dx, dresidual?, dweight; numbers: rows, width
void checkRmsNormGradient(const Launch& launch) {
  requireCounts(launch, 8, 2);
  const int64_t rows = requireSize(launch, 0), width = requireSize(launch, 1), size = product({rows, width});
  requireElements(launch, 0, size);
  requireElements(launch, 1, width);
  requireElements(launch, 2, rows);
  requireElements(launch, 3, size);
  requireOptional(launch, 4, size);
  requireElements(launch, 5, size);
  requireOptional(launch, 6, size);
  requireElements(launch, 7, width);
}

template <bool HAS_DSUM, bool HAS_DRESIDUAL>
void runRmsNormGradientAs(const Launch& launch, Pool& pool) {
  const Buffer* buffers = launch.buffers;
  const float* x = buffers[0].f32();
  const float* weight = buffers[1].f32();
  const float* rstd = buffers[2].f32();
  const float* dy = buffers[3].f32();
  const float* dsum = buffers[4].f32();
  float* dx = buffers[5].f32();
  float* dresidual = buffers[6].f32();
  const int64_t rows = launch.integer(0), width = launch.integer(1);
  overRowBlocks<1>(pool, rows, width, {buffers[7].f32()}, [=](int64_t row, float* partial) {
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

void runRmsNormGradient(const Launch& launch, Pool& pool) {
  const bool dsum = launch.buffers[4].data != nullptr, dresidual = launch.buffers[6].data != nullptr;
  if (dsum && dresidual) runRmsNormGradientAs<true, true>(launch, pool);
  else if (dsum) runRmsNormGradientAs<true, false>(launch, pool);
  else if (dresidual) runRmsNormGradientAs<false, true>(launch, pool);
  else runRmsNormGradientAs<false, false>(launch, pool);
}

// Sizes of the gated kernels, whose first three numbers are rows, width, groups.
struct Gated {
  int64_t rows, width, groups;
};

Gated requireGated(const Launch& launch) {
  const Gated sizes = {requireSize(launch, 0), requireSize(launch, 1), requireSize(launch, 2)};
  require(sizes.groups >= 1 && sizes.width % sizes.groups == 0, "groups must divide the width");
  return sizes;
}

// buffers: y, gate, weight, out, rstd; numbers: rows, width, groups, eps
void checkGatedRmsNorm(const Launch& launch) {
  requireCounts(launch, 5, 4);
  const Gated n = requireGated(launch);
  for (const int i : {0, 1, 3}) requireElements(launch, i, product({n.rows, n.width}));
  requireElements(launch, 2, n.width);
  requireElements(launch, 4, product({n.rows, n.groups}));
}

void runGatedRmsNorm(const Launch& launch, Pool& pool) {
  const Buffer* buffers = launch.buffers;
  const float* y = buffers[0].f32();
  const float* gate = buffers[1].f32();
  const float* weight = buffers[2].f32();
  float* out = buffers[3].f32();
  float* rstd = buffers[4].f32();
  const int64_t rows = launch.integer(0), width = launch.integer(1), groups = launch.integer(2);
  const float eps = launch.real(3);
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
      rstd[block] = r;
      sweep(size, [=](int64_t i, auto at) { at.put(out + start + i, at.get(out + start + i) * r * at.get(w + i)); });
    }
  });
}

// buffers: y, gate, weight, rstd, dout, dy, dgate, dweight; numbers: rows, width, groups
void checkGatedRmsNormGradient(const Launch& launch) {
  requireCounts(launch, 8, 3);
  const Gated n = requireGated(launch);
  for (const int i : {0, 1, 4, 5, 6}) requireElements(launch, i, product({n.rows, n.width}));
  for (const int i : {2, 7}) requireElements(launch, i, n.width);
  requireElements(launch, 3, product({n.rows, n.groups}));
}

void runGatedRmsNormGradient(const Launch& launch, Pool& pool) {
  const Buffer* buffers = launch.buffers;
  const float* y = buffers[0].f32();
  const float* gate = buffers[1].f32();
  const float* weight = buffers[2].f32();
  const float* rstd = buffers[3].f32();
  const float* dout = buffers[4].f32();
  float* dy = buffers[5].f32();
  float* dgate = buffers[6].f32();
  const int64_t rows = launch.integer(0), width = launch.integer(1), groups = launch.integer(2);
  const int64_t size = width / groups;
  overRowBlocks<1>(pool, rows, width, {buffers[7].f32()}, [=](int64_t row, float* partials) {
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
    {"rmsNorm", checkRmsNorm, runRmsNorm},
    {"rmsNormGradient", checkRmsNormGradient, runRmsNormGradient},
    {"gatedRmsNorm", checkGatedRmsNorm, runGatedRmsNorm},
    {"gatedRmsNormGradient", checkGatedRmsNormGradient, runGatedRmsNormGradient},
    {nullptr, nullptr, nullptr},
};

}  // namespace lenggen::LENGGEN_ISA
