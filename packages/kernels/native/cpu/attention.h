// What the two halves of attention share (attention.cpp, attentionGradient.cpp): sizes, tiles of queries, and the blocks of keys that
// a tile sees.
//
// Scores stand as [keys, queries]: then queries lie side by side in vectors, softmax runs down the columns without any sum across
// lanes, and products read keys and values where they are. The query heads that share a key head stand side by side as well.
#pragma once
#include <algorithm>

#include "arena.h"
#include "gemm.h"
#include "signatures/attention.h"

namespace lenggen {
namespace LENGGEN_ISA {
namespace {

// Columns of a tile: queries, each with all heads that share a key head (as far as they fit).
constexpr int64_t COLUMNS = 64;
// Keys of a block that all columns see, and of one that only some see: smaller, so that less is computed in vain.
constexpr int64_t BLOCK = 128;
constexpr int64_t STRIP = 32;

struct AttentionSizes {
  int64_t batch, time, keys, heads, keyHeads, headSize;
  bool causal;
  int64_t window;
  float scale;
  template <typename Args>
  explicit AttentionSizes(const Args& args)
      : batch(args.batch), time(args.time), keys(args.keys), heads(args.heads), keyHeads(args.keyHeads), headSize(args.headSize),
        causal(args.causal), window(args.window), scale(args.scale) {}
  // Query heads that share a key head.
  int64_t share() const { return heads / keyHeads; }
  // Position of query 0 among the keys.
  int64_t offset() const { return keys - time; }
  // Floats between neighbouring positions.
  int64_t queryRow() const { return heads * headSize; }
  int64_t keyRow() const { return keyHeads * headSize; }
  // Where a key head of sequence b starts at key j; where row (t, head) of the queries has its scalar, and its vector.
  int64_t key(int64_t b, int64_t j, int64_t head) const { return ((b * keys + j) * keyHeads + head) * headSize; }
  int64_t scalar(int64_t b, int64_t t, int64_t head) const { return (b * time + t) * heads + head; }
  int64_t vector(int64_t b, int64_t t, int64_t head) const { return scalar(b, t, head) * headSize; }
  // Rows of scratch matrices [., D].
  int64_t vectorRow() const { return padded(headSize); }
  // Positions of sequence b that count.
  int64_t length(const int32_t* lengths, int64_t b) const { return lengths ? std::clamp<int64_t>(lengths[b], 0, keys) : keys; }
};

template <typename Args>
void checkAttention(const Args& args) {
  require(args.keyHeads >= 1 && args.heads >= 1 && args.heads % args.keyHeads == 0, "heads of keys must divide those of queries");
  require(args.keys >= args.time, "needs as many keys as queries");
  require(args.window >= 1 && args.keys < INT32_MAX, "a window has at least one key, and positions are 32-bit numbers");
  require(args.lengths == nullptr || args.time == args.keys, "with lengths there must be as many keys as queries");
}

// Some neighbouring columns of one sequence and key head. Column c is query (first + c) / share, head (first + c) % share of
// those that share the key head. Columns past `count`, up to a whole vector, stand for no query: their numbers are finite and unused.
struct Tile {
  int64_t batch, keyHead, first, count;
  int64_t low, high;  // positions of the first query and the last
  int32_t position[COLUMNS];
  float slope[COLUMNS];
  bool sloped;

