// What the two halves of the chunked scan share (ssd.cpp, ssdGradient.cpp): sizes and addresses.
//
// States travel transposed, [N,P] instead of [P,N]: then all products of a chunk have P or the chunk's steps as their
// contiguous axis, and every operand is read as `gemmSmall` (gemm.h) likes it.
#pragma once
#include <algorithm>

#include "decays.h"
#include "gemm.h"
#include "signatures/ssd.h"

namespace lenggen {
namespace LENGGEN_ISA {
namespace {

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

}  // namespace
}  // namespace LENGGEN_ISA
}  // namespace lenggen
