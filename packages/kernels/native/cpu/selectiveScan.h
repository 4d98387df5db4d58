// What the two halves of the selective scan share (selectiveScan.cpp, selectiveScanGradient.cpp): sizes, addresses, blocks of channels.
//
// Lanes are channels. A block of at most BLOCK channels of one group walks along time by itself, by chunks, and in a chunk one vector of
// channels after another: what it needs of a chunk, [steps,WIDTH], stays in the first cache meanwhile. States of a block are
// [vectors,N,WIDTH]. Lanes past the last channel are zeros.
#pragma once
#include <algorithm>

#include "arena.h"
#include "kernel.h"
#include "signatures/selectiveScan.h"
#include "vector.h"

namespace lenggen {
namespace LENGGEN_ISA {
namespace {

constexpr int64_t MAX_CHUNK = 256;
constexpr int64_t BLOCK = 64;

// States of a vector of channels that are walked along a chunk together, in registers.
constexpr int TILE = 4;

// Rates are multiplied by it, so that decays are powers of 2.
constexpr float LOG2E = 1.44269504088896341f;
constexpr float LN2 = 0.693147180559945309f;

struct ScanSizes {
  int64_t batch, steps, channels, groups, stateSize, chunk;
  template <typename Args>
  explicit ScanSizes(const Args& args)
      : batch(args.batch), steps(args.time), channels(args.channels), groups(args.groups), stateSize(args.stateSize), chunk(args.chunk) {}
  int64_t chunks() const { return (steps + chunk - 1) / chunk; }
  int64_t length(int64_t k) const { return std::min(chunk, steps - k * chunk); }  // of chunk k
  int64_t sharedRow() const { return groups * stateSize; }
  // Where sequence b starts at step t: channel d of x, dt and y; group g of b and c.
  int64_t scalar(int64_t b, int64_t t, int64_t d) const { return (b * steps + t) * channels + d; }
  int64_t shared(int64_t b, int64_t t, int64_t g) const { return ((b * steps + t) * groups + g) * stateSize; }
};

template <typename Args>
void checkScan(const Args& args) {
  require(args.chunk >= 1 && args.chunk <= MAX_CHUNK, "a chunk has 1 ... 256 steps");
  require(args.groups >= 1 && args.channels % args.groups == 0, "groups must divide channels");
}

// How the channels of a group are cut into blocks: by the shapes alone, since gradients of b and c are summed block by block.
struct Blocks {
  int64_t perGroup, channelsPerGroup, sixteens;
  explicit Blocks(const ScanSizes& s) : channelsPerGroup(s.channels / s.groups), sixteens((channelsPerGroup + 15) / 16) {
    perGroup = (channelsPerGroup + BLOCK - 1) / BLOCK;
  }
  int64_t border(int64_t i) const { return std::min(channelsPerGroup, sixteens * i / perGroup * 16); }
};

// One block of one sequence's channels.
struct Place {
  int64_t batch, group, block, first, count, vectors;
  Place(const ScanSizes& s, const Blocks& blocks, int64_t item)
      : batch(item / (s.groups * blocks.perGroup)), group(item / blocks.perGroup % s.groups), block(item % blocks.perGroup),
        first(group * blocks.channelsPerGroup + blocks.border(block)),
        count(blocks.border(block + 1) - blocks.border(block)), vectors((count + WIDTH - 1) / WIDTH) {}
  // Channels of vector v.
  int64_t lanes(int64_t v) const { return std::min<int64_t>(WIDTH, count - v * WIDTH); }
  // Where the states [N,lanes] of vector v before chunk k are kept: those of a block one after another, as it comes to them.
  int64_t start(const ScanSizes& s, int64_t k, int64_t v) const {
    return ((batch * s.channels + first) * s.chunks() + k * count + v * WIDTH) * s.stateSize;
  }
};

// [count,N] of channels in memory, as vectors [vectors,rows,WIDTH] times a factor; zeros for nullptr and for what is not there.
inline void gatherStates(const float* from, const Place& p, int64_t N, int64_t rows, float factor, float* to) {
  std::fill(to, to + p.vectors * rows * WIDTH, 0.0f);
  for (int64_t i = 0; i < p.count && from; i++)
    for (int64_t n = 0; n < N; n++) to[(i / WIDTH * rows + n) * WIDTH + i % WIDTH] = from[i * N + n] * factor;
}
inline void scatterStates(const float* from, const Place& p, int64_t N, int64_t rows, float* to) {
  for (int64_t i = 0; i < p.count; i++)
    for (int64_t n = 0; n < N; n++) to[i * N + n] = from[(i / WIDTH * rows + n) * WIDTH + i % WIDTH];
}

// A product that is not fused with what is added to it: exp2 adds twice, and would be a multiply-add longer.
LENGGEN_INLINE vf unfused(vf a, vf b) {
  vf product = a * b;
#if defined(__AVX512F__)
  __asm__("" : "+v"(product));
#elif defined(__x86_64__)
  __asm__("" : "+x"(product));
#elif defined(__aarch64__)
  __asm__("" : "+w"(product));
#endif
  return product;
}

// Rows of a chunk that the next one will need: asked for one by one, a line a step.
struct Ahead {
  const float* row;
  int64_t stride;
  void at(int64_t t) const { __builtin_prefetch(row + t * stride, 0, 2); }
};

}  // namespace
}  // namespace LENGGEN_ISA
}  // namespace lenggen
