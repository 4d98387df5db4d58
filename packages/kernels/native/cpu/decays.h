// What scans with one decay a head and step share (ssd, gatedDeltaRule): the decays of a chunk, and small loops over rows.
#pragma once
#include <algorithm>

#include "arena.h"
#include "vector.h"

namespace lenggen {
namespace LENGGEN_ISA {
namespace {

constexpr int64_t MAX_CHUNK = 256;

// The decays of one head in one chunk of up to `chunk` steps. With s(t) = a_1 + ... + a_t inside the chunk:
//   fromStart[t] = exp(s(t)),  toEnd[t] = exp(s(last) - s(t)),  total = exp(s(last)),  between(t, u) = exp(s(t) - s(u)).
// Sums are kept as a float and what it lacks: one step of strong decay must not blur the weak steps after it.
struct Decays {
  float* high;
  float* low;
  float* fromStart;
  float* toEnd;
  float total;

  static int64_t floats(int64_t chunk) { return 4 * padded(chunk); }
  Decays(Arena& arena, int64_t chunk)
      : high(arena.take(chunk)), low(arena.take(chunk)), fromStart(arena.take(chunk)), toEnd(arena.take(chunk)), total(1) {}

  // a: log decays, `stride` apart. Lanes up to the next whole vector are set too.
  void set(const float* a, int64_t stride, int64_t length) {
    double sum = 0;
    const int64_t whole = (length + WIDTH - 1) / WIDTH * WIDTH;
    for (int64_t t = 0; t < whole; t++) {
      // exp(-1000) is 0 already; and minus infinity would give NaN in differences.
      if (t < length) sum += a[t * stride] < -1000.0f ? -1000.0f : a[t * stride];
      high[t] = static_cast<float>(sum);
      low[t] = static_cast<float>(sum - high[t]);
    }
    const float lastHigh = high[length - 1], lastLow = low[length - 1];
    for (int64_t t = 0; t < whole; t += WIDTH) {
      store(fromStart + t, exp(load(high + t)));
      store(toEnd + t, exp((lastHigh - load(high + t)) + (lastLow - load(low + t))));
    }
    total = fromStart[length - 1];
  }

  // exp(s(t) - s(u)) for u = from ... from + WIDTH - 1; lanes with u > t hold rubbish.
  vf between(int64_t t, int64_t from) const { return exp((high[t] - load(high + from)) + (low[t] - load(low + from))); }
};

// M[t,u] = exp(s(t) - s(u)) for u <= t, by blocks of WIDTH rows. Left of its diagonal square a block is a product of
// exp(s(t) - s(first)) and exp(s(first) - s(u)), `first` being the block's first step: a few exponentials instead of
// many. Both factors are at most 1, so that only what is 0 anyway underflows.
class MaskBlock {
 public:
  MaskBlock(const Decays& decays, int64_t first) : decays_(decays), first_(first) {
    for (int64_t u = 0; u < first; u += WIDTH) toFirst_[u / WIDTH] = decays.between(first, u);
    store(fromFirst_, exp((load(decays.high + first) - decays.high[first]) + (load(decays.low + first) - decays.low[first])));
  }
  // Lanes u ... u + WIDTH - 1 of row t, left of the diagonal square (u < first), and in it, where lanes past t hold rubbish.
  vf left(int64_t t, int64_t u) const { return toFirst_[u / WIDTH] * fromFirst_[t - first_]; }
  vf square(int64_t t) const { return decays_.between(t, first_); }

 private:
  const Decays& decays_;
  const int64_t first_;
  vf toFirst_[MAX_CHUNK / WIDTH];
  float fromFirst_[WIDTH];
};

// to[i] = from[i] · factor for i < n; `to` may be `from`.
inline void scaled(const float* from, float* to, float factor, int64_t n) {
  int64_t i = 0;
  for (; i + WIDTH <= n; i += WIDTH) store(to + i, load(from + i) * factor);
  if (i < n) storeFirst(to + i, loadFirst(from + i, n - i) * factor, n - i);
}

// Asks for `n` floats that will be read or written soon. Neighbouring steps of one head lie on different pages, which the
// processor does not foresee.
inline void prefetch(const float* from, int64_t n) {
  for (int64_t i = 0; i < n; i += 16) __builtin_prefetch(from + i, 0, 2);
}
inline void prefetchWrite(const float* to, int64_t n) {
  for (int64_t i = 0; i < n; i += 16) __builtin_prefetch(to + i, 1, 2);
}

inline float dot(const float* x, const float* y, int64_t n) {
  vf sums[4] = {};
  int64_t i = 0;
  for (; i + 4 * WIDTH <= n; i += 4 * WIDTH)
    for (int v = 0; v < 4; v++) sums[v] += load(x + i + v * WIDTH) * load(y + i + v * WIDTH);
  for (; i < n; i += WIDTH) {
    const int64_t count = std::min<int64_t>(WIDTH, n - i);
    sums[0] += loadFirst(x + i, count) * loadFirst(y + i, count);
  }
  return sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

// What the gradient of a chunk's log decays is made of, per step: the row and column sums of Q below the diagonal, Q[t,u] being the
// derivative by s(t) - s(u), and those by s(t) through the state at the start and by s(last) - s(t) through the one at the end.
struct DecaySums {
  const float *columns, *rows, *throughStart, *throughEnd;
};

// da of one chunk; `carried` is exp(s(last)) ⟨E,S⟩.
inline void writeDecayGradient(const DecaySums& w, double carried, int64_t length, int64_t stride, float* da) {
  double before = 0;  // Σ_{u<j} of the term through E
  for (int64_t j = 0; j < length; j++) {
    da[j * stride] = static_cast<float>(before + carried);
    before += w.throughEnd[j];
  }
  double inside = 0, after = 0;  // R_j, and Σ_{t>=j} of the term through S
  for (int64_t j = length - 1; j >= 0; j--) {
    inside += static_cast<double>(w.rows[j]) - w.columns[j];
    after += w.throughStart[j];
    da[j * stride] = static_cast<float>(da[j * stride] + inside + after);
  }
}

}  // namespace
}  // namespace LENGGEN_ISA
}  // namespace lenggen
