// What the two halves of the generalised delta rule share (deltaRule.cpp, deltaRuleGradient.cpp): sizes, addresses, the rows of a chunk and
// their scores. channelDecay.h says how decays are kept apart, deltaTile.h what panels are.
#pragma once
#include "channelDecay.h"
#include "deltaTile.h"
#include "signatures/deltaRule.h"

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
  int64_t state() const { return keySize * valueSize; }                          // floats in one head's state
  int64_t panels() const { return panelsOf(valueSize); }
  int64_t panelState() const { return keySize * PANEL; }
  // Rows of scratch matrices [.,chunk], [.,K], [.,V].
  int64_t chunkRow() const { return padded(chunk); }
  int64_t square() const { return chunk * chunkRow(); }
  int64_t keyRow() const { return padded(keySize); }
  int64_t valueRow() const { return padded(valueSize); }
  // Floats between neighbouring steps of q, k, a, remove, write and of v, y.
  int64_t keyStride() const { return heads * keySize; }
  int64_t valueStride() const { return heads * valueSize; }
  // Where chunk c of row = b · heads + h starts there, and the state of `row` before chunk c.
  int64_t key(int64_t row, int64_t c) const { return ((row / heads * time + c * chunk) * heads + row % heads) * keySize; }
  int64_t value(int64_t row, int64_t c) const { return ((row / heads * time + c * chunk) * heads + row % heads) * valueSize; }
  int64_t start(int64_t row, int64_t c) const { return (row * chunks() + c) * state(); }
};

template <typename Args>
void checkSizes(const Args& args) {
  require(args.chunk >= 1 && args.chunk <= MAX_CHUNK, "a chunk has 1 ... 256 steps");
}

// What a chunk's products are made of, for one head. Rows that read the state: q (with the scale) behind their step and `remove` before it;
// rows that write: k and `write`. As they are, decayed from the border before their sub-chunk, and carried from border to border.
struct KeyRows {
  ChannelDecays decays;
  float *q, *remove, *k, *write;                            // [chunk,keyRow]
  float *queries, *removing, *keptKeys, *keptWrites;        // [chunk,keyRow]

  static int64_t floats(const Sizes& s) { return ChannelDecays::floats(s.keySize, s.chunk) + 8 * s.chunk * s.keyRow(); }
  KeyRows(Arena& arena, const Sizes& s) : decays(arena, s.keySize, s.chunk) {
    for (float** rows : {&q, &remove, &k, &write, &queries, &removing, &keptKeys, &keptWrites}) *rows = arena.take(s.chunk * s.keyRow());
  }

  template <typename Args>
  void set(const Args& f, const Sizes& s, int64_t row, int64_t c) {
    const int64_t at = s.key(row, c), length = s.length(c);
    decays.set(f.a + at, s.keyStride(), length);
    copyRows(f.q + at, s.keyStride(), length, s.keySize, f.scale, q);
    copyRows(f.remove + at, s.keyStride(), length, s.keySize, 1.0f, remove);
    copyRows(f.k + at, s.keyStride(), length, s.keySize, 1.0f, k);
    copyRows(f.write + at, s.keyStride(), length, s.keySize, 1.0f, write);
    fromBorder(decays, q, Reads::inclusive, queries);
    fromBorder(decays, remove, Reads::before, removing);
    toBorder(decays, k, keptKeys);
    toBorder(decays, write, keptWrites);
  }
};

// The scores of a chunk, turned: [u,t] is zero unless u <= t, and of `remove` unless u < t.
struct Scores {
  float *ofKeys, *ofWrites;                  // q_t D(t,u) k_u, q_t D(t,u) write_u
  float *removedKeys, *removedWrites;        // remove_t D(t-1,u) k_u, remove_t D(t-1,u) write_u
  float* turned;

  static int64_t floats(const Sizes& s) { return 4 * s.square() + SUB * s.keyRow(); }
  Scores(Arena& arena, const Sizes& s) {
    for (float** scores : {&ofKeys, &ofWrites, &removedKeys, &removedWrites}) *scores = arena.take(s.square());
    turned = arena.take(SUB * s.keyRow());
  }

  // Leaves the rows that write carried to the chunk's end, and those that read decayed from its start.
  void set(const Sizes& s, KeyRows& rows) {
    const ChannelDecays& d = rows.decays;
    for (int64_t sub = 0; sub < d.subs(); sub++) {
      const auto put = [&](const float* reading, const float* decayed, Reads reads, const float* writing, const float* kept, float* to) {
        scoresBefore(d, sub, decayed, kept, turned, to, s.chunkRow());
        scoresInside(d, sub, reading, writing, reads, to, s.chunkRow());
      };
      put(rows.q, rows.queries, Reads::inclusive, rows.k, rows.keptKeys, ofKeys);
      put(rows.q, rows.queries, Reads::inclusive, rows.write, rows.keptWrites, ofWrites);
      put(rows.remove, rows.removing, Reads::before, rows.k, rows.keptKeys, removedKeys);
      put(rows.remove, rows.removing, Reads::before, rows.write, rows.keptWrites, removedWrites);
      carryOver(d, sub, rows.keptKeys);
      carryOver(d, sub, rows.keptWrites);
    }
    scoresOwn(d, rows.q, rows.k, nullptr, ofKeys, s.chunkRow());
    scoresOwn(d, rows.q, rows.write, nullptr, ofWrites, s.chunkRow());
    fromStart(d, rows.queries);
    fromStart(d, rows.removing);
  }
};

}  // namespace
}  // namespace LENGGEN_ISA
}  // namespace lenggen
