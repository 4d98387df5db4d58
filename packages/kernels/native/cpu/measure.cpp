#include "measure.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "threads.h"

namespace lenggen {
namespace {

using Clock = std::chrono::steady_clock;

double secondsSince(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// Does so many rounds, and returns the number of operations in them.
using Work = double (*)(int64_t rounds);

// Operations per second of all threads together. They start as one, so that none does another's part.
double arithmetic(Work work, ThreadPool& pool, int64_t rounds) {
  const int threads = pool.threads();
  std::atomic<int> arrived{0};
  std::vector<double> operations(static_cast<size_t>(threads));
  std::vector<Clock::time_point> begun(operations.size()), ended(operations.size());
  pool.parallel(threads, [&](int64_t item, int) {
    const size_t i = static_cast<size_t>(item);
    arrived.fetch_add(1);
    while (arrived.load() < threads) std::this_thread::yield();
    begun[i] = Clock::now();
    operations[i] = work(rounds);
    ended[i] = Clock::now();
  });
  const auto time = *std::max_element(ended.begin(), ended.end()) - *std::min_element(begun.begin(), begun.end());
  return std::accumulate(operations.begin(), operations.end(), 0.0) / std::chrono::duration<double>(time).count();
}

double bestArithmetic(Work work, int threads) {
  ThreadPool pool(threads, 0);
  // Short runs, many of them: on a busy machine some fit between two turns of the other processes, as kernels do.
  constexpr double SECONDS = 0.0005;
  constexpr int RUNS = 600;
  constexpr int64_t TRIAL = 20000;
  work(TRIAL);
  const auto start = Clock::now();
  work(TRIAL);
  const int64_t rounds = std::max<int64_t>(TRIAL, static_cast<int64_t>(TRIAL * SECONDS / secondsSince(start)));
  double best = 0;
  for (int i = 0; i < RUNS; i++) best = std::max(best, arithmetic(work, pool, rounds));
  return best;
}

double bestCopy(int threads) {
  // Much larger than any cache.
  constexpr size_t BYTES = size_t{128} << 20;
  ThreadPool pool(threads, 0);
  std::vector<char> from(BYTES, 1), to(BYTES, 2);
  const size_t part = BYTES / static_cast<size_t>(threads) / 64 * 64;
  double best = 0;
  for (int i = 0; i < 6; i++) {
    const auto start = Clock::now();
    pool.parallel(threads, [&](int64_t item, int) {
      const size_t offset = static_cast<size_t>(item) * part;
      std::memcpy(to.data() + offset, from.data() + offset, part);
    });
    best = std::max(best, 2.0 * static_cast<double>(part) * threads / secondsSince(start));
  }
  return best;
}

}  // namespace

Ceiling measureCeiling(const Isa& isa, int threads) {
  return {bestArithmetic(isa.multiplyAdd, 1) * 1e-9, bestArithmetic(isa.multiplyAdd, threads) * 1e-9,
          bestArithmetic(isa.exponentials, 1) * 1e-9, bestArithmetic(isa.exponentials, threads) * 1e-9, bestCopy(threads) * 1e-9};
}

}  // namespace lenggen
