// What kernels are declared to take (src/signature.ts), as the structs in build/signatures hold it: `Reader` fills them, `requireSignature`
// checks a launch by the tables beside them.
#pragma once
#include <cmath>

#include "check.h"

namespace lenggen {

enum class TensorType : uint8_t { real, i32, weight, any };
enum class NumberKind : uint8_t { size, integer, real, number, flag, choice, sizes, reals, key, nest };

struct NumberRow {
  const char* name;
  NumberKind kind;
  int choices = 0;
};

// A number of the launch, or a constant where `number` is -1.
struct Term {
  int number = -1;
  int64_t constant = 0;
};

// left, left - right, left + right, or left / right rounded up.
struct Size {
  Term left;
  char sign = 0;
  Term right = {};
};

constexpr int MOST_SIZES = 8;

struct TensorRow {
  const char* name;
  const char* text;
  TensorType type;
  bool optional, list;
  int rank;  // -1: any number of elements
  Size sizes[MOST_SIZES];
};

struct Signature {
  const char* name;
  const NumberRow* numbers;
  int numberCount;
  const TensorRow* tensors;  // those that are no lists first
  int single, lists;

  bool endsInList() const { return numberCount > 0 && numbers[numberCount - 1].kind >= NumberKind::sizes; }
  int plainNumbers() const { return endsInList() ? numberCount - 1 : numberCount; }
};

// Counts, numbers and bounds of a launch; throws std::invalid_argument that names what does not fit. After this all that the struct holds
// may be read and written.
void requireSignature(const Signature& signature, const Launch& launch);

// Elements of a tensor whose size only its buffer tells.
template <typename T>
struct Span {
  T* data;
  int64_t size;
};

inline int64_t elementsOf(const Buffer& buffer) { return static_cast<int64_t>(buffer.bytes / (buffer.type == BufferType::f16 ? 2 : 4)); }

// For a tensor of any number of elements, of which `there` are: as many as are needed.
inline void requireElements(const char* name, int64_t there, int64_t needed) {
  if (needed > there) {
    throw std::invalid_argument(std::string(name) + " has " + std::to_string(there) + " elements, but " + std::to_string(needed)
        + " are needed");
  }
}

template <typename T>
struct FromBuffer;
template <typename T>
struct FromBuffer<T*> {
  static T* of(const Buffer& buffer) { return static_cast<T*>(buffer.data); }
};
template <typename T>
struct FromBuffer<Span<T>> {
  static Span<T> of(const Buffer& buffer) { return {static_cast<T*>(buffer.data), static_cast<int64_t>(buffer.bytes / sizeof(T))}; }
};
template <>
struct FromBuffer<Buffer> {
  static Buffer of(const Buffer& buffer) { return buffer; }
};

template <typename T>
struct List {
  const Buffer* first;
  int64_t count;
  T operator[](int64_t i) const { return FromBuffer<T>::of(first[i]); }
};

// The list of numbers at the end.
struct Numbers {
  const double* values;
  int64_t count;
  double operator[](int64_t i) const { return values[i]; }
  int64_t size(int64_t i) const { return static_cast<int64_t>(values[i]); }
  float real(int64_t i) const { return static_cast<float>(values[i]); }
  uint32_t word(int64_t i) const { return static_cast<uint32_t>(static_cast<int64_t>(values[i])); }
};

// Takes a launch's arguments one after the other, in the order in which they were declared.
class Reader {
 public:
  Reader(const Launch& launch, const Signature& signature)
      : buffer_(launch.buffers), number_(launch.numbers), end_(launch.numbers + launch.numberCount),
        count_(signature.lists > 0 ? (launch.bufferCount - signature.single) / signature.lists : 0) {}
  int64_t size() { return static_cast<int64_t>(*number_++); }
  int64_t whole() { return static_cast<int64_t>(*number_++); }
  float real() { return static_cast<float>(*number_++); }
  double number() { return *number_++; }
  bool flag() { return *number_++ != 0; }
  Numbers rest() { return {number_, end_ - number_}; }
  template <typename T>
  T tensor() {
    return FromBuffer<T>::of(*buffer_++);
  }
  template <typename T>
  List<T> list() {
    const Buffer* first = buffer_;
    buffer_ += count_;
    return {first, count_};
  }

 private:
  const Buffer* buffer_;
  const double *number_, *end_;
  int64_t count_;
};

// The entry of a kernel whose arguments are declared. CHECK: what the declaration can't say.
template <typename Args>
void noCheck(const Args&) {}
template <typename Args, void (*RUN)(const Args&, Pool&), void (*CHECK)(const Args&) = noCheck<Args>>
Kernel kernel() {
  return {Args::signature().name,
          [](const Launch& launch) {
            requireSignature(Args::signature(), launch);
            CHECK(Args(launch));
          },
          [](const Launch& launch, Pool& pool) { RUN(Args(launch), pool); }};
}

}  // namespace lenggen
