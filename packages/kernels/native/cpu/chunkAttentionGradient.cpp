// The gradient of chunk attention (chunkAttention.cpp). For each tile of queries, key head and slot, with scale in q:
//   zᵀ = keys qᵀ   p = exp(z - logSum)   dpᵀ = values doᵀ   δ = Σ p dp   dz = p (dp - δ)      [S, rows]
//   dq += w · (dz keys)   dkeys += w · (dzᵀ q)   dvalues += w · (pᵀ do)   dw += Σ δ
// The sums over tiles in dkeys and dvalues are taken in the order of tiles and slots, whoever takes them. There are two
// ways, with the same bits:
//   by heads     a thread walks all tiles of one key head of one sequence. Nothing is stored between, but there must be heads enough.
//   by segments  for some tiles at a time, first p and dz of all their slots, then the sums: a thread has one key head
//                of one chunk, and the list of slots that retrieved it.
#include "chunkAttention.h"
#include "families.h"

namespace lenggen::LENGGEN_ISA {
namespace {

struct Gradient : ChunkAttentionInputs {
  const float *logSums, *dout;
  float *dq, *dkeys, *dvalues, *dweights;
  explicit Gradient(const ChunkAttentionGradientArgs& args)
      : ChunkAttentionInputs(args), logSums(args.logSums), dout(args.dout), dq(args.dq), dkeys(args.dkeys), dvalues(args.dvalues),
        dweights(args.dweights) {}
};

// p = exp(A·B - logSum of the column)
struct StoreExp {
  float* to;
  const float* logSums;
  int64_t row;
  template <int ROWS, int VECTORS>
  void operator()(int64_t i, int64_t j, const vf (&sums)[ROWS][VECTORS], int64_t) const {
#pragma GCC unroll 2
    for (int v = 0; v < VECTORS; v++) {
      const vf logSum = load(logSums + j + v * WIDTH);
#pragma GCC unroll 16
      for (int r = 0; r < ROWS; r++) store(to + (i + r) * row + j + v * WIDTH, exp(sums[r][v] - logSum));
    }
  }
};

// Stores dp = A·B; delta += its product with p, down the columns.
struct StoreAndProject {
  float* to;
  const float* p;
  float* delta;
  int64_t row;
  template <int ROWS, int VECTORS>
  void operator()(int64_t i, int64_t j, const vf (&sums)[ROWS][VECTORS], int64_t) const {
#pragma GCC unroll 2
    for (int v = 0; v < VECTORS; v++) {
      vf projection = load(delta + j + v * WIDTH);
#pragma GCC unroll 16
      for (int r = 0; r < ROWS; r++) {
        const int64_t at = (i + r) * row + j + v * WIDTH;
        store(to + at, sums[r][v]);
        projection += sums[r][v] * load(p + at);
      }
      store(delta + j + v * WIDTH, projection);
    }
  }
};

// The rows of one tile, as all its slots use them.
struct Rows {
  float *q, *dout;  // [rows, vectorRow]
  static int64_t floats(const ChunkAttentionSizes& s, int64_t width) { return 2 * width * s.vectorRow(); }
  Rows(Arena& arena, const ChunkAttentionSizes& s, int64_t width)
      : q(arena.take(width * s.vectorRow())), dout(arena.take(width * s.vectorRow())) {}
};

// What one slot leaves for the sums: p and dz [S, width].
struct Pair {
  float *p, *dz;
  static int64_t floats(const ChunkAttentionSizes& s, int64_t width) { return 2 * s.chunkSize * width; }
  Pair(Arena& arena, const ChunkAttentionSizes& s, int64_t width)
      : p(arena.take(s.chunkSize * width)), dz(arena.take(s.chunkSize * width)) {}
};

// Working memory for one tile.
struct Workspace {
  float *qT, *doutT;  // [D, width]
  float *logSums, *delta, *dq;
  static int64_t floats(const ChunkAttentionSizes& s, int64_t width) { return width * (2 * s.headSize + 2 + s.vectorRow()); }
  Workspace(Arena& arena, const ChunkAttentionSizes& s, int64_t width)
      : qT(arena.take(s.headSize * width)), doutT(arena.take(s.headSize * width)),
        logSums(arena.take(width)), delta(arena.take(width)), dq(arena.take(width * s.vectorRow())) {}
};

void prepare(const Gradient& f, const QueryTile& tile, int64_t keyHead, const Rows& rows, const Workspace& w) {
  gatherRows(f, tile, keyHead, f.q, f.s.scale, rows.q, w.qT, padded(tile.rows));
  gatherRows(f, tile, keyHead, f.dout, 1, rows.dout, w.doutT, padded(tile.rows));
}

// p and dz of one slot k, and its part of dq and of dw, which is returned.
float slotGradient(const Gradient& f, const QueryTile& tile, int64_t keyHead, int64_t k, const Visit& visit, const Workspace& w,
    const Pair& pair,
                   bool add, Ahead& ahead) {
  const ChunkAttentionSizes& s = f.s;
  const int64_t D = s.headSize, row = s.positionRow(), width = padded(tile.rows), length = visit.length;
  const float *keys = f.keys + visit.memory, *values = f.values + visit.memory;
  std::fill(w.logSums + tile.rows, w.logSums + width, 0.0f);
  const float* logSums = f.logSums + f.sums(tile, keyHead, k);
  std::copy(logSums, logSums + tile.rows, w.logSums);
  std::fill(w.delta, w.delta + width, 0.0f);
  chunkProduct(length, tile.rows, D, {keys, row, 1}, w.qT, width, StoreExp{pair.p, w.logSums, width}, &ahead);
  chunkProduct(length, tile.rows, D, {values, row, 1}, w.doutT, width, StoreAndProject{pair.dz, pair.p, w.delta, width}, &ahead);
  if (f.dq || f.dkeys) {
    for (int64_t i = 0; i < length; i++)
      for (int64_t j = 0, at = i * width; j < tile.rows; j += WIDTH, at += WIDTH)
        store(pair.dz + at, load(pair.p + at) * (load(pair.dz + at) - load(w.delta + j)));
  }
  if (f.dq) chunkProduct<true>(tile.rows, D, length, {pair.dz, 1, width}, keys, row,
      AddTimes{w.dq, s.vectorRow(), f.weights[visit.slot], add}, &ahead);
  double total = 0;
  for (int64_t i = 0; i < tile.rows; i++) total += w.delta[i];
  return static_cast<float>(total);
}

// What a slot adds to the gradients of its chunk; the first one writes them.
void addToMemory(const Gradient& f, const QueryTile& tile, const Visit& visit, const Rows& rows, const Pair& pair, bool add, Ahead& ahead) {
  const ChunkAttentionSizes& s = f.s;
  const int64_t D = s.headSize, row = s.positionRow(), width = padded(tile.rows);
  const auto addProduct = [&](float* to, const float* a, const float* b) {
    if (to) chunkProduct(visit.length, D, tile.rows, {a, width, 1}, b, s.vectorRow(),
        AddTimes{to + visit.memory, row, f.weights[visit.slot], add}, &ahead);
  };
  addProduct(f.dkeys, pair.dz, rows.q);
  addProduct(f.dvalues, pair.p, rows.dout);
}

struct Run {
  const Gradient& f;
  Pool& pool;
  const std::vector<QueryTile>& tiles;
  int64_t width = 16;                // of the largest tile
  std::vector<uint8_t> written;      // [B,M,Hk]: whether a slot has written the gradients of a chunk
  std::vector<float> parts;          // [tiles,Hk,K]: of dw

