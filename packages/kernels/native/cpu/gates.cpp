// Step sizes and log decays of Mamba-2: src/ops/gates.ts.
#include <algorithm>

#include "check.h"
#include "families.h"
#include "vector.h"

namespace lenggen::LENGGEN_ISA {
namespace {

// Rows per item; sums over rows go row by row inside an item, then item by item.
constexpr int64_t BLOCK = 256;

struct GateSizes {
  int64_t rows, heads;
  float minDt, maxDt;
  explicit GateSizes(const Launch& launch)
      : rows(launch.integer(0)), heads(launch.integer(1)), minDt(launch.real(2)), maxDt(launch.real(3)) {}
  int64_t items() const { return (rows + BLOCK - 1) / BLOCK; }
};

void checkGateSizes(const Launch& launch) {
  requireSize(launch, 0);
  requireSize(launch, 1);
}

vf clamped(const GateSizes& s, vf dt) { return max(broadcast(s.minDt), min(broadcast(s.maxDt), dt)); }

// buffers: raw, bias, aLog, dt, a; numbers: rows, heads, minDt, maxDt
void checkGates(const Launch& launch) {
  requireCounts(launch, 5, 4);
  checkGateSizes(launch);
  const GateSizes s(launch);
  for (const int i : {0, 3, 4}) requireElements(launch, i, product({s.rows, s.heads}));
  for (const int i : {1, 2}) requireElements(launch, i, s.heads);
}

void runGates(const Launch& launch, Pool& pool) {
  const GateSizes s(launch);
  const float *raw = launch.buffers[0].f32(), *bias = launch.buffers[1].f32(), *aLog = launch.buffers[2].f32();
  float *dt = launch.buffers[3].f32(), *a = launch.buffers[4].f32();
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

// buffers: raw, bias, aLog, ddt?, da?, draw, dbias, daLog; numbers: rows, heads, minDt, maxDt
void checkGatesGradient(const Launch& launch) {
  requireCounts(launch, 8, 4);
  checkGateSizes(launch);
  const GateSizes s(launch);
  const int64_t size = product({s.rows, s.heads});
  for (const int i : {0, 5}) requireElements(launch, i, size);
  for (const int i : {3, 4}) requireOptional(launch, i, size);
  for (const int i : {1, 2, 6, 7}) requireElements(launch, i, s.heads);
}

void runGatesGradient(const Launch& launch, Pool& pool) {
  const GateSizes s(launch);
  const Buffer* buffers = launch.buffers;
  const float *raw = buffers[0].f32(), *bias = buffers[1].f32(), *aLog = buffers[2].f32(), *ddt = buffers[3].f32(), *da = buffers[4].f32();
  float *draw = buffers[5].f32(), *dbias = buffers[6].f32(), *daLog = buffers[7].f32();
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
    {"ssmGates", checkGates, runGates},
    {"ssmGatesGradient", checkGatesGradient, runGatesGradient},
    {nullptr, nullptr, nullptr},
};

}  // namespace lenggen::LENGGEN_ISA
