// A CPU device's queue: one thread that runs tasks in the order in which they were submitted. One thread
// (JavaScript's) submits. Tasks live in a ring whose slots keep their storage, so that a launch allocates nothing.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "failure.h"
#include "kernel.h"
#include "threads.h"

namespace lenggen {

// What waits for a read or a synchronisation. `failure` is set when the queue had one since the last ticket.
struct Ticket {
  std::optional<Failure> failure;
};

// What a kernel has used so far: the queue's thread counts, any thread may read.
struct Usage {
  std::atomic<uint64_t> calls{0};
  std::atomic<uint64_t> nanoseconds{0};
};

struct Task {
  enum class Kind { launch, write, read, release };
  Kind kind = Kind::launch;
  // launch
  const Kernel* kernel = nullptr;
  Usage* usage = nullptr;  // the kernel's
  std::vector<Buffer> buffers;
  std::vector<double> numbers;
  // write, read: copies `bytes`. A write frees `source` afterwards. release: returns the `bytes` bytes at `target` to the system.
  void* target = nullptr;
  void* source = nullptr;
  size_t bytes = 0;
  Ticket* ticket = nullptr;  // read
};

class Queue {
 public:
  // `finished` is called on the queue's thread, with each ticket. Throws std::system_error, std::bad_alloc.
  Queue(int threads, size_t scratchLimit, std::function<void(Ticket*)> finished);
  ~Queue();

  // The slot of the next task; waits when the queue is full. `submit` hands it over.
  Task& next();
  void submit();

  bool idle() const { return done_.load(std::memory_order_acquire) == submitted_; }
  // Waits until all submitted work is done.
  void drain();
  // Ends the thread. With `abandon`, tasks that have not begun are dropped (their memory is freed).
  void stop(bool abandon);

  // Submits a copy of `bytes` bytes. Throws std::bad_alloc.
  void write(void* target, const void* bytes, size_t count);
  void read(void* target, const void* source, size_t count, Ticket* ticket);
  // Returns memory to the system (pages.h) once nothing queued can touch it.
  void release(void* memory, size_t capacity);

 private:
  void work();
  void perform(Task& task);

  static constexpr uint64_t SLOTS = 4096;
  static constexpr size_t MOST_PENDING_BYTES = size_t{256} << 20;

  ThreadPool pool_;
  const std::function<void(Ticket*)> finished_;
  std::vector<Task> ring_;
  uint64_t submitted_ = 0;  // the submitting thread's copy of visible_
  std::atomic<size_t> pendingBytes_{0};
  alignas(64) std::atomic<uint64_t> visible_{0};
  alignas(64) std::atomic<uint64_t> done_{0};
  std::atomic<bool> stopping_{false};
  std::atomic<bool> abandoned_{false};
  Gate arrival_;
  Gate progress_;
  std::optional<Failure> failure_;  // the queue thread's
  std::thread thread_;
};

}  // namespace lenggen
