// Choosing by a condition: src/ops/where.ts.
#include <algorithm>

#include "families.h"
#include "signatures/where.h"

namespace lenggen::LENGGEN_ISA {
namespace {

constexpr int64_t BLOCK = 16384;

void check(const WhereArgs& args) {
  const int64_t size = args.y.size;
  const auto fits = [&](const Span<const float>& operand) { return operand.data == nullptr || operand.size >= size; };
  require(args.condition.size >= size && fits(args.a) && fits(args.b), "all must be as long as y");
}

void run(const WhereArgs& args, Pool& pool) {
  const float *condition = args.condition.data, *a = args.a.data, *b = args.b.data;
  float* y = args.y.data;
  const int64_t size = args.y.size;
  pool.parallel((size + BLOCK - 1) / BLOCK, [=](int64_t item, int) {
    const int64_t end = std::min(size, (item + 1) * BLOCK);
    for (int64_t i = item * BLOCK; i < end; i++) y[i] = condition[i] != 0.0f ? (a ? a[i] : 0.0f) : (b ? b[i] : 0.0f);
  });
}

}  // namespace

extern const Kernel whereKernels[] = {
    kernel<WhereArgs, run, check>(),
    {nullptr, nullptr, nullptr},
};

}  // namespace lenggen::LENGGEN_ISA
