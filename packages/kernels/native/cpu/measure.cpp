#include "measure.h"

#include <algorithm>
#include <cstring>

#include "threads.h"

namespace lenggen {
namespace {

using Clock = std::chrono::steady_clock;

double secondsSince(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// Operations per second of all threads together: each runs the loop once for the same number of rounds.
double arithmetic(const Isa& isa, ThreadPool& pool, int64_t rounds) {
  std::vector<double> done(static_cast<size_t>(pool.threads()));
  const auto start = Clock::now();
  pool.parallel(pool.threads(), [&](int64_t item, int) { done[static_cast<size_t>(item)] = isa.multiplyAdd(rounds); });
  const double seconds = secondsSince(start);
  double operations = 0;
  for (const double part : done) operations += part;
  return operations / seconds;
}

double bestArithmetic(const Isa& isa, int threads) {
  ThreadPool pool(threads, 0);
  constexpr double SECONDS = 0.06;
  constexpr int64_t TRIAL = 200000;
  isa.multiplyAdd(TRIAL);
  const auto start = Clock::now();
  isa.multiplyAdd(TRIAL);
  const int64_t rounds = std::max<int64_t>(TRIAL, static_cast<int64_t>(TRIAL * SECONDS / secondsSince(start)));
  double best = 0;
  for (int i = 0; i < 5; i++) best = std::max(best, arithmetic(isa, pool, rounds));
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
  return {bestArithmetic(isa, 1) * 1e-9, bestArithmetic(isa, threads) * 1e-9, bestCopy(threads) * 1e-9};
}

}  // namespace lenggen
