// Loop nests over two strided operands, as src/ops/layout.ts collapses them. A launch has them as numbers: rank, the
// sizes, the strides of operand 0, the strides of operand 1.
#pragma once
#include "signature.h"

namespace lenggen::LENGGEN_ISA {

constexpr int MOST_AXES = 16;

struct Nest {
  int rank;
  int64_t sizes[MOST_AXES];
  int64_t strides[2][MOST_AXES];
  int64_t total;

  int64_t inner() const { return sizes[rank - 1]; }

  // Where step `row` of the axes before the last `skip` ones is, for operand k.
  void locate(int64_t row, int skip, int64_t position[2]) const {
    position[0] = position[1] = 0;
    for (int axis = rank - 1 - skip; axis >= 0; axis--) {
      const int64_t i = row % sizes[axis];
      row /= sizes[axis];
      position[0] += i * strides[0][axis];
      position[1] += i * strides[1][axis];
    }
  }
};

// The nest among a launch's numbers, once `requireNest` has let them pass.
static inline Nest readNest(const Numbers& numbers) {
  Nest nest;
  nest.rank = static_cast<int>(numbers.size(0));
  nest.total = 1;
  for (int i = 0; i < nest.rank; i++) {
    nest.sizes[i] = numbers.size(1 + i);
    nest.strides[0][i] = numbers.size(1 + nest.rank + i);
    nest.strides[1][i] = numbers.size(1 + 2 * nest.rank + i);
    nest.total *= nest.sizes[i];
  }
  return nest;
}

// That they are sizes has been checked by the declaration.
static inline Nest requireNest(const Numbers& numbers) {
  require(numbers.count >= 1, "a loop nest is missing");
  const int64_t rank = numbers.size(0);
  require(rank >= 1 && rank <= MOST_AXES, "a tensor has more axes that can't be walked as one than the device supports (16)");
  require(numbers.count == 1 + 3 * rank, "a loop nest has too few or too many numbers");
  int64_t total = 1;
  for (int64_t i = 0; i < rank; i++) total = product({total, numbers.size(1 + i)});
  return readNest(numbers);
}

// A tensor of so many elements holds every one that operand k reaches, from `offset` on.
static inline void requireReach(const char* name, int64_t elements, const Nest& nest, int k, int64_t offset) {
  if (nest.total == 0) return;
  int64_t last = offset;
  for (int axis = 0; axis < nest.rank; axis++) {
    require(!__builtin_add_overflow(last, product({nest.sizes[axis] - 1, nest.strides[k][axis]}), &last), "strides are too large");
  }
  require(last < INT64_MAX, "strides are too large");
  requireElements(name, elements, last + 1);
}

}  // namespace lenggen::LENGGEN_ISA
