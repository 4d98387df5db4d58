// The gradient of attention: src/ops/attention.ts says what it computes.
//
// Positions are cut into segments. In round r, segment i as queries meets segment i - r as keys (not causal: i + r, around the end), so
// that in one round no two items write the gradient of the same query or key; sums over rounds are in their order. Inside of an
// item, tiles of queries go over blocks of keys, all as [keys, columns]:
//   P = exp(K Qᵀ - L)      dS = P ∘ (V dOᵀ - δ)      dV += P dO      dK += dS Q      dQᵀ += Kᵀ dS
#include "attention.h"
#include "families.h"

namespace lenggen::LENGGEN_ISA {
namespace {

struct Gradient : AttentionGradientArgs {
  AttentionSizes s;
  explicit Gradient(const AttentionGradientArgs& args) : AttentionGradientArgs(args), s(args) {}
};

// Positions cut such that there are enough items for many threads, and a segment's keys and their gradients fit a cache.
struct Segments {
  int64_t size, count, rounds;
  explicit Segments(const AttentionSizes& s) {
    constexpr int64_t LEAST = 64, MOST = 512, ITEMS = 32;
    size = std::clamp(s.batch * s.keyHeads * s.keys / ITEMS / LEAST * LEAST, LEAST, MOST);
    count = (s.keys + size - 1) / size;
    rounds = s.causal ? std::min(count, (s.window - 1 + size - 1) / size + 1) : count;
  }
};

// Scratch of a tile; rows of [D,.] and [keys,.] are COLUMNS long.
struct Workspace {
  float *queries, *queriesT, *dout, *doutT, *dqueriesT, *scores, *dscores, *lse, *delta;
  Workspace(Arena& arena, const AttentionSizes& s)
      : queries(arena.take(COLUMNS * s.vectorRow())), queriesT(arena.take(s.headSize * COLUMNS)), dout(arena.take(COLUMNS * s.vectorRow())),
        doutT(arena.take(s.headSize * COLUMNS)), dqueriesT(arena.take(s.headSize * COLUMNS)), scores(arena.take(BLOCK * COLUMNS)),
        dscores(arena.take(BLOCK * COLUMNS)), lse(arena.take(COLUMNS)), delta(arena.take(COLUMNS)) {}
  static size_t floats(const AttentionSizes& s) {
    return 2 * COLUMNS * s.vectorRow() + 3 * s.headSize * COLUMNS + 2 * BLOCK * COLUMNS + 2 * COLUMNS;
  }
};

// Scores become P, and V dOᵀ becomes dS, one vector of columns at a time.
template <bool PLAIN>
void gradientColumns(const AttentionSizes& s, const Tile& tile, const Block& block, int64_t c, const Workspace& w) {
  const Bias bias(s, tile, c);
  const vf lse = load(w.lse + c), delta = load(w.delta + c);
  float *scores = w.scores + c, *dscores = w.dscores + c;
  for (int64_t j = 0; j < block.count; j++, scores += COLUMNS, dscores += COLUMNS) {
    vf score = load(scores);
    if (!PLAIN) score = bias(score, block.first + j);
    vf probability = exp(score - lse);
    if (!PLAIN && !block.all) probability = select(bias.seen(block.first + j), probability, zero());
    store(scores, probability);
    store(dscores, probability * (load(dscores) - delta));
  }
}

// L and δ = do · o of the tile's columns. Those past `count` get an L that makes P 0.
void prepareColumns(const Gradient& f, const Tile& tile, const Workspace& w) {
  const AttentionSizes& s = f.s;
  for (int64_t c = 0; c < tile.width(); c++) {
    w.lse[c] = std::numeric_limits<float>::max();
    w.delta[c] = 0;
    if (c >= tile.count) continue;
    const int64_t t = tile.query(s, c), head = tile.head(s, c);
    const float *out = f.out + s.vector(tile.batch, t, head), *dout = w.dout + c * s.vectorRow();
    vf total = zero();
    for (int64_t n = 0; n < s.headSize; n += WIDTH) {
      const int64_t count = std::min<int64_t>(WIDTH, s.headSize - n);
      total += loadFirst(out + n, count) * loadFirst(dout + n, count);
    }
    w.lse[c] = f.lse[s.scalar(tile.batch, t, head)];
    w.delta[c] = sum(total);
  }
}

// dq += scale · dQᵀ, transposed.
void addQueries(const Gradient& f, const Tile& tile, const Workspace& w) {
  const AttentionSizes& s = f.s;
  transpose(s.headSize, tile.width(), w.dqueriesT, COLUMNS, w.queries, s.vectorRow());
  for (int64_t c = 0; c < tile.count; c++) {
    const float* from = w.queries + c * s.vectorRow();
    float* to = f.dq + s.vector(tile.batch, tile.query(s, c), tile.head(s, c));
    for (int64_t n = 0; n < s.headSize; n += WIDTH) {
      const int64_t count = std::min<int64_t>(WIDTH, s.headSize - n);
      storeFirst(to + n, loadFirst(to + n, count) + loadFirst(from + n, count) * s.scale, count);
    }
  }
}

// Keys [low, high) and what the tile adds to their gradients, and they to the tile's.
void gradientTile(const Gradient& f, const Tile& tile, int64_t low, int64_t high, const Workspace& w) {
  const AttentionSizes& s = f.s;
  gatherRows(s, tile, f.q, s.scale, w.queries);
  gatherRows(s, tile, f.dout, 1, w.dout);
  transpose(tile.width(), s.headSize, w.queries, s.vectorRow(), w.queriesT, COLUMNS);
  transpose(tile.width(), s.headSize, w.dout, s.vectorRow(), w.doutT, COLUMNS);
  prepareColumns(f, tile, w);
  std::fill_n(w.dqueriesT, s.headSize * COLUMNS, 0.0f);
  eachBlock(s, tile, low, high, [&](const Block& block) {
    const int64_t at = s.key(tile.batch, block.first, tile.keyHead), row = s.keyRow(), from = block.from, columns = block.to - block.from;
    gemmSmall(block.count, columns, s.headSize, {f.k + at, row, 1}, w.queriesT + from, COLUMNS, w.scores + from, COLUMNS, false);
    gemmSmall(block.count, columns, s.headSize, {f.v + at, row, 1}, w.doutT + from, COLUMNS, w.dscores + from, COLUMNS, false);
    const auto turn = block.all && !tile.sloped ? gradientColumns<true> : gradientColumns<false>;
    for (int64_t c = from; c < block.to; c += WIDTH) turn(s, tile, block, c, w);
    gemmSmall(block.count, s.headSize, columns, {w.scores + from, COLUMNS, 1}, w.dout + from * s.vectorRow(), s.vectorRow(),
        f.dv + at, row, true);
    gemmSmall(block.count, s.headSize, columns, {w.dscores + from, COLUMNS, 1}, w.queries + from * s.vectorRow(), s.vectorRow(),
        f.dk + at, row, true);
    gemmSmall(s.headSize, columns, block.count, {f.k + at, 1, row}, w.dscores + from, COLUMNS, w.dqueriesT + from, COLUMNS, true);
  });
  addQueries(f, tile, w);
}

// Zeros for the gradients of positions [low, high) of a key head, and of the queries there.
void clear(const Gradient& f, int64_t batch, int64_t keyHead, int64_t low, int64_t high) {
  const AttentionSizes& s = f.s;
  for (int64_t j = low; j < high; j++) {
    std::fill_n(f.dk + s.key(batch, j, keyHead), s.headSize, 0.0f);
    std::fill_n(f.dv + s.key(batch, j, keyHead), s.headSize, 0.0f);
    if (j >= s.offset()) std::fill_n(f.dq + s.vector(batch, j - s.offset(), keyHead * s.share()), s.share() * s.headSize, 0.0f);
  }
}

void runGradient(const AttentionGradientArgs& args, Pool& pool) {
  const Gradient f(args);
  const AttentionSizes& s = f.s;
  const Segments segments(s);
  const auto end = [&](int64_t segment) { return std::min(s.keys, (segment + 1) * segments.size); };
  for (int64_t round = 0; round < segments.rounds; round++) {
    // In the first round every segment is there, for its zeros; then those with queries and with keys.
    const int64_t first = round == 0 ? 0 : std::max(s.offset() / segments.size, s.causal ? round : 0), count = segments.count - first;
    pool.parallel(s.batch * s.keyHeads * count, [&](int64_t item, int worker) {
      const int64_t batch = item / count / s.keyHeads, keyHead = item / count % s.keyHeads, segment = first + item % count;
      const int64_t keys = s.causal ? segment - round : (segment + round) % segments.count;
      if (round == 0) clear(f, batch, keyHead, segment * segments.size, end(segment));
      const int64_t length = s.length(f.lengths, batch), low = keys * segments.size, high = std::min(length, end(keys));
      const int64_t firstColumn = std::max<int64_t>(0, segment * segments.size - s.offset()) * s.share();
      const int64_t endColumn = (std::min(length, end(segment)) - s.offset()) * s.share();
      Arena arena(pool.scratch(worker, Workspace::floats(s)));
      const Workspace w(arena, s);
      for (int64_t column = firstColumn; column < endColumn && low < high; column += COLUMNS) {
        const Tile tile(s, f.slopes, batch, keyHead, column, std::min(COLUMNS, endColumn - column));
        if (!s.causal || tile.low - s.window + 1 < high) gradientTile(f, tile, low, high, w);
      }
    });
  }
}

}  // namespace

extern const Kernel attentionGradientKernels[] = {
    kernel<AttentionGradientArgs, runGradient, checkAttention>(),
    {nullptr, nullptr, nullptr},
};

}  // namespace lenggen::LENGGEN_ISA
