// What the two halves of chunk attention share (chunkAttention.cpp, chunkAttentionGradient.cpp): sizes, addresses, which queries
// are worked on together, and what they visit. Names: src/ops/chunkAttention.ts.
//
// The queries of a block that share a key head are rows of matrices, in tiles of up to 128: row i of a block is head
// i % ratio of its query i / ratio. Scores are computed transposed, [S, rows]: then keys and values are read where they lie,
// row by row or element by element, and the softmax runs down columns, a query a lane.
#pragma once
#include <algorithm>
#include <vector>

#include "ahead.h"
#include "arena.h"
#include "gemmThen.h"
#include "signatures/chunkAttention.h"

namespace lenggen {
namespace LENGGEN_ISA {
namespace {

struct ChunkAttentionSizes {
  int64_t batch, queries, heads, keyHeads, headSize, chunks, chunkSize, blocks, slots;
  bool offByOne;
  float scale;
  template <typename Args>
  explicit ChunkAttentionSizes(const Args& args)
      : batch(args.batch), queries(args.queries), heads(args.heads), keyHeads(args.keyHeads), headSize(args.headSize), chunks(args.chunks),
        chunkSize(args.chunkSize), blocks(args.blocks), slots(args.slots), offByOne(args.offByOne), scale(args.scale) {}
  int64_t ratio() const { return heads / keyHeads; }
  // Floats between neighbouring positions of a chunk, and in the chunks of one sequence.
  int64_t positionRow() const { return keyHeads * headSize; }
  int64_t memory() const { return chunks * chunkSize * positionRow(); }
  // Rows of scratch matrices [.,D].
  int64_t vectorRow() const { return padded(headSize); }
};

template <typename Args>
void checkChunkAttention(const Args& args) {
  require(args.keyHeads >= 1 && args.heads % args.keyHeads == 0, "key heads must divide heads");
}

// Rows [first, first + rows) of the `all` rows of a block, whose first query is `start`.
struct QueryTile {
  int64_t batch, block, start, all, first, rows;
};

// One slot of a tile that is not empty.
struct Visit {
  int64_t chunk = 0;   // m
  int64_t slot = 0;    // in weights [B,C,K]
  int64_t length = 0;  // positions
  int64_t memory = 0;  // of the tile's key head: in keys [B,M,S,Hk,D]
};

struct ChunkAttentionInputs {
  ChunkAttentionSizes s;
  const float *q, *keys, *values, *weights;
  const int32_t *indices, *offsets, *lengths;
  template <typename Args>
  explicit ChunkAttentionInputs(const Args& args)
      : s(args), q(args.q), keys(args.keys), values(args.values), weights(args.weights), indices(args.indices), offsets(args.offsets),
        lengths(args.lengths) {}

  // Block c of sequence b has the queries from bound(c) to bound(c + 1); a list of C + 1.
  std::vector<int64_t> bounds(int64_t batch) const {
    std::vector<int64_t> result(static_cast<size_t>(s.blocks + 1));
    int64_t least = 0;
    for (int64_t c = 0; c <= s.blocks; c++) {
      least = std::max<int64_t>(least, std::min<int64_t>(s.queries, offsets[batch * (s.blocks + 1) + c]));
      result[static_cast<size_t>(c)] = least;
    }
    return result;
  }

  // All tiles, in the order of sequences, blocks and queries. Queries in no block get zeros in `out` [B,T,Hq,D], if there is one.
  std::vector<QueryTile> tiles(float* out) const {
    // Larger tiles read keys and values less often, but they should stay in a cache of the second level.
    const int64_t most = s.headSize <= 128 ? 128 : 64;
    const int64_t row = s.heads * s.headSize;
    std::vector<QueryTile> result;
    for (int64_t b = 0; b < s.batch; b++) {
      const std::vector<int64_t> bound = bounds(b);
      for (int64_t c = 0; c < s.blocks; c++) {
        const int64_t start = bound[static_cast<size_t>(c)], rows = (bound[static_cast<size_t>(c) + 1] - start) * s.ratio();
        const int64_t count = (rows + most - 1) / most;
        const int64_t step = count > 0 ? padded((rows + count - 1) / count) : 1;
        for (int64_t first = 0; first < rows; first += step) result.push_back({b, c, start, rows, first, std::min(step, rows - first)});
      }
      if (out == nullptr) continue;
      float* sequence = out + b * s.queries * row;
      std::fill(sequence, sequence + bound.front() * row, 0.0f);
      std::fill(sequence + bound.back() * row, sequence + s.queries * row, 0.0f);
    }
    return result;
  }

  // Where row i of a tile lies for a key head in [B,T,Hq].
  int64_t row(const QueryTile& tile, int64_t keyHead, int64_t i) const {
    const int64_t at = tile.first + i, query = tile.start + at / s.ratio();
    return (tile.batch * s.queries + query) * s.heads + keyHead * s.ratio() + at % s.ratio();
  }

  // Where the rows of slot k lie side by side in logSums: [B,T,Hq,K] with the axes of each block in the order Hk, tiles, K, rows.
  int64_t sums(const QueryTile& tile, int64_t keyHead, int64_t k) const {
    return ((tile.batch * s.queries + tile.start) * s.heads + keyHead * tile.all + tile.first) * s.slots + k * tile.rows;
  }

