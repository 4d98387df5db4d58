#include "queue.h"

#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

#include "pages.h"
#include "subnormals.h"

namespace lenggen {
namespace {

using std::chrono::microseconds;

constexpr microseconds IDLE_SPIN{30};

void count(Usage& usage, std::chrono::steady_clock::duration time) {
  const auto nanoseconds = std::chrono::duration_cast<std::chrono::nanoseconds>(time).count();
  usage.calls.fetch_add(1, std::memory_order_relaxed);
  usage.nanoseconds.fetch_add(static_cast<uint64_t>(nanoseconds), std::memory_order_relaxed);
}

}  // namespace

Queue::Queue(int threads, size_t scratchLimit, std::function<void(Ticket*)> finished)
    : pool_(threads, scratchLimit), finished_(std::move(finished)), ring_(SLOTS), thread_([this] { work(); }) {}

Queue::~Queue() { stop(true); }

Task& Queue::next() {
  if (submitted_ - done_.load(std::memory_order_acquire) >= SLOTS) {
    // Full: wait until half is done, so that the two threads do not wake each other for every task.
    progress_.wait([&] { return submitted_ - done_.load() <= SLOTS / 2; }, microseconds(0));
  }
  return ring_[submitted_ % SLOTS];
}

void Queue::submit() {
  visible_.store(++submitted_);
  arrival_.open();
}

void Queue::drain() {
  progress_.wait([&] { return done_.load() == submitted_; }, IDLE_SPIN);
}

void Queue::stop(bool abandon) {
  if (!thread_.joinable()) return;
  if (abandon) abandoned_.store(true);
  stopping_.store(true);
  arrival_.open();
  thread_.join();
}

void Queue::write(void* target, const void* bytes, size_t count) {
  if (count == 0) return;
  if (idle()) {
    std::memcpy(target, bytes, count);
    return;
  }
  // Bounds what copies waiting in the queue may hold.
  progress_.wait([&] { return pendingBytes_.load() + count <= MOST_PENDING_BYTES || done_.load() == submitted_; }, microseconds(0));
  void* copy = std::malloc(count);
  if (copy == nullptr) throw std::bad_alloc();
  std::memcpy(copy, bytes, count);
  Task& task = next();
  task.kind = Task::Kind::write;
  task.target = target;
  task.source = copy;
  task.bytes = count;
  pendingBytes_.fetch_add(count);
  submit();
}

void Queue::read(void* target, const void* source, size_t count, Ticket* ticket) {
  Task& task = next();
  task.kind = Task::Kind::read;
  task.target = target;
  task.source = const_cast<void*>(source);
  task.bytes = count;
  task.ticket = ticket;
  submit();
}

void Queue::release(void* memory, size_t capacity) {
  if (idle()) {
    returnPages(memory, capacity);
    return;
  }
  Task& task = next();
  task.kind = Task::Kind::release;
  task.target = memory;
  task.bytes = capacity;
  submit();
}

void Queue::work() {
  flushSubnormals();
  for (uint64_t i = 0;; i++) {
    arrival_.wait([&] { return visible_.load() != i || stopping_.load(); }, IDLE_SPIN);
    if (visible_.load() == i) return;
    perform(ring_[i % SLOTS]);
    done_.store(i + 1);
    progress_.open();
  }
}

void Queue::perform(Task& task) {
  const bool dropped = abandoned_.load(std::memory_order_relaxed);
  switch (task.kind) {
    case Task::Kind::launch:
      if (dropped) break;
      try {
        const Launch launch{task.buffers.data(), static_cast<int>(task.buffers.size()), task.numbers.data(),
            static_cast<int>(task.numbers.size())};
        const auto begin = std::chrono::steady_clock::now();
        task.kernel->run(launch, pool_);
        count(*task.usage, std::chrono::steady_clock::now() - begin);
      } catch (const std::bad_alloc&) {
        if (!failure_) failure_.emplace("E_MEMORY", std::string(task.kernel->name)
            + ": the machine has no room for this kernel's scratch memory");
      } catch (const std::exception& error) {
        if (!failure_) failure_.emplace("E_DEVICE", std::string(task.kernel->name) + ": " + error.what());
      }
      break;
    case Task::Kind::write:
      if (!dropped) std::memcpy(task.target, task.source, task.bytes);
      std::free(task.source);
      pendingBytes_.fetch_sub(task.bytes);
      break;
    case Task::Kind::read:
      if (dropped) break;
      if (failure_) std::swap(task.ticket->failure, failure_);
      else if (task.bytes > 0) std::memcpy(task.target, task.source, task.bytes);
      finished_(task.ticket);
      break;
    case Task::Kind::release:
      returnPages(task.target, task.bytes);
      break;
  }
}

}  // namespace lenggen
