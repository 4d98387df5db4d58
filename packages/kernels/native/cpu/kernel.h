// What a CPU kernel is, and how it is found.
//
// Every kernel source (matmul.cpp, ssd.cpp, ...) is compiled once per instruction set with LENGGEN_ISA naming a
// namespace (baseline, avx2, avx512, neon) and registers its kernels in that namespace's table. The addon
// picks one table at run time. Kernels run on the device's queue thread and split their work with `Pool`.
//
// These threads take subnormal numbers for 0 (subnormals.h).
//
// Two rules hold for all of them:
//  * The same bits whatever the number of threads: in which order a sum is taken follows from the shapes alone, and no two
//    items of work write the same element. Sums across items happen in a fixed order.
//  * Nothing aborts. `check` runs on the JavaScript thread before anything is queued and throws
//    std::invalid_argument when a buffer is too small for the numbers given; `run` may
//    throw only std::bad_alloc, which the queue turns into a rejected promise.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>

namespace lenggen {

// How a buffer's numbers are stored; the order of src/backends/cpu/pack.ts.
enum class BufferType : uint8_t { f32, i32, f16 };

struct Buffer {
  void* data;
  size_t bytes;
  BufferType type = BufferType::f32;
  float* f32() const { return static_cast<float*>(data); }
  int32_t* i32() const { return static_cast<int32_t*>(data); }
  uint16_t* f16() const { return static_cast<uint16_t*>(data); }
};

// Splits items over the device's threads. `body(item, worker)`; worker < threads() indexes per-thread scratch.
class Pool {
 public:
  virtual ~Pool() = default;
  virtual int threads() const = 0;
  using Body = std::function<void(int64_t item, int worker)>;
  virtual void parallel(int64_t items, const Body& body) = 0;
  // Scratch that outlives the call: one 64-byte aligned block per worker, grown on demand. Contents are undefined.
  virtual float* scratch(int worker, size_t floats) = 0;
  // One 64-byte aligned block shared by the workers of one launch.
  virtual float* shared(size_t floats) = 0;
};

// A launch's arguments in the order in which they are declared (an absent optional buffer has data == nullptr and bytes == 0), numbers
// all as doubles, in which whole ones are exact. Kernels see them by name: signature.h.
struct Launch {
  const Buffer* buffers;
  int bufferCount;
  const double* numbers;
  int numberCount;
};

struct Kernel {
  const char* name;  // as declared in src/ops/<family>.ts
  void (*check)(const Launch&);
  void (*run)(const Launch&, Pool&);
};

// A family's kernels; ended by an entry whose name is nullptr.
struct Family {
  const Kernel* kernels;
};

}  // namespace lenggen
