// What the two halves of linear attention with a decay per channel share (gatedLinearAttention.cpp, gatedLinearAttentionGradient.cpp):
// sizes, addresses, and the rows of a chunk.
#pragma once
#include "channelDecay.h"
#include "gemmThen.h"
#include "signatures/gatedLinearAttention.h"

namespace lenggen {
namespace LENGGEN_ISA {
namespace {

constexpr int64_t MAX_CHUNK = 256;

struct Sizes {
  int64_t batch, time, heads, keySize, valueSize, chunk;
  template <typename Args>
  explicit Sizes(const Args& args)
      : batch(args.batch), time(args.time), heads(args.heads), keySize(args.keySize), valueSize(args.valueSize), chunk(args.chunk) {}
  int64_t chunks() const { return (time + chunk - 1) / chunk; }
  int64_t length(int64_t c) const { return std::min(chunk, time - c * chunk); }  // of chunk c
  int64_t state() const { return keySize * valueSize; }                           // floats in one head's state
  // Rows of scratch matrices [.,chunk], [.,K], [.,V].
  int64_t chunkRow() const { return padded(chunk); }
  int64_t keyRow() const { return padded(keySize); }
  int64_t valueRow() const { return padded(valueSize); }
  // Floats between neighbouring steps of q, k, a and of v, y.
  int64_t keyStride() const { return heads * keySize; }
  int64_t valueStride() const { return heads * valueSize; }
  // Where chunk c of row = b · heads + h starts there, and the state of `row` before chunk c.
  int64_t key(int64_t row, int64_t c) const { return ((row / heads * time + c * chunk) * heads + row % heads) * keySize; }
  int64_t value(int64_t row, int64_t c) const { return ((row / heads * time + c * chunk) * heads + row % heads) * valueSize; }
  int64_t start(int64_t row, int64_t c) const { return (row * chunks() + c) * state(); }
};

// How heads are dealt out to threads: where there are fewer than threads, the columns of the state are too, each of which depends on no
// other. What all columns share is then computed several times. Changes no number.
struct Slices {
  int64_t count, columns;
  Slices(const Sizes& s, int threads) {
    constexpr int64_t NARROWEST = 64;
    // At least one head and one column: sizes may be 0.
    const int64_t heads = std::max<int64_t>(1, s.batch * s.heads), values = std::max<int64_t>(1, s.valueSize);
    const int64_t wanted = (threads + heads - 1) / heads, most = std::max<int64_t>(1, values / NARROWEST);
    columns = padded((values + std::min(wanted, most) - 1) / std::min(wanted, most));
    count = (values + columns - 1) / columns;
  }
};

template <typename Args>
void checkSizes(const Args& args) {
  require(args.chunk >= 1 && args.chunk <= MAX_CHUNK, "a chunk has 1 ... 256 steps");
}

// With rows of `row` floats: to[i] = (A·B)[i] + factor[i] from[i]; `from` may be `to`, or nullptr for zeros.
struct AddDecayed {
  const float* factor;
  const float* from;
  float* to;
  int64_t row;
  template <int ROWS, int VECTORS>
  void operator()(int64_t i, int64_t j, const vf (&sums)[ROWS][VECTORS], int64_t last) const {
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; r++) {
#pragma GCC unroll 2
      for (int v = 0; v < VECTORS; v++) {
        const int64_t at = (i + r) * row + j + v * WIDTH;
        if (v < VECTORS - 1 || last == WIDTH) store(to + at, from ? sums[r][v] + load(from + at) * factor[i + r] : sums[r][v]);
        else storeFirst(to + at, from ? sums[r][v] + loadFirst(from + at, last) * factor[i + r] : sums[r][v], last);
      }
    }
  }
};

// What a chunk's products are made of, for one head: q (with the scale) and k as they are, and decayed.
struct KeyRows {
  ChannelDecays decays;
  float *q, *k;            // [chunk,keyRow]
  float *fromBorder, *kept;  // q_t D(t, border), and k_u D(., u), carried from border to border

  static int64_t floats(const Sizes& s) { return ChannelDecays::floats(s.keySize, s.chunk) + 4 * s.chunk * s.keyRow(); }
  KeyRows(Arena& arena, const Sizes& s) : decays(arena, s.keySize, s.chunk) {
    for (float** rows : {&q, &k, &fromBorder, &kept}) *rows = arena.take(s.chunk * s.keyRow());
  }

  template <typename Args>
  void set(const Args& f, const Sizes& s, int64_t row, int64_t c, Reads reads) {
    const int64_t at = s.key(row, c), length = s.length(c);
    decays.set(f.a + at, s.keyStride(), length);
    copyRows(f.q + at, s.keyStride(), length, s.keySize, f.scale, q);
    copyRows(f.k + at, s.keyStride(), length, s.keySize, 1.0f, k);
    LENGGEN_ISA::fromBorder(decays, q, reads, fromBorder);
    toBorder(decays, k, kept);
  }
};

}  // namespace
}  // namespace LENGGEN_ISA
}  // namespace lenggen
