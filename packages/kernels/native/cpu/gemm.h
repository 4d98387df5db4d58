// Products of float matrices: C = A·B or C += A·B.
//
// Three entrances, from large to small:
//   gemm         on all threads of a pool; packs, blocks for the caches, splits by shape and threads
//   gemmSingle   the same on the calling thread, for kernels that split their work themselves
//   gemmSmall    small matrices already in cache, no packing, no scratch; can skip triangles
//
// Each element of C is summed in an order that depends on the shapes alone, so that results have the same bits whatever
// the number of threads. Any size may be 0: with k == 0 the product is 0.
#pragma once
#include "kernel.h"
#include "vector.h"

namespace lenggen {
namespace LENGGEN_ISA {

// A matrix to read: element (i, j) is data[i * row + j * column]. Swap the strides to transpose. Any strides are right;
// fast are those with one of the two equal to 1.
struct Operand {
  const float* data;
  int64_t row;
  int64_t column;
};

inline Operand transposed(Operand x) { return {x.data, x.column, x.row}; }
inline Operand from(Operand x, int64_t i, int64_t j) { return {x.data + i * x.row + j * x.column, x.row, x.column}; }

// C[m,n] (+)= A[m,k] · B[k,n]; rows of C are contiguous and cRow floats apart. C must not overlap A or B.
// Uses pool.scratch; call it from the queue thread, not inside pool.parallel.
void gemm(Pool& pool, int64_t m, int64_t n, int64_t k, Operand a, Operand b, float* c, int64_t cRow, bool accumulate);

// Up to so many rows, a B whose columns are contiguous is read in place, by dot products; `gemmSingle` then needs no scratch.
constexpr int64_t DOT_ROWS = 8;

// The same on the calling thread. `scratch`: gemmScratch(n, k) floats, 64-byte aligned; never above 122,880 (480 KB).
size_t gemmScratch(int64_t n, int64_t k);
void gemmSingle(float* scratch, int64_t m, int64_t n, int64_t k, Operand a, Operand b, float* c, int64_t cRow, bool accumulate);

// C[m,n] = A[m,k] · Bᵀ with B [n,k] in half precision, both dense. Call it from the queue thread, not inside pool.parallel.
void gemmHalf(Pool& pool, int64_t m, int64_t n, int64_t k, const float* a, const uint16_t* b, float* c, int64_t cRow);

// Half-precision numbers as floats; exact.
void widen(const uint16_t* from, int64_t n, float* to);

// What `gemmSmall` may leave out. Only whole tiles are left out: elements of A in the skipped triangle must
// be stored as zeros, and elements of C above the diagonal may or may not be written.
enum class Skip {
  None,
  LowerA,  // A(i, k) = 0 for k > i
  UpperA,  // A(i, k) = 0 for k < i
  LowerC,  // C(i, j) is wanted for j <= i alone
};

// Memory that the calling thread will read or write soon. Products ask for it row by row while they work, which costs nothing; all
// at once it would keep other reads waiting. Defined in ahead.h.
class Ahead;

// C[m,n] (+)= A[m,k] · B[k,n] on the calling thread, straight from memory: A with any strides (its elements are broadcast),
// rows of B contiguous and bRow apart, rows of C contiguous and cRow apart. Meant for operands that fit the L1 or L2
// cache, up to about 256 each way; right for all sizes. C must not overlap A or B.
void gemmSmall(int64_t m, int64_t n, int64_t k, Operand a, const float* b, int64_t bRow, float* c, int64_t cRow,
               bool accumulate, Skip skip = Skip::None, Ahead* ahead = nullptr);

// to[j * toRow + i] = from[i * fromRow + j] for i < rows, j < columns: brings a k-contiguous matrix into the form that
// `gemmSmall` takes for B.
void transpose(int64_t rows, int64_t columns, const float* from, int64_t fromRow, float* to, int64_t toRow);

}  // namespace LENGGEN_ISA
}  // namespace lenggen
