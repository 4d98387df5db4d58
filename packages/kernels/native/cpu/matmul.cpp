// The matmul family: src/ops/matmul.ts has the formulas, gemm.h the product. Shared operands fold the batch into one
// product where the layout allows it.
#include "check.h"
#include "families.h"
#include "gemm.h"

namespace lenggen::LENGGEN_ISA {
namespace {

// buffers: a, b, out; numbers: batch, m, n, k, transposeA, transposeB, aStride, bStride, outStride, accumulate
enum { BATCH, M, N, K, TRANSPOSE_A, TRANSPOSE_B, A_STRIDE, B_STRIDE, OUT_STRIDE, ACCUMULATE, NUMBERS };

void checkMatmul(const Launch& launch) {
  requireCounts(launch, 3, NUMBERS);
  const int64_t batch = requireSize(launch, BATCH), m = requireSize(launch, M), n = requireSize(launch, N), k = requireSize(launch, K);
  const auto span = [&](int stride, int64_t matrix) {
    return batch == 0 ? 0 : product({batch - 1, requireSize(launch, stride)}) + matrix;
  };
  requireElements(launch, 0, span(A_STRIDE, product({m, k})));
  requireElements(launch, 1, span(B_STRIDE, product({k, n})));
  requireElements(launch, 2, span(OUT_STRIDE, product({m, n})));
}

void runMatmul(const Launch& launch, Pool& pool) {
  const int64_t batch = launch.integer(BATCH), m = launch.integer(M), n = launch.integer(N), k = launch.integer(K);
  const int64_t aStride = launch.integer(A_STRIDE), bStride = launch.integer(B_STRIDE), outStride = launch.integer(OUT_STRIDE);
  const bool transposeA = launch.integer(TRANSPOSE_A) != 0, transposeB = launch.integer(TRANSPOSE_B) != 0;
  const Buffer* buffers = launch.buffers;
  const auto operand = [](const float* data, int64_t rows, int64_t columns, bool flipped) {
    return flipped ? Operand{data, 1, rows} : Operand{data, columns, 1};
  };
  bool accumulate = launch.integer(ACCUMULATE) != 0;
  // Rows of a batch that shares b lie one under the other: one tall product.
  if (batch > 1 && bStride == 0 && !transposeA && aStride == m * k && outStride == m * n) {
    gemm(pool, batch * m, n, k, operand(buffers[0].f32(), batch * m, k, false), operand(buffers[1].f32(), k, n, transposeB),
         buffers[2].f32(), n, accumulate);
    return;
  }
  for (int64_t i = 0; i < batch; i++) {
    gemm(pool, m, n, k, operand(buffers[0].f32() + i * aStride, m, k, transposeA),
         operand(buffers[1].f32() + i * bStride, k, n, transposeB), buffers[2].f32() + i * outStride, n, accumulate);
    if (outStride == 0) accumulate = true;
  }
}

}  // namespace

extern const Kernel matmulKernels[] = {{"matmul", checkMatmul, runMatmul}, {nullptr, nullptr, nullptr}};

}  // namespace lenggen::LENGGEN_ISA
