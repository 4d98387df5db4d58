// Loops over n floats, whole vectors first and the rest at the end, with one body for both:
//
//   sweep(n, [&](int64_t i, auto at) { at.put(y + i, silu(at.get(x + i))); });
//
// `at` is Whole or First: how many lanes there are from i on. Lanes past the end read as 0 (or as what is given).
#pragma once
#include "vector.h"

namespace lenggen::LENGGEN_ISA {

struct Whole {
  __attribute__((always_inline)) vf get(const float* p) const { return load(p); }
  __attribute__((always_inline)) vf get(const float* p, vf) const { return load(p); }
  __attribute__((always_inline)) void put(float* p, vf v) const { store(p, v); }
  // v, with zeros in lanes past the end.
  __attribute__((always_inline)) vf keep(vf v) const { return v; }
};

struct First {
  int64_t n;
  __attribute__((always_inline)) vf get(const float* p) const { return loadFirst(p, n); }
  __attribute__((always_inline)) vf get(const float* p, vf past) const { return select(mask(), loadFirst(p, n), past); }
  __attribute__((always_inline)) void put(float* p, vf v) const { storeFirst(p, v, n); }
  __attribute__((always_inline)) vf keep(vf v) const { return select(mask(), v, zero()); }
  __attribute__((always_inline)) vi mask() const { return lanes() < static_cast<int32_t>(n); }
};

template <typename Body>
LENGGEN_INLINE void sweep(int64_t n, const Body& body) {
  int64_t i = 0;
  for (; i + WIDTH <= n; i += WIDTH) body(i, Whole{});
  if (i < n) body(i, First{n - i});
}

// The sum of `term(i, at)` over all lanes; terms past the end must be 0. Four sums run side by side, which hides
// the latency of additions and keeps each sum short.
template <typename Term>
LENGGEN_INLINE float sumOver(int64_t n, const Term& term) {
  vf a = zero(), b = zero(), c = zero(), d = zero();
  int64_t i = 0;
  for (; i + 4 * WIDTH <= n; i += 4 * WIDTH) {
    a += term(i, Whole{});
    b += term(i + WIDTH, Whole{});
    c += term(i + 2 * WIDTH, Whole{});
    d += term(i + 3 * WIDTH, Whole{});
  }
  for (; i + WIDTH <= n; i += WIDTH) a += term(i, Whole{});
  if (i < n) b += term(i, First{n - i});
  return sum((a + b) + (c + d));
}

}  // namespace lenggen::LENGGEN_ISA
