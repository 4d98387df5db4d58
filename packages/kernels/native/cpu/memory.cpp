// Filling and summing buffers: src/ops/memory.ts.
#include <algorithm>

#include "families.h"
#include "signatures/memory.h"

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

void fill(const FillArgs& args, Pool& pool) {
  const Buffer out = args.out;
  if (out.type == BufferType::i32) {
    const int32_t value = args.value >= -2147483648.0 && args.value <= 2147483647.0 ? static_cast<int32_t>(args.value) : -1;
    inBlocks(pool, elementsOf(out), [=](int64_t from, int64_t to) { std::fill(out.i32() + from, out.i32() + to, value); });
  } else {
    const float value = static_cast<float>(args.value);
    inBlocks(pool, elementsOf(out), [=](int64_t from, int64_t to) { std::fill(out.f32() + from, out.f32() + to, value); });
  }
}

void checkAccumulate(const AccumulateArgs& args) {
  require(args.x.type == args.out.type && args.x.bytes >= args.out.bytes, "x must have the type of out, and be as long");
}

void accumulateF32(const AccumulateArgs& args, Pool& pool) {
  const float* x = args.x.f32();
  float* out = args.out.f32();
  const float scale = static_cast<float>(args.scale);
  inBlocks(pool, elementsOf(args.out), [=](int64_t from, int64_t to) {
    for (int64_t i = from; i < to; i++) out[i] += scale * x[i];
  });
}

void accumulateI32(const AccumulateArgs& args, Pool& pool) {
  const int32_t* x = args.x.i32();
  int32_t* out = args.out.i32();
  const double scale = args.scale;
  inBlocks(pool, elementsOf(args.out), [=](int64_t from, int64_t to) {
    for (int64_t i = from; i < to; i++) {
      // Saturates where JavaScript would wrap: out of range is undefined in C++.
      const double sum = out[i] + scale * x[i];
      out[i] = sum >= 2147483647.0 ? INT32_MAX : sum > -2147483648.0 ? static_cast<int32_t>(sum) : INT32_MIN;
    }
  });
}

void accumulate(const AccumulateArgs& args, Pool& pool) {
  if (args.out.type == BufferType::i32) accumulateI32(args, pool);
  else accumulateF32(args, pool);
}

}  // namespace

extern const Kernel memoryKernels[] = {
    kernel<FillArgs, fill>(),
    kernel<AccumulateArgs, accumulate, checkAccumulate>(),
    {nullptr, nullptr, nullptr},
};

}  // namespace lenggen::LENGGEN_ISA
