// Attention by tiles of queries and blocks of keys with a running maximum: src/ops/attention.ts says what it computes.
//
// For each tile, S = K Qᵀ [keys, columns] block by block. With m the largest score of a column so far and l the sum of exp(s - m),
// a block that raises m to m' first shrinks l and the columns of Oᵀ [D, columns] by exp(m - m'); then P = exp(S - m') and
// Oᵀ += Vᵀ P. In the end o = Oᵀ / l, and the log-sum-exp is m + log l.
#include "attention.h"
#include "families.h"

namespace lenggen::LENGGEN_ISA {
namespace {

struct Forward : AttentionArgs {
  AttentionSizes s;
  explicit Forward(const AttentionArgs& args) : AttentionArgs(args), s(args) {}
};

// Scratch of a tile; rows of matrices are COLUMNS long unless said otherwise.
struct Workspace {
  float *rows, *queries, *out, *scores, *most, *total;  // [columns, D], [D,.], [D,.], [keys,.], [columns] each
  Workspace(Arena& arena, const AttentionSizes& s)
      : rows(arena.take(COLUMNS * s.vectorRow())), queries(arena.take(s.headSize * COLUMNS)), out(arena.take(s.headSize * COLUMNS)),
        scores(arena.take(BLOCK * COLUMNS)), most(arena.take(COLUMNS)), total(arena.take(COLUMNS)) {}
  static size_t floats(const AttentionSizes& s) {
    return COLUMNS * s.vectorRow() + 2 * s.headSize * COLUMNS + BLOCK * COLUMNS + 2 * COLUMNS;
  }
};

// No score yet. Finite, so that it can be subtracted from itself.
constexpr float LOWEST = std::numeric_limits<float>::lowest();

// The scores of a block become exp(s - m), one vector of columns at a time; Oᵀ, m and l follow.
template <bool PLAIN>
void softmaxColumns(const AttentionSizes& s, const Tile& tile, const Block& block, int64_t c, const Workspace& w) {
  const Bias bias(s, tile, c);
  float* scores = w.scores + c;
  const vf before = load(w.most + c);
  vf most = before, other = before;
  int64_t j = 0;
  if (PLAIN) {
    for (; j + 2 <= block.count; j += 2) {
      most = max(most, load(scores + j * COLUMNS));
      other = max(other, load(scores + (j + 1) * COLUMNS));
    }
  }
  for (; j < block.count; j++) {
    vf score = load(scores + j * COLUMNS);
    if (!PLAIN) {
      score = bias(score, block.first + j);
      if (!block.all) score = select(bias.seen(block.first + j), score, broadcast(-std::numeric_limits<float>::infinity()));
      store(scores + j * COLUMNS, score);
    }
    most = max(most, score);
  }
  most = max(most, other);
  vf sums[2] = {};
  for (j = 0; j + 2 <= block.count; j += 2) {
    const vf first = exp(load(scores + j * COLUMNS) - most), second = exp(load(scores + (j + 1) * COLUMNS) - most);
    store(scores + j * COLUMNS, first);
    store(scores + (j + 1) * COLUMNS, second);
    sums[0] += first;
    sums[1] += second;
  }
  if (j < block.count) {
    const vf value = exp(load(scores + j * COLUMNS) - most);
    store(scores + j * COLUMNS, value);
    sums[0] += value;
  }
  const vf shrink = exp(before - most);
  store(w.most + c, most);
  store(w.total + c, load(w.total + c) * shrink + (sums[0] + sums[1]));
  bool same = true;
  for (int i = 0; i < WIDTH; i++) same = same && shrink[i] == 1.0f;
  if (same) return;
  for (int64_t n = 0; n < s.headSize; n++) store(w.out + n * COLUMNS + c, load(w.out + n * COLUMNS + c) * shrink);
}

// o = Oᵀ / l, and the log-sum-exp.
void writeTile(const Forward& f, const Tile& tile, const Workspace& w) {
  const AttentionSizes& s = f.s;
  for (int64_t c = 0; c < tile.width(); c += WIDTH) {
    const vf total = load(w.total + c), factor = 1.0f / total;
    for (int64_t n = 0; n < s.headSize; n++) store(w.out + n * COLUMNS + c, load(w.out + n * COLUMNS + c) * factor);
    store(w.most + c, load(w.most + c) + log(total));
  }
  transpose(s.headSize, tile.width(), w.out, COLUMNS, w.rows, s.vectorRow());
  for (int64_t c = 0; c < tile.count; c++) {
    const int64_t t = tile.query(s, c), head = tile.head(s, c);
    std::copy_n(w.rows + c * s.vectorRow(), s.headSize, f.out + s.vector(tile.batch, t, head));
    if (f.lse) f.lse[s.scalar(tile.batch, t, head)] = w.most[c];
  }
}

void forwardTile(const Forward& f, const Tile& tile, float* scratch) {
  const AttentionSizes& s = f.s;
  Arena arena(scratch);
  const Workspace w(arena, s);
  gatherRows(s, tile, f.q, s.scale, w.rows);
  transpose(tile.width(), s.headSize, w.rows, s.vectorRow(), w.queries, COLUMNS);
  std::fill_n(w.out, s.headSize * COLUMNS, 0.0f);
  std::fill_n(w.most, COLUMNS, LOWEST);
  std::fill_n(w.total, COLUMNS, 0.0f);
  eachBlock(s, tile, 0, s.length(f.lengths, tile.batch), [&](const Block& block) {
    const int64_t at = s.key(tile.batch, block.first, tile.keyHead), columns = block.to - block.from;
    gemmSmall(block.count, columns, s.headSize, {f.k + at, s.keyRow(), 1}, w.queries + block.from, COLUMNS, w.scores + block.from,
        COLUMNS, false);
    const auto softmax = block.all && !tile.sloped ? softmaxColumns<true> : softmaxColumns<false>;
    for (int64_t c = block.from; c < block.to; c += WIDTH) softmax(s, tile, block, c, w);
    gemmSmall(s.headSize, columns, block.count, {f.v + at, 1, s.keyRow()}, w.scores + block.from, COLUMNS, w.out + block.from,
        COLUMNS, true);
  });
  writeTile(f, tile, w);
}

void runForward(const AttentionArgs& args, Pool& pool) {
  const Forward f(args);
  const AttentionSizes& s = f.s;
  const Tiles tiles(s);
  pool.parallel(tiles.count, [&](int64_t item, int worker) {
    const int64_t batch = item / tiles.perHead / s.keyHeads, keyHead = item / tiles.perHead % s.keyHeads,
    first = item % tiles.perHead * COLUMNS;
    const int64_t columns = s.time * s.share(), last = std::min(columns, first + COLUMNS);
    const int64_t live = std::min(last, s.length(f.lengths, batch) == s.keys ? columns : s.length(f.lengths, batch) * s.share());
    if (first < live) forwardTile(f, Tile(s, f.slopes, batch, keyHead, first, live - first), pool.scratch(worker, Workspace::floats(s)));
    for (int64_t c = std::max(first, live); c < last; c++) {
      std::fill_n(f.out + s.vector(batch, c / s.share(), keyHead * s.share() + c % s.share()), s.headSize, 0.0f);
    }
  });
}

}  // namespace

extern const Kernel attentionKernels[] = {
    kernel<AttentionArgs, runForward, checkAttention>(),
    {nullptr, nullptr, nullptr},
};

}  // namespace lenggen::LENGGEN_ISA