  Run(const Gradient& f, Pool& pool, const std::vector<QueryTile>& tiles) : f(f), pool(pool), tiles(tiles) {
    for (const QueryTile& tile : tiles) width = std::max(width, padded(tile.rows));
    written.resize(static_cast<size_t>(f.s.batch * f.s.chunks * f.s.keyHeads));
    parts.resize(tiles.size() * static_cast<size_t>(f.s.keyHeads * f.s.slots));
  }
  const QueryTile& tile(int64_t t) const { return tiles[static_cast<size_t>(t)]; }
  float& part(int64_t t, int64_t keyHead, int64_t k) { return parts[static_cast<size_t>((t * f.s.keyHeads + keyHead) * f.s.slots + k)]; }
  uint8_t& writtenAt(const QueryTile& tile, const Visit& visit, int64_t keyHead) {
    return written[static_cast<size_t>((tile.batch * f.s.chunks + visit.chunk) * f.s.keyHeads + keyHead)];
  }
  bool hasMemory() const { return f.dkeys || f.dvalues; }
  // Floats that segments keep for a key head of a tile: its rows, and p and dz of its slots if they are needed again.
  int64_t perTile() const { return Rows::floats(f.s, width) + (hasMemory() ? f.s.slots * Pair::floats(f.s, width) : 0); }
};

// Zeros where no slot writes: chunks that nobody retrieves, and positions past a length.
void clearMemory(const Run& run, const Gradient& f, Pool& pool) {
  const ChunkAttentionSizes& s = f.s;
  std::vector<uint8_t> retrieved(static_cast<size_t>(s.batch * s.chunks));
  for (const QueryTile& tile : run.tiles) {
    Visit visit;
    for (int64_t k = 0; k < s.slots; k++)
      if (f.visit(tile, 0, k, visit)) retrieved[static_cast<size_t>(tile.batch * s.chunks + visit.chunk)] = 1;
  }
  pool.parallel(s.batch * s.chunks, [&](int64_t item, int) {
    const int64_t size = s.chunkSize * s.positionRow();
    const int64_t from = retrieved[static_cast<size_t>(item)] ? f.length(item / s.chunks, item % s.chunks) * s.positionRow() : 0;
    for (float* to : {f.dkeys, f.dvalues})
      if (to) std::fill(to + item * size + from, to + (item + 1) * size, 0.0f);
  });
}

// Steps of all products of a slot: for Ahead::spread.
int64_t slotSteps(const Gradient& f, int64_t rows, int64_t length) {
  const int64_t D = f.s.headSize;
  return 2 * stepsOf(length, rows, D) + (f.dq ? stepsOf(rows, D, length) : 0);
}

// All tiles of one key head of one sequence.
void walkHead(Run& run, int64_t batch, int64_t keyHead, float* scratch) {
  const Gradient& f = run.f;
  const ChunkAttentionSizes& s = f.s;
  Arena arena(scratch);
  const Rows rows(arena, s, run.width);
  const Workspace w(arena, s, run.width);
  const Pair pair(arena, s, run.width);
  for (int64_t t = 0; t < static_cast<int64_t>(run.tiles.size()); t++) {
    const QueryTile& tile = run.tile(t);
    if (tile.batch != batch) continue;
    prepare(f, tile, keyHead, rows, w);
    const QueryTile* next = t + 1 < static_cast<int64_t>(run.tiles.size()) && run.tile(t + 1).batch == batch ? &tile + 1 : nullptr;
    bool any = false;
    for (int64_t k = 0; k < s.slots; k++) {
      Visit visit, later;
      if (!f.visit(tile, keyHead, k, visit)) continue;
      uint8_t& written = run.writtenAt(tile, visit, keyHead);
      Ahead ahead;
      askChunk(ahead, f, visit, f.dkeys), askChunk(ahead, f, visit, f.dvalues);
      if (f.following(tile, keyHead, k, next, keyHead, later)) askChunk(ahead, f, later, f.keys), askChunk(ahead, f, later, f.values);
      if (k + 1 == s.slots) {
        askRows(ahead, f, tile, keyHead, f.dq);
        if (next) askRows(ahead, f, *next, keyHead, f.q), askRows(ahead, f, *next, keyHead, f.dout),
            askSums(ahead, f, *next, keyHead, f.logSums);
      }
      const int64_t sums = (f.dkeys ? 1 : 0) + (f.dvalues ? 1 : 0);
      ahead.spread(slotSteps(f, tile.rows, visit.length) + sums * stepsOf(visit.length, s.headSize, tile.rows));
      run.part(t, keyHead, k) = slotGradient(f, tile, keyHead, k, visit, w, pair, any, ahead);
      addToMemory(f, tile, visit, rows, pair, written != 0, ahead);
      written = 1;
      any = true;
    }
    if (f.dq) scatterRows(f, tile, keyHead, any ? w.dq : nullptr, s.scale, f.dq);
  }
}

// The tiles [first, end) of the way by segments.
class Segment {
 public:
  Segment(Run& run, int64_t first, int64_t end, float* stored)
      : run_(run), f_(run.f), s_(run.f.s), first_(first), end_(end), stored_(stored) {}

