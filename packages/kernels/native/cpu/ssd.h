// What the two halves of the chunked scan share (ssd.cpp, ssdGradient.cpp): sizes, addresses, and the decays of a chunk.
//
// States travel transposed, [N,P] instead of [P,N]: then all products of a chunk have P or the chunk's steps as their
// contiguous axis, and every operand is read as `gemmSmall` (gemm.h) likes it.
#pragma once
#include <algorithm>

#include "arena.h"
#include "gemm.h"
#include "signatures/ssd.h"

namespace lenggen {
namespace LENGGEN_ISA {
namespace {

constexpr int64_t MAX_CHUNK = 256;

struct SsdSizes {
  int64_t batch, time, heads, headSize, groups, stateSize, chunk;
  template <typename Args>
  explicit SsdSizes(const Args& args)
      : batch(args.batch), time(args.time), heads(args.heads), headSize(args.headSize), groups(args.groups), stateSize(args.stateSize),
        chunk(args.chunk) {}
  int64_t chunks() const { return (time + chunk - 1) / chunk; }
  int64_t length(int64_t k) const { return std::min(chunk, time - k * chunk); }  // of chunk k
  int64_t headsPerGroup() const { return heads / groups; }
  int64_t state() const { return headSize * stateSize; }  // floats in one head's state
  // Rows of scratch matrices [.,chunk] and [.,P].
  int64_t chunkRow() const { return padded(chunk); }
  int64_t valueRow() const { return padded(headSize); }
  // Floats between neighbouring steps.
  int64_t vectorRow() const { return heads * headSize; }
  int64_t sharedRow() const { return groups * stateSize; }
  // Where sequence b, chunk k starts: head h in x and y; head h in dt and a (steps are `heads` apart); group g in b and c.
  int64_t vector(int64_t b, int64_t k, int64_t h) const { return ((b * time + k * chunk) * heads + h) * headSize; }
  int64_t scalar(int64_t b, int64_t k, int64_t h) const { return (b * time + k * chunk) * heads + h; }
  int64_t shared(int64_t b, int64_t k, int64_t g) const { return ((b * time + k * chunk) * groups + g) * stateSize; }
};

// How heads are dealt out to threads where each walks along time. Neighbours go together, since they read the same pages and the same
// b and c; but no fewer blocks than keep the threads busy. Changes no number.
struct HeadBlocks {
  int64_t heads, perSequence, count;
  HeadBlocks(const SsdSizes& s, int threads) : heads(s.heads) {
    constexpr int64_t WANTED = 8;
    const int64_t largest = std::max<int64_t>(1, std::min(WANTED, s.batch * s.heads / (3 * threads)));
    perSequence = (heads + largest - 1) / largest;
    count = s.batch * perSequence;
  }
  int64_t batch(int64_t item) const { return item / perSequence; }
  int64_t first(int64_t item) const { return heads * (item % perSequence) / perSequence; }
  int64_t end(int64_t item) const { return heads * (item % perSequence + 1) / perSequence; }
};

template <typename Args>
void checkSsd(const Args& args) {
  require(args.chunk >= 1 && args.chunk <= MAX_CHUNK, "a chunk has 1 ... 256 steps");
  require(args.groups >= 1 && args.heads % args.groups == 0, "groups must divide heads");
}

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

}  // namespace
}  // namespace LENGGEN_ISA
}  // namespace lenggen