  // Slot k of a tile; false when it is empty.
  bool visit(const QueryTile& tile, int64_t keyHead, int64_t k, Visit& to) const {
    to.slot = (tile.batch * s.blocks + tile.block) * s.slots + k;
    to.chunk = indices[to.slot];
    if (to.chunk < 0 || to.chunk >= s.chunks) return false;
    to.length = length(tile.batch, to.chunk);
    to.memory = tile.batch * s.memory() + to.chunk * s.chunkSize * s.positionRow() + keyHead * s.headSize;
    return to.length > 0;
  }
  // What comes after slot k of a tile: another of its slots, or the first of the next tile (if there is one).
  bool following(const QueryTile& tile, int64_t keyHead, int64_t k, const QueryTile* next, int64_t nextHead, Visit& to) const {
    while (++k < s.slots)
      if (visit(tile, keyHead, k, to)) return true;
    for (k = 0; next != nullptr && k < s.slots; k++)
      if (visit(*next, nextHead, k, to)) return true;
    return false;
  }
  int64_t length(int64_t batch, int64_t chunk) const {
    return lengths == nullptr ? s.chunkSize : std::clamp<int64_t>(lengths[batch * s.chunks + chunk], 0, s.chunkSize);
  }
};

// The rows of a tile from `from` [B,T,Hq,D], times `factor`: as rows [rows, vectorRow], and turned, [D, width]. Lanes
// past the last row get zeros, and so do columns past D.
inline void gatherRows(const ChunkAttentionInputs& f, const QueryTile& tile, int64_t keyHead, const float* from, float factor, float* rows,
                       float* turned, int64_t width) {
  const int64_t D = f.s.headSize, row = f.s.vectorRow();
  for (int64_t i = 0; i < tile.rows; i++) {
    const float* x = from + f.row(tile, keyHead, i) * D;
    int64_t d = 0;
    for (; d + WIDTH <= D; d += WIDTH) store(rows + i * row + d, load(x + d) * factor);
    if (d < D) store(rows + i * row + d, loadFirst(x + d, D - d) * factor);
  }
  if (turned == nullptr) return;
  if (tile.rows < width)
    for (int64_t d = 0; d < D; d++) std::fill(turned + d * width + tile.rows, turned + (d + 1) * width, 0.0f);
  transpose(tile.rows, D, rows, row, turned, width);
}

// The rows of a tile, times `factor`, to their places in `to` [B,T,Hq,D]; zeros when `rows` is nullptr.
inline void scatterRows(const ChunkAttentionInputs& f, const QueryTile& tile, int64_t keyHead, const float* rows, float factor, float* to) {
  const int64_t D = f.s.headSize;
  for (int64_t i = 0; i < tile.rows; i++) {
    float* y = to + f.row(tile, keyHead, i) * D;
    const float* x = rows + i * f.s.vectorRow();
    if (rows == nullptr) {
      std::fill(y, y + D, 0.0f);
      continue;
    }
    int64_t d = 0;
    for (; d + WIDTH <= D; d += WIDTH) store(y + d, load(x + d) * factor);
    if (d < D) storeFirst(y + d, load(x + d) * factor, D - d);
  }
}

// Asks for the rows of a tile in x [B,T,Hq,D].
inline void askRows(Ahead& ahead, const ChunkAttentionInputs& f, const QueryTile& tile, int64_t keyHead, const float* x) {
  const int64_t ratio = f.s.ratio(), queries = (tile.first + tile.rows - 1) / ratio - tile.first / ratio + 1;
  const int64_t row = (tile.batch * f.s.queries + tile.start + tile.first / ratio) * f.s.heads + keyHead * ratio;
  if (x) ahead.add(x + row * f.s.headSize, ratio * f.s.headSize, f.s.heads * f.s.headSize, queries);
}

// Asks for the logarithms of a tile, those of all slots.
inline void askSums(Ahead& ahead, const ChunkAttentionInputs& f, const QueryTile& tile, int64_t keyHead, const float* logSums) {
  if (logSums) ahead.add(logSums + f.sums(tile, keyHead, 0), tile.rows * f.s.slots);
}

// Asks for a chunk's rows in keys, values or their gradients.
inline void askChunk(Ahead& ahead, const ChunkAttentionInputs& f, const Visit& visit, const float* memory) {
  if (memory) ahead.add(memory + visit.memory, f.s.headSize, f.s.positionRow(), visit.length);
}

// Products of a tile with a chunk. What they ask for goes into the first cache: from the second the backward pass was a fifth slower.
template <bool RAGGED = false, typename Finish>
void chunkProduct(int64_t m, int64_t n, int64_t k, Operand a, const float* b, int64_t bRow, const Finish& finish, Ahead* ahead) {
  productThen<RAGGED, 1>(m, n, k, a, b, bRow, finish, ahead);
}

// to (+)= factor · A·B, rows `row` floats apart; what is there is read only when it is added to.
struct AddTimes {
  float* to;
  int64_t row;
  float factor;
  bool add;
  template <int ROWS, int VECTORS>
  void operator()(int64_t i, int64_t j, const vf (&sums)[ROWS][VECTORS], int64_t last) const {
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; r++) {
#pragma GCC unroll 2
      for (int v = 0; v < VECTORS; v++) {
        float* at = to + (i + r) * row + j + v * WIDTH;
        const vf value = sums[r][v] * factor;
        if (v < VECTORS - 1 || last == WIDTH) store(at, add ? load(at) + value : value);
        else storeFirst(at, add ? loadFirst(at, last) + value : value, last);
      }
    }
  }
};

}  // namespace
}  // namespace LENGGEN_ISA
}  // namespace lenggen
