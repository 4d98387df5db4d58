// What this machine can do at most: benchmarks are shown as shares of it.
#pragma once
#include "isa.h"

namespace lenggen {

struct Ceiling {
  double gflopsOneThread;
  double gflopsAllThreads;
  double gexpOneThread;  // 10^9 exponentials a second
  double gexpAllThreads;
  double copyGBs;  // bytes read and bytes written, all threads
};

// Takes about three seconds. Throws std::bad_alloc, std::system_error.
Ceiling measureCeiling(const Isa& isa, int threads);

}  // namespace lenggen
