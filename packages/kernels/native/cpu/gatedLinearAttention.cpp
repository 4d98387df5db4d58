// Linear attention with a decay per channel by chunks: src/ops/gatedLinearAttention.ts says what it computes, channelDecay.h how decays
// are kept apart. A head walks its chunks from its state S at the chunk's start, with the scores A of channelDecay.h:
//   y_t = (q_t D(t,0))ᵀ S + Σ_{u<=t} A[t,u] v_u
//   S  <- D(last,0) S + Σ_u (D(last,u) k_u) v_uᵀ
// With a bonus the state is read before the step: D(t-1,0), and A[t,t] = q_t · bonus∘k_t.
#include "families.h"
#include "gatedLinearAttention.h"

namespace lenggen::LENGGEN_ISA {
namespace {

struct Forward : GatedLinearAttentionArgs {
  Sizes s;
  explicit Forward(const GatedLinearAttentionArgs& args) : GatedLinearAttentionArgs(args), s(args) {}
  Reads reads() const { return bonus ? Reads::before : Reads::inclusive; }
};

struct Workspace {
  KeyRows rows;
  float *turned, *scoresT, *values;
  static int64_t floats(const Sizes& s) {
    return KeyRows::floats(s) + SUB * s.keyRow() + s.chunk * (s.chunkRow() + s.valueRow());
  }
  Workspace(Arena& arena, const Sizes& s)
      : rows(arena, s), turned(arena.take(SUB * s.keyRow())), scoresT(arena.take(s.chunk * s.chunkRow())),
        values(arena.take(s.chunk * s.valueRow())) {}
};

// Chunk c of one head, columns [from, to), from their state at the start (nullptr: zeros) to that at the end, `after` (may be the same
// memory). Both have rows of V floats.
void scanChunk(const Forward& f, Workspace& w, int64_t row, int64_t c, int64_t from, int64_t to, const float* state, float* after) {
  const Sizes& s = f.s;
  const int64_t K = s.keySize, V = s.valueSize, length = s.length(c), columns = to - from;
  const ChannelDecays& decays = w.rows.decays;
  float* y = f.y + s.value(row, c) + from;
  Ahead ahead;
  ahead.add(y, columns, s.valueStride(), length);
  if (after != state) ahead.add(after, columns, V, K);
  if (c + 1 < s.chunks()) {
    for (const float* keys : {f.a, f.q, f.k}) ahead.add(keys + s.key(row, c + 1), K, s.keyStride(), s.length(c + 1));
    ahead.add(f.v + s.value(row, c + 1) + from, columns, s.valueStride(), s.length(c + 1));
  }
  ahead.spread(stepsOf(length, length, K) / 2 + (state ? stepsOf(length, columns, K) : 0) + stepsOf(length, columns, length) / 2 +
               stepsOf(K, columns, length));
  w.rows.set(f, s, row, c, f.reads());
  for (int64_t sub = 0; sub < decays.subs(); sub++) {
    scoresBefore(decays, sub, w.rows.fromBorder, w.rows.kept, w.turned, w.scoresT, s.chunkRow(), &ahead);
    scoresInside(decays, sub, w.rows.q, w.rows.k, f.reads(), w.scoresT, s.chunkRow());
    carryOver(decays, sub, w.rows.kept);
  }
  scoresOwn(decays, w.rows.q, w.rows.k, f.bonus ? f.bonus + row % s.heads * K : nullptr, w.scoresT, s.chunkRow());
  copyRows(f.v + s.value(row, c) + from, s.valueStride(), length, columns, 1.0f, w.values);
  const int64_t valueRow = padded(columns);

  if (state) {
    fromStart(decays, w.rows.fromBorder);
    gemmSmall(length, columns, K, {w.rows.fromBorder, s.keyRow(), 1}, state, V, y, s.valueStride(), false, Skip::None, &ahead);
  }
  gemmSmall(length, columns, length, {w.scoresT, 1, s.chunkRow()}, w.values, valueRow, y, s.valueStride(), state != nullptr, Skip::LowerA,
            &ahead);
  productThen(K, columns, length, {w.rows.kept, 1, s.keyRow()}, w.values, valueRow, AddDecayed{decays.total, state, after, V},
              &ahead);
}

// All chunks of one head, columns [from, to).
void scanHead(const Forward& f, int64_t row, int64_t from, int64_t to, float* scratch) {
  const Sizes& s = f.s;
  const int64_t chunks = s.chunks();
  Arena arena(scratch);
  Workspace w(arena, s);
  float* final = f.final + row * s.state() + from;
  // The state before chunk c: kept for the gradient, or each in the place of the one before.
  const auto stateAt = [&](int64_t c) { return f.starts && c < chunks ? f.starts + s.start(row, c) + from : final; };
  const float* before = f.state ? f.state + row * s.state() + from : nullptr;
  if (before && f.starts) {
    for (int64_t i = 0; i < s.keySize; i++) std::copy_n(before + i * s.valueSize, to - from, stateAt(0) + i * s.valueSize);
  }
  for (int64_t c = 0; c < chunks; c++) {
    scanChunk(f, w, row, c, from, to, before, stateAt(c + 1));
    before = stateAt(c + 1);
  }
}

// A row of the state in a single step: after = decay · before + key · v, and y += ofBefore · before + ofValue · v; `before` may be
// nullptr for zeros, or `after`.
void stepRow(const float* before, float* after, const float* v, float* y, int64_t n, float decay, float key, float ofBefore,
             float ofValue) {
  int64_t j = 0;
  for (; j + WIDTH <= n; j += WIDTH) {
    const vf S = before ? load(before + j) : zero(), value = load(v + j);
    store(after + j, S * decay + value * key);
    store(y + j, load(y + j) + S * ofBefore + value * ofValue);
  }
  if (j < n) {
    const vf S = before ? loadFirst(before + j, n - j) : zero(), value = loadFirst(v + j, n - j);
    storeFirst(after + j, S * decay + value * key, n - j);
    storeFirst(y + j, loadFirst(y + j, n - j) + S * ofBefore + value * ofValue, n - j);
  }
}

// A single step of one head, as the recurrence has it.
void stepHead(const Forward& f, int64_t row) {
  const Sizes& s = f.s;
  const int64_t K = s.keySize, V = s.valueSize;
  const float *q = f.q + row * K, *k = f.k + row * K, *a = f.a + row * K;
  const float* bonus = f.bonus ? f.bonus + row % s.heads * K : nullptr;
  float* y = f.y + row * V;
  std::fill_n(y, V, 0.0f);
  for (int64_t first = 0; first < K; first += WIDTH) {
    const int64_t count = std::min<int64_t>(WIDTH, K - first);
    const vf decays = exp(loadFirst(a + first, count));
    for (int64_t i = first; i < first + count; i++) {
      const float decay = decays[i - first], query = f.scale * q[i], key = k[i];
      // What y reads: the state after the step, or that before with the step by its bonus.
      stepRow(f.state ? f.state + row * s.state() + i * V : nullptr, f.final + row * s.state() + i * V, f.v + row * V, y, V, decay, key,
              bonus ? query : query * decay, bonus ? query * bonus[i] * key : query * key);
    }
  }
}

void runForward(const GatedLinearAttentionArgs& args, Pool& pool) {
  const Forward f(args);
  const Sizes& s = f.s;
  const int64_t heads = s.batch * s.heads;
  if (s.time == 1 && !f.starts) {
    pool.parallel(heads, [&](int64_t row, int) { stepHead(f, row); });
    return;
  }
  const Slices slices(s, pool.threads());
  pool.parallel(heads * slices.count, [&](int64_t item, int worker) {
    const int64_t from = item % slices.count * slices.columns;
    scanHead(f, item / slices.count, from, std::min(s.valueSize, from + slices.columns), pool.scratch(worker, Workspace::floats(s)));
  });
}

}  // namespace

extern const Kernel gatedLinearAttentionKernels[] = {
    kernel<GatedLinearAttentionArgs, runForward, checkSizes>(),
    {nullptr, nullptr, nullptr},
};

}  // namespace lenggen::LENGGEN_ISA