  // p and dz of all slots, and dq.
  void visitTiles() const {
    run_.pool.parallel((end_ - first_) * s_.keyHeads, [&](int64_t item, int worker) {
      visitTile(first_ + item / s_.keyHeads, item % s_.keyHeads,
          run_.pool.scratch(worker, Workspace::floats(s_, run_.width) + Pair::floats(s_, run_.width)));
    });
  }

  // What the slots add to their chunks.
  void addToChunks() const {
    const std::vector<Retrieved> list = retrieved();
    std::vector<size_t> starts;  // of each chunk in the list
    for (size_t i = 0; i < list.size(); i++)
      if (i == 0 || list[i].memory != list[i - 1].memory) starts.push_back(i);
    starts.push_back(list.size());
    run_.pool.parallel(static_cast<int64_t>(starts.size() - 1) * s_.keyHeads, [&](int64_t item, int) {
      const int64_t keyHead = item % s_.keyHeads;
      const size_t chunk = static_cast<size_t>(item / s_.keyHeads), end = starts[chunk + 1];
      for (size_t i = starts[chunk]; i < end; i++) {
        // What this thread probably does next: the next slot, or the next key head of the chunk, or the next chunk.
        const bool more = i + 1 < end, otherHead = !more && keyHead + 1 < s_.keyHeads;
        const size_t next = otherHead ? starts[chunk] : i + 1;
        const int64_t nextHead = more ? keyHead : otherHead ? keyHead + 1 : 0;
        add(list[i], keyHead, next < list.size() ? &list[next] : nullptr, nextHead);
      }
    });
  }

