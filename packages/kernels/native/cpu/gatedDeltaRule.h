// What the two halves of the gated delta rule share (gatedDeltaRule.cpp, gatedDeltaRuleGradient.cpp): sizes, addresses and scores.
//
// States travel in panels (deltaTile.h): panel after panel, each with all rows of the key.
#pragma once
#include "decays.h"
#include "deltaTile.h"
#include "signatures/gatedDeltaRule.h"

namespace lenggen {
namespace LENGGEN_ISA {
namespace {

struct GatedSizes {
  int64_t batch, time, keyHeads, heads, keySize, valueSize, chunk;
  template <typename Args>
  explicit GatedSizes(const Args& args)
      : batch(args.batch), time(args.time), keyHeads(args.keyHeads), heads(args.heads), keySize(args.keySize), valueSize(args.valueSize),
        chunk(args.chunk) {}
  int64_t chunks() const { return (time + chunk - 1) / chunk; }
  int64_t length(int64_t c) const { return std::min(chunk, time - c * chunk); }  // of chunk c
  int64_t headsPerKey() const { return heads / keyHeads; }
  int64_t state() const { return keySize * valueSize; }  // floats in one head's state
  int64_t panels() const { return panelsOf(valueSize); }
  int64_t panelState() const { return keySize * PANEL; }
  int64_t chunkRow() const { return padded(panelsOf(chunk) * PANEL); }
  int64_t square() const { return chunk * chunkRow(); }
  // Rows of a chunk's keys in scratch: off the powers of two, which would fall together in a cache.
  int64_t packedRow() const { return padded(keySize) + 16; }
  // Floats between neighbouring steps.
  int64_t keyRow() const { return keyHeads * keySize; }
  int64_t valueRow() const { return heads * valueSize; }
  // Where sequence b, chunk c starts: key head h in q and k; head h in v and y; head h in a and beta (steps are `heads` apart).
  int64_t key(int64_t b, int64_t c, int64_t h) const { return ((b * time + c * chunk) * keyHeads + h) * keySize; }
  int64_t value(int64_t b, int64_t c, int64_t h) const { return ((b * time + c * chunk) * heads + h) * valueSize; }
  int64_t gate(int64_t b, int64_t c, int64_t h) const { return (b * time + c * chunk) * heads + h; }
  // Where the state of a head before chunk c stands in `starts`, and where a panel in a state.
  int64_t start(int64_t b, int64_t h, int64_t c) const { return ((b * heads + h) * chunks() + c) * state(); }
  int64_t panel(int64_t p) const { return p * panelState(); }
  // Scores of all chunks: k_t · k_u and q_t · k_u [B,H,chunks,2,chunk,chunkRow].
  int64_t scores(int64_t b, int64_t h, int64_t c) const { return ((b * keyHeads + h) * chunks() + c) * 2 * square(); }
  int64_t allScores() const { return batch * keyHeads * chunks() * 2 * square(); }
};

template <typename Args>
void checkGated(const Args& args) {
  require(args.chunk >= 1 && args.chunk <= MAX_CHUNK, "a chunk has 1 ... 256 steps");
  require(args.keyHeads >= 1 && args.heads % args.keyHeads == 0, "heads of keys must divide heads");
}

// Scores of all chunks, for u <= t.
template <typename Args>
void computeScores(const Args& f, const GatedSizes& s, float* scores, Pool& pool) {
  const int64_t chunks = s.chunks();
  pool.parallel(s.batch * s.keyHeads * chunks, [&](int64_t item, int worker) {
    const int64_t c = item % chunks, head = item / chunks % s.keyHeads, batch = item / chunks / s.keyHeads;
    const int64_t length = s.length(c), at = s.key(batch, c, head), next = c + 1 < chunks ? s.length(c + 1) : 0;
    float* keysT = pool.scratch(worker, s.keySize * s.chunkRow());
    float* to = scores + s.scores(batch, head, c);
    Ahead ahead;
    ahead.add(f.k + at + length * s.keyRow(), s.keySize, s.keyRow(), next);
    ahead.add(f.q + at + length * s.keyRow(), s.keySize, s.keyRow(), next);
    ahead.spread(stepsOf(length, length, s.keySize));
    transpose(length, s.keySize, f.k + at, s.keyRow(), keysT, s.chunkRow());
    for (const float* rows : {f.k, f.q}) {
      gemmSmall(length, length, s.keySize, {rows + at, s.keyRow(), 1}, keysT, s.chunkRow(), to, s.chunkRow(), false, Skip::LowerC, &ahead);
      to += s.square();
    }
  });
}

// From the scores of a chunk, with M[t,u] = exp(s(t) - s(u)):  keys[t,u] = -(k_t · k_u) M[t,u] rate[u] for u < t, queries[t,u] =
// (q_t · k_u) M[t,u] rate[u] for u <= t; 0 elsewhere. rate: readable up to the next whole vector.
inline void maskScores(const GatedSizes& s, const Decays& decays, const float* scores, const float* rate, int64_t length, float* keys,
                       float* queries) {
  const vi lane = lanes();
  for (int64_t first = 0; first < length; first += WIDTH) {
    const MaskBlock mask(decays, first);
    for (int64_t t = first; t < std::min(length, first + WIDTH); t++) {
      const float *keyScores = scores + t * s.chunkRow(), *queryScores = keyScores + s.square();
      float *keyRow = keys + t * s.chunkRow(), *queryRow = queries + t * s.chunkRow();
      for (int64_t u = 0; u < first; u += WIDTH) {
        const vf factor = mask.left(t, u) * load(rate + u);
        store(keyRow + u, -load(keyScores + u) * factor);
        store(queryRow + u, load(queryScores + u) * factor);
      }
      const vf factor = mask.square(t) * load(rate + first);
      const vi offset = lane - static_cast<int32_t>(t - first);
      store(keyRow + first, select(offset < 0, -load(keyScores + first) * factor, zero()));
      store(queryRow + first, select(offset <= 0, load(queryScores + first) * factor, zero()));
      for (int64_t u = first + WIDTH; u < length; u += WIDTH) store(keyRow + u, zero()), store(queryRow + u, zero());
    }
  }
}

// A chunk's rows of one head, side by side in scratch.
inline void packRows(const float* from, int64_t row, int64_t rows, int64_t columns, float* to, int64_t toRow) {
  for (int64_t t = 0; t < rows; t++, from += row, to += toRow) std::copy_n(from, columns, to);
}

// One value of each step of a head, and zeros up to the next whole vector.
inline void packGates(const float* from, int64_t stride, int64_t length, float* to) {
  for (int64_t t = 0; t < length; t++) to[t] = from[t * stride];
  std::fill(to + length, to + padded(length), 0.0f);
}

}  // namespace
}  // namespace LENGGEN_ISA
}  // namespace lenggen
