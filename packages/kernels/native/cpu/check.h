// Checks of a launch's arguments, for each kernel's `check`. They run on the JavaScript thread before
// anything is queued and throw std::invalid_argument, whose text reaches the user behind the kernel's name.
#pragma once
#include <initializer_list>
#include <stdexcept>
#include <string>

#include "kernel.h"

namespace lenggen {

inline void require(bool condition, const char* message) {
  if (!condition) throw std::invalid_argument(message);
}

// Exactly so many buffers and numbers: after this, indexing them is safe.
inline void requireCounts(const Launch& launch, int buffers, int numbers) {
  if (launch.bufferCount != buffers || launch.numberCount != numbers) {
    throw std::invalid_argument("takes " + std::to_string(buffers) + " buffers and " + std::to_string(numbers) + " numbers, not " +
                                std::to_string(launch.bufferCount) + " and " + std::to_string(launch.numberCount));
  }
}

// The size given as number i: whole, 0 ... 2^40.
inline int64_t requireSize(const Launch& launch, int i) {
  const double value = launch.numbers[i];
  if (!(value >= 0 && value <= 1099511627776.0) || value != static_cast<double>(static_cast<int64_t>(value))) {
    throw std::invalid_argument("number " + std::to_string(i) + " must be a size, not " + std::to_string(value));
  }
  return static_cast<int64_t>(value);
}

// The product of sizes; throws rather than overflows.
inline int64_t product(std::initializer_list<int64_t> sizes) {
  int64_t result = 1;
  for (const int64_t size : sizes) {
    if (size < 0 || __builtin_mul_overflow(result, size, &result)) throw std::invalid_argument("sizes are negative or too large");
  }
  return result;
}

// Buffer i holds at least so many 4-byte elements (f32 or i32).
inline void requireElements(const Launch& launch, int i, int64_t elements) {
  const Buffer& buffer = launch.buffers[i];
  if (elements < 0 || buffer.data == nullptr || static_cast<uint64_t>(elements) > buffer.bytes / 4) {
    throw std::invalid_argument("buffer " + std::to_string(i) + " holds " + std::to_string(buffer.bytes / 4) + " elements, but " +
                                std::to_string(elements) + " are needed");
  }
}

// Buffer i holds at least so many 2-byte elements (f16).
inline void requireHalves(const Launch& launch, int i, int64_t elements) {
  const Buffer& buffer = launch.buffers[i];
  if (elements < 0 || buffer.data == nullptr || static_cast<uint64_t>(elements) > buffer.bytes / 2) {
    throw std::invalid_argument("buffer " + std::to_string(i) + " holds " + std::to_string(buffer.bytes / 2) + " halves, but " +
                                std::to_string(elements) + " are needed");
  }
}

// One of the two, for a weight of either type.
template <typename Weight>
void requireWeights(const Launch& launch, int i, int64_t elements) {
  if (sizeof(Weight) == 2) requireHalves(launch, i, elements);
  else requireElements(launch, i, elements);
}

// As requireElements, for a buffer that may be absent.
inline void requireOptional(const Launch& launch, int i, int64_t elements) {
  if (launch.buffers[i].data != nullptr) requireElements(launch, i, elements);
}

}  // namespace lenggen
