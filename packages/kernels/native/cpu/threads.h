// The thread pool of a CPU device. The thread that calls `parallel` takes part as worker 0.
#pragma once
#include <atomic>
#include <exception>
#include <memory>
#include <thread>
#include <vector>

#include "gate.h"
#include "kernel.h"

namespace lenggen {

// Bytes of scratch memory of a whole pool, kept below a limit.
class Budget {
 public:
  explicit Budget(size_t limit) : limit_(limit) {}
  // Replaces `before` bytes by `after`. Throws std::bad_alloc, and then changes nothing.
  void change(size_t before, size_t after);

 private:
  const size_t limit_;
  std::atomic<size_t> used_{0};
};

// A block of 64-byte aligned floats that grows on demand.
class Scratch {
 public:
  Scratch() = default;
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch();
  // Throws std::bad_alloc. Contents are lost when it grows.
  float* reserve(size_t floats, Budget& budget);

 private:
  float* data_ = nullptr;
  size_t floats_ = 0;
};

class ThreadPool final : public Pool {
 public:
  // Scratch memory stays below `scratchLimit` bytes. Throws std::system_error when the system grants no more threads.
  ThreadPool(int threads, size_t scratchLimit);
  ~ThreadPool() override;

  int threads() const override { return count_; }
  void parallel(int64_t items, const Body& body) override;
  float* scratch(int worker, size_t floats) override { return scratch_[static_cast<size_t>(worker)].reserve(floats, budget_); }
  float* shared(size_t floats) override { return shared_.reserve(floats, budget_); }

 private:
  void work(int worker);
  void takeItems(int worker);
  bool enter();
  void stop();

  const int count_;
  std::chrono::microseconds spin_;
  Budget budget_;
  std::vector<Scratch> scratch_;
  Scratch shared_;
  std::vector<std::thread> workers_;

  // The job at hand. Workers may read these between `enter` and the matching decrement of state_.
  const Body* body_ = nullptr;
  int64_t items_ = 0;
  int64_t grain_ = 1;
  std::exception_ptr failure_;
  std::mutex failureMutex_;
  alignas(64) std::atomic<int64_t> next_{0};
  // Number of workers inside the job, and a bit that says whether others may still enter.
  alignas(64) std::atomic<uint32_t> state_{0};
  alignas(64) std::atomic<uint64_t> generation_{0};
  std::atomic<bool> stopping_{false};
  Gate gate_;
};

}  // namespace lenggen
