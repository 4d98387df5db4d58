// Chunk attention, forward: src/ops/chunkAttention.ts says what it computes. An item of work is a tile of queries and a
// key head (chunkAttention.h). For each of its slots, with scale in q:
//   zᵀ = keys qᵀ   [S, rows]      p = exp(z - max) down the columns      out += w / Σ p · (p values)   [rows, D]
// A few queries, as in generation, take dot products instead: a vector of queries would be mostly empty.
#include "chunkAttention.h"
#include "families.h"

namespace lenggen::LENGGEN_ISA {
namespace {

struct Forward : ChunkAttentionInputs {
  float *out, *logSums;
  explicit Forward(const ChunkAttentionArgs& args) : ChunkAttentionInputs(args), out(args.out), logSums(args.logSums) {}
};

// Stores the scores, and keeps the largest of each column.
struct StoreMax {
  float *to, *largest;
  int64_t row;
  template <int ROWS, int VECTORS>
  void operator()(int64_t i, int64_t j, const vf (&sums)[ROWS][VECTORS], int64_t) const {
#pragma GCC unroll 2
    for (int v = 0; v < VECTORS; v++) {
      const int64_t at = j + v * WIDTH;
      vf top = load(largest + at);
#pragma GCC unroll 16
      for (int r = 0; r < ROWS; r++) {
        store(to + (i + r) * row + at, sums[r][v]);
        top = max(top, sums[r][v]);
      }
      store(largest + at, top);
    }
  }
};

// to (+)= factor[i] · A·B
struct AddRows {
  float* to;
  const float* factor;
  int64_t row;
  bool add;
  template <int ROWS, int VECTORS>
  void operator()(int64_t i, int64_t j, const vf (&sums)[ROWS][VECTORS], int64_t) const {
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; r++) {
#pragma GCC unroll 2
      for (int v = 0; v < VECTORS; v++) {
        float* at = to + (i + r) * row + j + v * WIDTH;
        const vf value = sums[r][v] * factor[i + r];
        store(at, add ? load(at) + value : value);
      }
    }
  }
};

// Working memory for one tile.
struct Workspace {
  int64_t width;  // rows of a tile, as lanes
  float *rows, *turned, *scores, *largest, *factor, *logSums, *out;
  static int64_t floats(const ChunkAttentionSizes& s, int64_t width) {
    return width * (2 * s.vectorRow() + s.headSize + padded(s.chunkSize) + 3);
  }
  Workspace(Arena& arena, const ChunkAttentionSizes& s, int64_t width)
      : width(width),
        rows(arena.take(width * s.vectorRow())),
        turned(arena.take(s.headSize * width)),
        scores(arena.take(width * padded(s.chunkSize))),
        largest(arena.take(width)), factor(arena.take(width)), logSums(arena.take(width)), out(arena.take(width * s.vectorRow())) {}
};

// Scores become exponentials; factor = w / Σ, and the logarithms of the sums.
void softmaxColumns(const ChunkAttentionSizes& s, const Workspace& w, int64_t rows, int64_t length, float weight, bool wanted) {
  for (int64_t j = 0; j < rows; j += WIDTH) {
    const vf top = load(w.largest + j);
    vf total = s.offByOne ? exp(-top) : zero();
    float* column = w.scores + j;
    for (int64_t i = 0; i < length; i++, column += w.width) {
      const vf e = exp(load(column) - top);
      store(column, e);
      total += e;
    }
    store(w.factor + j, weight / total);
    if (wanted) store(w.logSums + j, top + log(total));
  }
}

// One slot of a tile.
void attend(const Forward& f, const QueryTile& tile, const Workspace& w, const Visit& visit, bool add, Ahead& ahead) {
  const ChunkAttentionSizes& s = f.s;
  const int64_t D = s.headSize, row = s.positionRow(), length = visit.length;
  const float weight = f.weights[visit.slot];
  std::fill(w.largest, w.largest + w.width, s.offByOne ? 0.0f : -std::numeric_limits<float>::infinity());
  chunkProduct(length, tile.rows, D, {f.keys + visit.memory, row, 1}, w.turned, w.width, StoreMax{w.scores, w.largest, w.width}, &ahead);
  softmaxColumns(s, w, tile.rows, length, weight, f.logSums != nullptr);
  chunkProduct<true>(tile.rows, D, length, {w.scores, 1, w.width}, f.values + visit.memory, row,
      AddRows{w.out, w.factor, s.vectorRow(), add}, &ahead);
}

// The same for up to DOT_ROWS queries.
void attendFew(const Forward& f, const QueryTile& tile, const Workspace& w, const Visit& visit, bool add) {
  const ChunkAttentionSizes& s = f.s;
  const int64_t D = s.headSize, row = s.positionRow(), length = visit.length, stride = padded(s.chunkSize);
  for (int64_t i = 0; i < length; i++)
    for (int64_t d = 0; d < D; d += 16) __builtin_prefetch(f.values + visit.memory + i * row + d);
  gemmSingle(nullptr, tile.rows, length, D, {w.rows, s.vectorRow(), 1}, {f.keys + visit.memory, 1, row}, w.scores, stride, false);
  for (int64_t r = 0; r < tile.rows; r++) {
    float* p = w.scores + r * stride;
    float top = s.offByOne ? 0.0f : p[0];
    for (int64_t i = 0; i < length; i++) top = std::max(top, p[i]);
    vf total = zero();
    for (int64_t i = 0; i < length; i += WIDTH) {
      const vi counts = lanes() < static_cast<int32_t>(std::min<int64_t>(WIDTH, length - i));
      const vf e = select(counts, exp(load(p + i) - top), zero());
      store(p + i, e);
      total += e;
    }
    const float all = sum(total) + (s.offByOne ? exp(broadcast(-top))[0] : 0.0f), factor = f.weights[visit.slot] / all;
    for (int64_t i = 0; i < length; i += WIDTH) store(p + i, load(p + i) * factor);
    w.logSums[r] = top + log(broadcast(all))[0];
  }
  gemmSmall(tile.rows, D, length, {w.scores, stride, 1}, f.values + visit.memory, row, w.out, s.vectorRow(), add);
}

// All slots of a tile. next: what this thread probably does after it.
void attendTile(const Forward& f, const QueryTile& tile, int64_t keyHead, const QueryTile* next, int64_t nextHead, float* scratch) {
  const ChunkAttentionSizes& s = f.s;
  Arena arena(scratch);
  const Workspace w(arena, s, padded(tile.rows));
  const bool few = tile.rows <= DOT_ROWS;
  gatherRows(f, tile, keyHead, f.q, s.scale, w.rows, few ? nullptr : w.turned, w.width);
  bool any = false;
  for (int64_t k = 0; k < s.slots; k++) {
    Visit visit, later;
    if (!f.visit(tile, keyHead, k, visit)) continue;
    if (few) {
      attendFew(f, tile, w, visit, any);
    } else {
      Ahead ahead;
      if (f.following(tile, keyHead, k, next, nextHead, later)) askChunk(ahead, f, later, f.keys), askChunk(ahead, f, later, f.values);
      if (k + 1 == s.slots) {
        askRows(ahead, f, tile, keyHead, f.out);
        if (next) askRows(ahead, f, *next, nextHead, f.q), askSums(ahead, f, *next, nextHead, f.logSums);
      }
      ahead.spread(stepsOf(visit.length, tile.rows, s.headSize) + stepsOf(tile.rows, s.headSize, visit.length));
      attend(f, tile, w, visit, any, ahead);
    }
    if (f.logSums) std::copy(w.logSums, w.logSums + tile.rows, f.logSums + f.sums(tile, keyHead, k));
    any = true;
  }
  scatterRows(f, tile, keyHead, any ? w.out : nullptr, 1, f.out);
}

void runForward(const ChunkAttentionArgs& args, Pool& pool) {
  const Forward f(args);
  const std::vector<QueryTile> tiles = f.tiles(f.out);
  const int64_t count = static_cast<int64_t>(tiles.size()), heads = f.s.keyHeads;
  pool.parallel(count * heads, [&](int64_t item, int worker) {
    const QueryTile& tile = tiles[static_cast<size_t>(item / heads)];
    const bool more = item + 1 < count * heads;
    attendTile(f, tile, item % heads, more ? &tiles[static_cast<size_t>((item + 1) / heads)] : nullptr, (item + 1) % heads,
               pool.scratch(worker, Workspace::floats(f.s, padded(tile.rows))));
  });
}

}  // namespace

extern const Kernel chunkAttentionKernels[] = {
    kernel<ChunkAttentionArgs, runForward, checkChunkAttention>(),
    {nullptr, nullptr, nullptr},
};

}  // namespace lenggen::LENGGEN_ISA
