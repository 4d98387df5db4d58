// How elementwise work is split into items: by the sizes alone, so that results never depend on the threads.
#pragma once
#include <algorithm>

#include "kernel.h"

namespace lenggen::LENGGEN_ISA {

// Elements per item: a few cache pages, so that handing items out costs nothing beside the work.
constexpr int64_t ITEM = 16384;

// body(from, to) over ranges of 0 ... count, where each step handles `weight` elements.
template <typename Body>
static inline void inRanges(Pool& pool, int64_t count, int64_t weight, const Body& body) {
  const int64_t step = std::max<int64_t>(1, ITEM / std::max<int64_t>(1, weight));
  pool.parallel((count + step - 1) / step, [&](int64_t item, int) { body(item * step, std::min(count, (item + 1) * step)); });
}

}  // namespace lenggen::LENGGEN_ISA