  // Columns [first, first + count), all of queries that count.
  Tile(const AttentionSizes& s, const float* slopes, int64_t batch, int64_t keyHead, int64_t first, int64_t count)
      : batch(batch), keyHead(keyHead), first(first), count(count), low(s.offset() + first / s.share()),
        high(s.offset() + (first + count - 1) / s.share()), sloped(slopes != nullptr) {
    for (int64_t c = 0; c < width(); c++) {
      const int64_t column = first + std::min(c, count - 1);
      position[c] = static_cast<int32_t>(s.offset() + column / s.share());
      slope[c] = slopes ? slopes[keyHead * s.share() + column % s.share()] : 0.0f;
    }
  }
  // In whole vectors.
  int64_t width() const { return (count + WIDTH - 1) / WIDTH * WIDTH; }
  int64_t query(const AttentionSizes& s, int64_t c) const { return (first + c) / s.share(); }
  int64_t head(const AttentionSizes& s, int64_t c) const { return keyHead * s.share() + (first + c) % s.share(); }
};

// Keys [first, first + count), of which columns [from, to) (whole vectors) see some, or `all` columns all.
struct Block {
  int64_t first, count, from, to;
  bool all;
};

// Calls body(block) for the keys in [low, high) that the tile sees, in order.
template <typename Body>
void eachBlock(const AttentionSizes& s, const Tile& tile, int64_t low, int64_t high, const Body& body) {
  if (!s.causal) {
    for (int64_t j = low; j < high; j += BLOCK) body(Block{j, std::min(BLOCK, high - j), 0, tile.width(), true});
    return;
  }
  low = std::max(low, tile.low - s.window + 1);
  high = std::min(high, tile.high + 1);
  const int64_t innerLow = tile.high - s.window + 1, innerHigh = tile.low + 1;  // keys that all see, if innerLow < innerHigh
  for (int64_t j = low; j < high;) {
    if (j >= innerLow && j < innerHigh) {
      const int64_t count = std::min(BLOCK, std::min(high, innerHigh) - j);
      body(Block{j, count, 0, tile.width(), true});
      j += count;
      continue;
    }
    const int64_t end = j < innerLow && innerLow < innerHigh ? std::min(high, innerLow) : high;
    const int64_t count = std::min(STRIP, end - j);
    const int64_t firstQuery = std::max(tile.low, j) - s.offset(), lastQuery = std::min(tile.high, j + count + s.window - 2) - s.offset();
    const int64_t from = std::max<int64_t>(0, firstQuery * s.share() - tile.first) / WIDTH * WIDTH;
    const int64_t to = std::min(tile.width(), ((lastQuery + 1) * s.share() - tile.first + WIDTH - 1) / WIDTH * WIDTH);
    body(Block{j, count, from, to, false});
    j += count;
  }
}

// What a score becomes before the softmax, for one vector of columns: less the slope times the distance.
struct Bias {
  vi position;
  vf slope;
  bool sloped, causal;
  int32_t window;
  Bias(const AttentionSizes& s, const Tile& tile, int64_t c)
      : position(load(tile.position + c)), slope(load(tile.slope + c)), sloped(tile.sloped), causal(s.causal),
        window(static_cast<int32_t>(std::min<int64_t>(s.window, INT32_MAX))) {}
  vf operator()(vf score, int64_t key) const {
    if (!sloped) return score;
    return score - slope * abs(toFloat(position - static_cast<int32_t>(key)));
  }
  // Which columns see the key.
  vi seen(int64_t key) const {
    const vi distance = position - static_cast<int32_t>(key);
    return (distance >= 0) & (distance < window);
  }
};

// Gathers the columns' rows of x [B,T,Hq,D], times `factor`, into rows [width, padded D] with zeros past `count`.
inline void gatherRows(const AttentionSizes& s, const Tile& tile, const float* x, float factor, float* rows) {
  for (int64_t c = 0; c < tile.width(); c++, rows += s.vectorRow()) {
    if (c >= tile.count) {
      std::fill(rows, rows + s.headSize, 0.0f);
      continue;
    }
    const float* from = x + s.vector(tile.batch, tile.query(s, c), tile.head(s, c));
    for (int64_t n = 0; n < s.headSize; n += WIDTH) {
      const int64_t count = std::min<int64_t>(WIDTH, s.headSize - n);
      storeFirst(rows + n, loadFirst(from + n, count) * factor, count);
    }
  }
}

// How tiles are counted: every sequence and key head has as many.
struct Tiles {
  int64_t perHead, count;
  explicit Tiles(const AttentionSizes& s) : perHead((s.time * s.share() + COLUMNS - 1) / COLUMNS), count(s.batch * s.keyHeads * perHead) {}
};

}  // namespace
}  // namespace LENGGEN_ISA
}  // namespace lenggen
