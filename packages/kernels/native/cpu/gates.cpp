// Step sizes and log decays of Mamba-2: src/ops/gates.ts.
#include <algorithm>

#include "families.h"
#include "signatures/gates.h"
#include "vector.h"

namespace lenggen::LENGGEN_ISA {
namespace {

// Rows per item; sums over rows go row by row inside an item, then item by item.
constexpr int64_t BLOCK = 256;

struct GateSizes {
  int64_t rows, heads;
  float minDt, maxDt;
  template <typename Args>
  explicit GateSizes(const Args& args) : rows(args.rows), heads(args.heads), minDt(args.minDt), maxDt(args.maxDt) {}
  int64_t items() const { return (rows + BLOCK - 1) / BLOCK; }
};

vf clamped(const GateSizes& s, vf dt) { return max(broadcast(s.minDt), min(broadcast(s.maxDt), dt)); }

void runGates(const SsmGatesArgs& args, Pool& pool) {
  const GateSizes s(args);
  const float *raw = args.raw, *bias = args.bias, *aLog = args.aLog;
  float *dt = args.dt, *a = args.a;
  pool.parallel(s.items(), [&](int64_t item, int) {
    for (int64_t h = 0; h < s.heads; h += WIDTH) {
      const int64_t n = std::min<int64_t>(WIDTH, s.heads - h);
      const vf shift = loadFirst(bias + h, n), rate = -exp(loadFirst(aLog + h, n));
      for (int64_t row = item * BLOCK; row < std::min(s.rows, (item + 1) * BLOCK); row++) {
        const int64_t at = row * s.heads + h;
        const vf step = clamped(s, softplus(loadFirst(raw + at, n) + shift));
        storeFirst(dt + at, step, n);
        storeFirst(a + at, rate * step, n);
      }
    }
  });
}

void runGatesGradient(const SsmGatesGradientArgs& args, Pool& pool) {
  const GateSizes s(args);
  const float *raw = args.raw, *bias = args.bias, *aLog = args.aLog, *ddt = args.ddt, *da = args.da;
  float *draw = args.draw, *dbias = args.dbias, *daLog = args.daLog;
  float* partial = pool.shared(s.items() * 2 * s.heads);  // [items, 2, heads]: dbias, daLog
  pool.parallel(s.items(), [&](int64_t item, int) {
    for (int64_t h = 0; h < s.heads; h += WIDTH) {
      const int64_t n = std::min<int64_t>(WIDTH, s.heads - h);
      const vf shift = loadFirst(bias + h, n), rate = -exp(loadFirst(aLog + h, n));
      vf biasSum = zero(), logSum = zero();
      for (int64_t row = item * BLOCK; row < std::min(s.rows, (item + 1) * BLOCK); row++) {
        const int64_t at = row * s.heads + h;
        const vf z = loadFirst(raw + at, n) + shift;
        const vf step = softplus(z);
        const vf stepGradient = ddt ? loadFirst(ddt + at, n) : zero(), decayGradient = da ? loadFirst(da + at, n) * rate : zero();
        // NaN is not clamped.
        const vi bound = (step < s.minDt) | (step > s.maxDt);
        const vf gradient = select(bound, zero(), (stepGradient + decayGradient) * sigmoid(z));
        storeFirst(draw + at, gradient, n);
        biasSum += gradient;
        logSum += decayGradient * clamped(s, step);
      }
      storeFirst(partial + item * 2 * s.heads + h, biasSum, n);
      storeFirst(partial + (item * 2 + 1) * s.heads + h, logSum, n);
    }
  });
  for (int64_t h = 0; h < s.heads; h++) {
    double sums[2] = {};
    for (int64_t i = 0; i < s.items() * 2; i++) sums[i % 2] += partial[i * s.heads + h];
    dbias[h] = static_cast<float>(sums[0]);
    daLog[h] = static_cast<float>(sums[1]);
  }
}

}  // namespace

extern const Kernel gatesKernels[] = {
    kernel<SsmGatesArgs, runGates>(),
    kernel<SsmGatesGradientArgs, runGatesGradient>(),
    {nullptr, nullptr, nullptr},
};

}  // namespace lenggen::LENGGEN_ISA
