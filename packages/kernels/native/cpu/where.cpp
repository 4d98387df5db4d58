// Choosing by a condition: src/ops/where.ts.
#include "families.h"
#include "signatures/where.h"
#include "split.h"

namespace lenggen::LENGGEN_ISA {
namespace {

void check(const WhereArgs& args) {
  const int64_t size = args.y.size;
  const auto fits = [&](const Span<const float>& operand) { return operand.data == nullptr || operand.size >= size; };
  require(args.condition.size >= size && fits(args.a) && fits(args.b), "all must be as long as y");
}

void run(const WhereArgs& args, Pool& pool) {
  const float *condition = args.condition.data, *a = args.a.data, *b = args.b.data;
  float* y = args.y.data;
  inRanges(pool, args.y.size, 1, [=](int64_t from, int64_t to) {
    for (int64_t i = from; i < to; i++) y[i] = condition[i] != 0.0f ? (a ? a[i] : 0.0f) : (b ? b[i] : 0.0f);
  });
}

}  // namespace

extern const Kernel whereKernels[] = {
    kernel<WhereArgs, run, check>(),
    {nullptr, nullptr, nullptr},
};

}  // namespace lenggen::LENGGEN_ISA