 private:
  // A slot of a tile, by the chunk that it retrieved.
  struct Retrieved {
    int64_t memory;  // b · M + m
    int64_t tile, k;
  };

  // For each tile and key head its Rows and a Pair a slot.
  Arena place(int64_t t, int64_t keyHead) const { return Arena(stored_ + ((t - first_) * s_.keyHeads + keyHead) * run_.perTile()); }
  Pair pairAt(const Retrieved& slot, int64_t keyHead) const {
    Arena arena = place(slot.tile, keyHead);
    arena.take(Rows::floats(s_, run_.width) + slot.k * Pair::floats(s_, run_.width));
    return Pair(arena, s_, run_.width);
  }

  void visitTile(int64_t t, int64_t keyHead, float* scratch) const {
    const QueryTile& tile = run_.tile(t);
    Arena arena = place(t, keyHead), own(scratch);
    const Rows rows(arena, s_, run_.width);
    const Workspace w(own, s_, run_.width);
    const Pair unused(own, s_, run_.width);
    prepare(f_, tile, keyHead, rows, w);
    bool any = false;
    for (int64_t k = 0; k < s_.slots; k++) {
      const Pair pair = run_.hasMemory() ? Pair(arena, s_, run_.width) : unused;
      Visit visit, later;
      if (!f_.visit(tile, keyHead, k, visit)) continue;
      Ahead ahead;
      if (f_.following(tile, keyHead, k, nullptr, 0, later)) {
        askChunk(ahead, f_, later, f_.keys), askChunk(ahead, f_, later, f_.values);
        if (run_.hasMemory()) ahead.add(pair.p + Pair::floats(s_, run_.width), Pair::floats(s_, run_.width));
      }
      ahead.spread(slotSteps(f_, tile.rows, visit.length));
      run_.part(t, keyHead, k) = slotGradient(f_, tile, keyHead, k, visit, w, pair, any, ahead);
      any = true;
    }
    if (f_.dq) scatterRows(f_, tile, keyHead, any ? w.dq : nullptr, s_.scale, f_.dq);
  }

  // All slots that are not empty, those of a chunk side by side, in the order of tiles and slots.
  std::vector<Retrieved> retrieved() const {
    std::vector<Retrieved> list;
    Visit visit;
    for (int64_t t = first_; t < end_; t++)
      for (int64_t k = 0; k < s_.slots; k++)
        if (f_.visit(run_.tile(t), 0, k, visit)) list.push_back({run_.tile(t).batch * s_.chunks + visit.chunk, t, k});
    std::sort(list.begin(), list.end(), [](const Retrieved& x, const Retrieved& y) {
      return x.memory != y.memory ? x.memory < y.memory : x.tile != y.tile ? x.tile < y.tile : x.k < y.k;
    });
    return list;
  }

