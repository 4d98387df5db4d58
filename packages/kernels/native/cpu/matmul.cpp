// The matmul family: src/ops/matmul.ts has the formulas, gemm.cpp the product.
#include <algorithm>

#include "families.h"
#include "gemm.h"
#include "signatures/matmul.h"

namespace lenggen::LENGGEN_ISA {
namespace {

// Batches of at least so many products, or of products of at most so many multiply-adds, give each thread whole products.
constexpr int64_t MANY = 16;
constexpr double SMALL_WORK = 1 << 20;

// Elements that a batch of matrices reaches over; an empty batch still writes the one matrix that sums it.
int64_t reach(int64_t batch, int64_t stride, int64_t matrix) {
  if (batch == 0 && stride > 0) return 0;
  const int64_t before = product({std::max<int64_t>(batch - 1, 0), stride});
  require(!__builtin_add_overflow(before, matrix, &matrix), "sizes are too large");
  return matrix;
}

void checkMatmul(const MatmulArgs& args) {
  const int64_t batch = args.batch, out = product({args.m, args.n});
  require(args.outStride == 0 || args.outStride >= out, "the matrices of out must not overlap");
  requireElements("a", args.a.size, reach(batch, args.aStride, product({args.m, args.k})));
  requireElements("b", elementsOf(args.b), reach(batch, args.bStride, product({args.k, args.n})));
  requireElements("out", args.out.size, reach(batch, args.outStride, out));
  if (args.b.type == BufferType::f16) {
    require(batch == 1 && !args.transposeA && args.transposeB && !args.accumulate,
            "with b in f16 it must be one product, not added to out, of a as it is and b transposed");
  }
}

void runMatmul(const MatmulArgs& args, Pool& pool) {
  int64_t batch = args.batch, m = args.m, n = args.n, k = args.k;
  if (args.b.type == BufferType::f16) return gemmHalf(pool, m, n, k, args.a.data, args.b.f16(), args.out.data, n);
  const int64_t aStride = args.aStride, bStride = args.bStride, outStride = args.outStride;
  const bool transposeA = args.transposeA, transposeB = args.transposeB, accumulate = args.accumulate;
  if (batch > 1 && bStride == 0 && !transposeA && aStride == m * k && outStride == m * n && outStride > 0) {
    // Rows of a batch that shares b lie one under the other: one tall product.
    m *= batch;
    batch = 1;
  } else if (batch > 1 && outStride == 0 && transposeA && !transposeB && aStride == m * k && bStride == k * n) {
    // A sum over the batch whose operands lie one under the other along the summed axis: one deep product.
    k *= batch;
    batch = 1;
  }
  const auto operand = [](const float* data, int64_t rows, int64_t columns, bool flipped) {
    return flipped ? Operand{data, 1, rows} : Operand{data, columns, 1};
  };
  const auto a = [&](int64_t i) { return operand(args.a.data + i * aStride, m, k, transposeA); };
  const auto b = [&](int64_t i) { return operand(args.b.f32() + i * bStride, k, n, transposeB); };
  float* out = args.out.data;
  const bool sums = outStride == 0;
  const double work = static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
  if (batch == 0 && sums && !accumulate) std::fill(out, out + m * n, 0.0f);
  if (batch > 1 && !sums && (batch >= MANY || work <= SMALL_WORK)) {
    pool.parallel(batch, [&](int64_t i, int worker) {
      gemmSingle(pool.scratch(worker, gemmScratch(n, k)), m, n, k, a(i), b(i), out + i * outStride, n, accumulate);
    });
    return;
  }
  for (int64_t i = 0; i < batch; i++) gemm(pool, m, n, k, a(i), b(i), out + i * outStride, n, accumulate || (sums && i > 0));
}

}  // namespace

extern const Kernel matmulKernels[] = {kernel<MatmulArgs, runMatmul, checkMatmul>(), {nullptr, nullptr, nullptr}};

}  // namespace lenggen::LENGGEN_ISA
