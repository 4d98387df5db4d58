#include "threads.h"

#include <algorithm>
#include <cstdlib>
#include <new>
#include <utility>

#include "subnormals.h"

namespace lenggen {
namespace {

constexpr uint32_t OPEN = 1u << 31;

// The worker that this thread is within a job, or -1 outside of one.
thread_local int currentWorker = -1;

}  // namespace

Scratch::~Scratch() { std::free(data_); }

float* Scratch::reserve(size_t floats, Budget& budget) {
  if (floats <= floats_ && data_ != nullptr) return data_;
  if (floats > (SIZE_MAX >> 3)) throw std::bad_alloc();
  const size_t bytes = std::max<size_t>((floats * sizeof(float) + 63) / 64 * 64, 4096);
  budget.change(floats_ * sizeof(float), bytes);
  std::free(data_);
  data_ = static_cast<float*>(std::aligned_alloc(64, bytes));
  floats_ = bytes / sizeof(float);
  if (data_ == nullptr) {
    budget.change(bytes, 0);
    floats_ = 0;
    throw std::bad_alloc();
  }
  return data_;
}

void Budget::change(size_t before, size_t after) {
  const size_t now = used_.fetch_add(after - before) + (after - before);
  if (after > before && now > limit_) {
    used_.fetch_sub(after - before);
    throw std::bad_alloc();
  }
}

ThreadPool::ThreadPool(int threads, size_t scratchLimit) : count_(threads), budget_(scratchLimit), scratch_(static_cast<size_t>(threads)) {
  // Spinning pays when every thread has a processor to itself, and hurts otherwise.
  const unsigned processors = std::thread::hardware_concurrency();
  spin_ = std::chrono::microseconds(static_cast<unsigned>(threads) <= processors ? 50 : 0);
  try {
    for (int worker = 1; worker < threads; worker++) workers_.emplace_back([this, worker] { work(worker); });
  } catch (...) {
    stop();
    throw;
  }
}

ThreadPool::~ThreadPool() { stop(); }

void ThreadPool::stop() {
  stopping_.store(true);
  gate_.open();
  for (std::thread& worker : workers_) worker.join();
  workers_.clear();
}

void ThreadPool::parallel(int64_t items, const Body& body) {
  if (items <= 0) return;
  if (count_ == 1 || items == 1 || currentWorker >= 0) {
    const int worker = std::max(currentWorker, 0);
    for (int64_t item = 0; item < items; item++) body(item, worker);
    return;
  }
  body_ = &body;
  items_ = items;
  // Several items at a time when there are many: which worker takes which does not change any result.
  grain_ = std::max<int64_t>(1, items / (static_cast<int64_t>(count_) * 16));
  next_.store(0, std::memory_order_relaxed);
  state_.store(OPEN, std::memory_order_release);
  generation_.fetch_add(1);
  gate_.open();

  takeItems(0);
  // All items are taken; nobody enters any more; wait for the workers that still have one.
  state_.fetch_and(~OPEN, std::memory_order_acq_rel);
  for (int spins = 0; state_.load(std::memory_order_acquire) != 0; spins++) {
    if (spins < 4096) pause();
    else std::this_thread::yield();
  }
  body_ = nullptr;
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

void ThreadPool::work(int worker) {
  flushSubnormals();
  uint64_t seen = 0;
  for (;;) {
    gate_.wait([&] { return generation_.load() != seen || stopping_.load(); }, spin_);
    if (stopping_.load()) return;
    seen = generation_.load();
    if (!enter()) continue;
    takeItems(worker);
    state_.fetch_sub(1, std::memory_order_release);
  }
}

bool ThreadPool::enter() {
  uint32_t state = state_.load(std::memory_order_relaxed);
  while ((state & OPEN) != 0) {
    if (state_.compare_exchange_weak(state, state + 1, std::memory_order_acquire, std::memory_order_relaxed)) return true;
  }
  return false;
}

void ThreadPool::takeItems(int worker) {
  currentWorker = worker;
  try {
    for (;;) {
      const int64_t from = next_.fetch_add(grain_, std::memory_order_relaxed);
      if (from >= items_) break;
      const int64_t to = std::min(items_, from + grain_);
      for (int64_t item = from; item < to; item++) (*body_)(item, worker);
    }
  } catch (...) {
    // Only std::bad_alloc comes here. The first one is reported; the other workers find nothing left to do.
    next_.store(items_, std::memory_order_relaxed);
    std::lock_guard<std::mutex> lock(failureMutex_);
    if (!failure_) failure_ = std::current_exception();
  }
  currentWorker = -1;
}

}  // namespace lenggen
