// Waiting with low latency: spin for a moment, then sleep, so that an idle thread uses no processor time.
#pragma once
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace lenggen {

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

class Gate {
 public:
  // Waits until ready() holds. What makes it hold must be written before `open` is called.
  template <typename Ready>
  void wait(const Ready& ready, std::chrono::microseconds spin) {
    const auto end = std::chrono::steady_clock::now() + spin;
    do {
      for (int i = 0; i < 32; i++) {
        if (ready()) return;
        pause();
      }
    } while (std::chrono::steady_clock::now() < end);
    std::unique_lock<std::mutex> lock(mutex_);
    sleepers_.fetch_add(1);
    // With the fence in `open`: either this thread sees what was written, or the writer sees this sleeper.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    while (!ready()) changed_.wait(lock);
    sleepers_.fetch_sub(1);
  }

  // Wakes whoever sleeps.
  void open() {
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (sleepers_.load() == 0) return;
    { std::lock_guard<std::mutex> lock(mutex_); }
    changed_.notify_all();
  }

 private:
  std::atomic<int> sleepers_{0};
  std::mutex mutex_;
  std::condition_variable changed_;
};

}  // namespace lenggen
