// The matmul family: src/ops/matmul.ts has the formulas, gemm.cpp the product.
#include <algorithm>

#include "check.h"
#include "families.h"
#include "gemm.h"

namespace lenggen::LENGGEN_ISA {
namespace {

// Batches of at least so many products, or of products of at most so many multiply-adds, give each thread whole products.
constexpr int64_t MANY = 16;
constexpr double SMALL_WORK = 1 << 20;

// buffers: a, b, out; numbers: batch, m, n, k, transposeA, transposeB, aStride, bStride, outStride, accumulate
enum { BATCH, M, N, K, TRANSPOSE_A, TRANSPOSE_B, A_STRIDE, B_STRIDE, OUT_STRIDE, ACCUMULATE, NUMBERS };

// Elements that a batch of matrices reaches over; an empty batch still writes the one matrix that sums it.
int64_t reach(int64_t batch, int64_t stride, int64_t matrix) {
  if (batch == 0 && stride > 0) return 0;
  const int64_t before = product({std::max<int64_t>(batch - 1, 0), stride});
  require(!__builtin_add_overflow(before, matrix, &matrix), "sizes are too large");
  return matrix;
}

void checkMatmul(const Launch& launch) {
  requireCounts(launch, 3, NUMBERS);
  const auto size = [&](int i) { return requireSize(launch, i); };
  const int64_t batch = size(BATCH), out = product({size(M), size(N)});
  require(size(OUT_STRIDE) == 0 || size(OUT_STRIDE) >= out, "the matrices of out must not overlap");
  requireElements(launch, 0, reach(batch, size(A_STRIDE), product({size(M), size(K)})));
  requireElements(launch, 1, reach(batch, size(B_STRIDE), product({size(K), size(N)})));
  requireElements(launch, 2, reach(batch, size(OUT_STRIDE), out));
}

void runMatmul(const Launch& launch, Pool& pool) {
  int64_t batch = launch.integer(BATCH), m = launch.integer(M), n = launch.integer(N), k = launch.integer(K);
  const int64_t aStride = launch.integer(A_STRIDE), bStride = launch.integer(B_STRIDE), outStride = launch.integer(OUT_STRIDE);
  const bool transposeA = launch.integer(TRANSPOSE_A) != 0, transposeB = launch.integer(TRANSPOSE_B) != 0;
  const bool accumulate = launch.integer(ACCUMULATE) != 0;
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
  const auto a = [&](int64_t i) { return operand(launch.buffers[0].f32() + i * aStride, m, k, transposeA); };
  const auto b = [&](int64_t i) { return operand(launch.buffers[1].f32() + i * bStride, k, n, transposeB); };
  float* out = launch.buffers[2].f32();
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

// buffers: a [m,k], b [n,k] in half precision, out [m,n]; numbers: m, n, k
void checkMatmulHalf(const Launch& launch) {
  requireCounts(launch, 3, 3);
  const int64_t m = requireSize(launch, 0), n = requireSize(launch, 1), k = requireSize(launch, 2);
  requireElements(launch, 0, product({m, k}));
  requireHalves(launch, 1, product({n, k}));
  requireElements(launch, 2, product({m, n}));
}

void runMatmulHalf(const Launch& launch, Pool& pool) {
  const int64_t m = launch.integer(0), n = launch.integer(1), k = launch.integer(2);
  gemmHalf(pool, m, n, k, launch.buffers[0].f32(), launch.buffers[1].f16(), launch.buffers[2].f32(), n);
}

}  // namespace

extern const Kernel matmulKernels[] = {{"matmul", checkMatmul, runMatmul}, {"matmul.f16", checkMatmulHalf, runMatmulHalf}, {nullptr, nullptr, nullptr}};

}  // namespace lenggen::LENGGEN_ISA