  void add(const Retrieved& slot, int64_t keyHead, const Retrieved* next, int64_t nextHead) const {
    const QueryTile& tile = run_.tile(slot.tile);
    Visit visit, later;
    f_.visit(tile, keyHead, slot.k, visit);
    Ahead ahead;
    if (next) {
      f_.visit(run_.tile(next->tile), nextHead, next->k, later);
      askChunk(ahead, f_, later, f_.dkeys), askChunk(ahead, f_, later, f_.dvalues);
      ahead.add(pairAt(*next, nextHead).p, Pair::floats(s_, run_.width));
    }
    ahead.spread(2 * stepsOf(visit.length, s_.headSize, tile.rows));
    Arena arena = place(slot.tile, keyHead);
    uint8_t& written = run_.writtenAt(tile, visit, keyHead);
    addToMemory(f_, tile, visit, Rows(arena, s_, run_.width), pairAt(slot, keyHead), written != 0, ahead);
    written = 1;
  }

  Run& run_;
  const Gradient& f_;
  const ChunkAttentionSizes& s_;
  int64_t first_, end_;
  float* stored_;
};

// Whether key heads alone keep the threads busy.
bool byHeads(const ChunkAttentionSizes& s, int threads) {
  const int64_t items = s.batch * s.keyHeads, rounds = (items + threads - 1) / threads;
  return 5 * items >= 4 * rounds * threads;
}

// Tiles that are worked on at a time: what they store should stay in a cache of the third level, if that keeps the threads busy.
int64_t segmentOf(const Run& run) {
  constexpr int64_t STORED = 1 << 22;
  const ChunkAttentionSizes& s = run.f.s;
  const int64_t busy = (2 * run.pool.threads() + s.keyHeads - 1) / s.keyHeads;
  return std::min<int64_t>(static_cast<int64_t>(run.tiles.size()), std::max(busy, STORED / (s.keyHeads * run.perTile())));
}

void writeWeights(Run& run) {
  const Gradient& f = run.f;
  const ChunkAttentionSizes& s = f.s;
  std::fill(f.dweights, f.dweights + s.batch * s.blocks * s.slots, 0.0f);
  for (int64_t t = 0; t < static_cast<int64_t>(run.tiles.size()); t++) {
    float* to = f.dweights + (run.tile(t).batch * s.blocks + run.tile(t).block) * s.slots;
    for (int64_t k = 0; k < s.slots; k++)
      for (int64_t keyHead = 0; keyHead < s.keyHeads; keyHead++) to[k] += run.part(t, keyHead, k);
  }
}

void runGradient(const ChunkAttentionGradientArgs& args, Pool& pool) {
  const Gradient f(args);
  const ChunkAttentionSizes& s = f.s;
  const std::vector<QueryTile> tiles = f.tiles(f.dq);
  Run run(f, pool, tiles);
  if (run.hasMemory()) clearMemory(run, f, pool);
  const int64_t count = static_cast<int64_t>(tiles.size());
  if (byHeads(s, pool.threads()) && run.hasMemory()) {
    const int64_t scratch = Rows::floats(s, run.width) + Workspace::floats(s, run.width) + Pair::floats(s, run.width);
    pool.parallel(s.batch * s.keyHeads, [&](int64_t item, int worker) {
      walkHead(run, item / s.keyHeads, item % s.keyHeads, pool.scratch(worker, scratch));
    });
  } else if (count > 0) {
    const int64_t segment = segmentOf(run);
    float* stored = pool.shared(static_cast<size_t>(segment * s.keyHeads * run.perTile()));
    for (int64_t first = 0; first < count; first += segment) {
      const Segment part(run, first, std::min(count, first + segment), stored);
      part.visitTiles();
      if (run.hasMemory()) part.addToChunks();
    }
  }
  if (f.dweights) writeWeights(run);
}

}  // namespace

extern const Kernel chunkAttentionGradientKernels[] = {
    kernel<ChunkAttentionGradientArgs, runGradient, checkChunkAttention>(),
    {nullptr, nullptr, nullptr},
};

}  // namespace lenggen::LENGGEN_ISA
