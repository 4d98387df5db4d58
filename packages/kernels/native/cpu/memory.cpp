// Filling and summing buffers: src/ops/memory.ts.
#include <algorithm>

#include "check.h"
#include "families.h"

namespace lenggen::LENGGEN_ISA {
namespace {

// Elements per item: a few cache pages, so that handing items out costs nothing beside the work.
constexpr int64_t BLOCK = 16384;

template <typename Body>
void inBlocks(Pool& pool, int64_t size, const Body& body) {
  pool.parallel((size + BLOCK - 1) / BLOCK, [&](int64_t item, int) {
    body(item * BLOCK, std::min(size, (item + 1) * BLOCK));
  });
}

// buffers: out; numbers: value
void checkFill(const Launch& launch) {
  requireCounts(launch, 1, 1);
  requireElements(launch, 0, 0);
}

void fillF32(const Launch& launch, Pool& pool) {
  float* out = launch.buffers[0].f32();
  const float value = launch.real(0);
  inBlocks(pool, static_cast<int64_t>(launch.buffers[0].bytes / 4), [=](int64_t from, int64_t to) { std::fill(out + from, out + to, value); });
}

void fillI32(const Launch& launch, Pool& pool) {
  int32_t* out = launch.buffers[0].i32();
  const int32_t value = static_cast<int32_t>(launch.integer(0));
  inBlocks(pool, static_cast<int64_t>(launch.buffers[0].bytes / 4), [=](int64_t from, int64_t to) { std::fill(out + from, out + to, value); });
}

// buffers: x, out (as long as each other); numbers: scale
void checkAccumulate(const Launch& launch) {
  requireCounts(launch, 2, 1);
  requireElements(launch, 1, 0);
  requireElements(launch, 0, static_cast<int64_t>(launch.buffers[1].bytes / 4));
}

void accumulateF32(const Launch& launch, Pool& pool) {
  const float* x = launch.buffers[0].f32();
  float* out = launch.buffers[1].f32();
  const float scale = launch.real(0);
  inBlocks(pool, static_cast<int64_t>(launch.buffers[1].bytes / 4), [=](int64_t from, int64_t to) {
    for (int64_t i = from; i < to; i++) out[i] += scale * x[i];
  });
}

void accumulateI32(const Launch& launch, Pool& pool) {
  const int32_t* x = launch.buffers[0].i32();
  int32_t* out = launch.buffers[1].i32();
  const double scale = launch.numbers[0];
  inBlocks(pool, static_cast<int64_t>(launch.buffers[1].bytes / 4), [=](int64_t from, int64_t to) {
    for (int64_t i = from; i < to; i++) {
      // Saturates where JavaScript would wrap: out of range is undefined in C++.
      const double sum = out[i] + scale * x[i];
      out[i] = sum >= 2147483647.0 ? INT32_MAX : sum > -2147483648.0 ? static_cast<int32_t>(sum) : INT32_MIN;
    }
  });
}

}  // namespace

extern const Kernel memoryKernels[] = {
    {"fill.f32", checkFill, fillF32},
    {"fill.i32", checkFill, fillI32},
    {"accumulate.f32", checkAccumulate, accumulateF32},
    {"accumulate.i32", checkAccumulate, accumulateI32},
    {nullptr, nullptr, nullptr},
};

}  // namespace lenggen::LENGGEN_ISA
