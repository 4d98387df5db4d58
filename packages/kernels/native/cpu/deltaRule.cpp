// The generalised delta rule by chunks: src/ops/deltaRule.ts says what it computes. A head walks its chunks from its state S at the chunk's
// start, panel by panel of the values, since their columns depend on no others. With D(t,u) as in channelDecay.h:
//   u_t = Sᵀ(D(t-1,0) remove_t) + Σ_{j<t} (remove_t · D(t-1,j) k_j) v_j + (remove_t · D(t-1,j) write_j) u_j
//   y_t = Sᵀ(D(t,0) q_t) + Σ_{j<=t} (q_t · D(t,j) k_j) v_j + (q_t · D(t,j) write_j) u_j
//   S  <- D(last,0) S + Σ_j (D(last,j) k_j) v_jᵀ + (D(last,j) write_j) u_jᵀ
// A tile of u takes the sum over earlier tiles as a product, and solves what is left of the triangle in registers.
#include "families.h"
#include "deltaRule.h"

namespace lenggen::LENGGEN_ISA {
namespace {

struct Forward : DeltaRuleArgs {
  Sizes s;
  explicit Forward(const DeltaRuleArgs& args) : DeltaRuleArgs(args), s(args) {}
};

// Working memory for one chunk of one head.
struct Workspace {
  KeyRows rows;
  Scores scores;
  float *values, *removed;  // [chunk,PANEL]: v and u
  static int64_t floats(const Sizes& s) { return KeyRows::floats(s) + Scores::floats(s) + 2 * padded(s.chunk * PANEL); }
  Workspace(Arena& arena, const Sizes& s)
      : rows(arena, s), scores(arena, s), values(arena.take(s.chunk * PANEL)), removed(arena.take(s.chunk * PANEL)) {}
};

// u of some steps.
struct RemovedTile {
  const Sizes& s;
  const Workspace& w;
  const float* state;  // nullptr for zeros
  float* saved;        // u, where it is kept for the gradient
  int64_t width;
  Ahead* ahead;

  template <int ROWS>
  void run(int64_t i) const {
    vf sums[ROWS][2] = {};
    if (state) addProduct(sums, s.keySize, w.rows.removing + i * s.keyRow(), s.keyRow(), 1, state, ahead);
    addProduct(sums, i + ROWS, w.scores.removedKeys + i, 1, s.chunkRow(), w.values, nullptr);
    if (i > 0) addProduct(sums, i, w.scores.removedWrites + i, 1, s.chunkRow(), w.removed, nullptr);
#pragma GCC unroll 16
    for (int u = 0; u < ROWS; u++) {
      const float* scores = w.scores.removedWrites + (i + u) * s.chunkRow() + i;
#pragma GCC unroll 16
      for (int r = u + 1; r < ROWS; r++) {
        const vf score = broadcast(scores[r]);
        for (int j = 0; j < 2; j++) sums[r][j] += score * sums[u][j];
      }
    }
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; r++) {
      for (int j = 0; j < 2; j++) store(w.removed + (i + r) * PANEL + j * WIDTH, sums[r][j]);
      if (saved) storePair(saved + (i + r) * s.valueStride(), width, sums[r][0], sums[r][1]);
    }
  }
};

// y of some steps.
struct OutputTile {
  const Sizes& s;
  const Workspace& w;
  const float* state;  // nullptr for zeros
  float* y;
  int64_t width;
  Ahead* ahead;

  template <int ROWS>
  void run(int64_t i) const {
    vf sums[ROWS][2] = {};
    if (state) addProduct(sums, s.keySize, w.rows.queries + i * s.keyRow(), s.keyRow(), 1, state, ahead);
    addProduct(sums, i + ROWS, w.scores.ofKeys + i, 1, s.chunkRow(), w.values, nullptr);
    addProduct(sums, i + ROWS, w.scores.ofWrites + i, 1, s.chunkRow(), w.removed, nullptr);
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; r++) storePair(y + (i + r) * s.valueStride(), width, sums[r][0], sums[r][1]);
  }
};

// Chunk c of the panels [first, end) of one head. states: theirs, one behind the other; zero where `fromZero`.
void scanChunk(const Forward& f, Workspace& w, int64_t row, int64_t c, int64_t first, int64_t end, float* states, bool fromZero) {
  const Sizes& s = f.s;
  const int64_t length = s.length(c), chunks = s.chunks(), value = s.value(row, c);
  w.rows.set(f, s, row, c);
  w.scores.set(s, w.rows);
  for (int64_t p = first; p < end; p++) {
    const int64_t width = panelWidth(s.valueSize, p), at = value + p * PANEL;
    float* state = states + (p - first) * s.panelState();
    float* next = f.starts && c + 1 < chunks ? f.starts + s.start(row, c + 1) + p * PANEL : nullptr;
    Ahead ahead;
    if (p + 1 == end && c + 1 < chunks) {
      const int64_t more = s.length(c + 1), key = s.key(row, c + 1);
      for (const float* rows : {f.a, f.q, f.remove, f.k, f.write}) ahead.add(rows + key, s.keySize, s.keyStride(), more);
    }
    ahead.spread(2 * stepsOf(length, PANEL, s.keySize) + stepsOf(s.keySize, PANEL, length));
    loadPanel(f.v + at, s.valueStride(), length, width, w.values);
    const float* before = fromZero ? nullptr : state;
    eachTile(length, RemovedTile{s, w, before, f.removed ? f.removed + at : nullptr, width, &ahead});
    eachTile(length, OutputTile{s, w, before, f.y + at, width, &ahead});
    eachTile(s.keySize, Update{length, w.rows.keptKeys, s.keyRow(), w.values, length, w.rows.keptWrites, w.removed, w.rows.decays.total, 1,
        fromZero, state, next, s.valueSize, width, &ahead});
  }
}

// All chunks of the panels [first, end) of one head.
void scanPanels(const Forward& f, int64_t row, int64_t first, int64_t end, float* scratch) {
  const Sizes& s = f.s;
  Arena arena(scratch);
  Workspace w(arena, s);
  float* states = arena.take((end - first) * s.panelState());
  const int64_t at = row * s.state();
  for (int64_t p = first; p < end && f.state; p++) {
    const int64_t width = panelWidth(s.valueSize, p);
    loadPanel(f.state + at + p * PANEL, s.valueSize, s.keySize, width, states + (p - first) * s.panelState());
    for (int64_t i = 0; i < s.keySize && f.starts; i++) {
      const int64_t from = i * s.valueSize + p * PANEL;
      std::copy_n(f.state + at + from, width, f.starts + s.start(row, 0) + from);
    }
  }
  for (int64_t c = 0; c < s.chunks(); c++) scanChunk(f, w, row, c, first, end, states, c == 0 && !f.state);
  for (int64_t p = first; p < end; p++) {
    const float* state = states + (p - first) * s.panelState();
    for (int64_t i = 0; i < s.keySize; i++)
      std::copy_n(state + i * PANEL, panelWidth(s.valueSize, p), f.final + at + i * s.valueSize + p * PANEL);
  }
}

// Some columns of a single step of one head, as the recurrence has it.
void stepPanel(const Forward& f, int64_t row, int64_t p) {
  const Sizes& s = f.s;
  const int64_t K = s.keySize, V = s.valueSize, width = panelWidth(V, p), at = row * V + p * PANEL, key = row * K;
  const float* before = f.state ? f.state + row * s.state() + p * PANEL : nullptr;
  float* after = f.final + row * s.state() + p * PANEL;
  vf removed[2] = {}, sums[2] = {}, value[2], S[2] = {};
  for (int64_t i = 0; i < K && before; i++) {
    loadPair(before + i * V, width, S);
    for (int j = 0; j < 2; j++) removed[j] += S[j] * f.remove[key + i];
  }
  loadPair(f.v + at, width, value);
  for (int64_t i = 0; i < K; i++) {
    const float decay = exp(broadcast(f.a[key + i]))[0];
    if (before) loadPair(before + i * V, width, S);
    vf next[2];
    for (int j = 0; j < 2; j++) {
      next[j] = S[j] * decay + removed[j] * f.write[key + i] + value[j] * f.k[key + i];
      sums[j] += next[j] * f.q[key + i];
    }
    storePair(after + i * V, width, next[0], next[1]);
  }
  storePair(f.y + at, width, f.scale * sums[0], f.scale * sums[1]);
}

void runForward(const DeltaRuleArgs& args, Pool& pool) {
  const Forward f(args);
  const Sizes& s = f.s;
  const int64_t rows = s.batch * s.heads, panels = s.panels();
  if (s.time == 1 && !f.starts) {
    pool.parallel(rows * panels, [&](int64_t item, int) { stepPanel(f, item / panels, item % panels); });
    return;
  }
  // Heads are divided when there are too few to keep all threads busy; what their panels share is then computed several times.
  const int64_t wanted = 2 * pool.threads(), least = std::max<int64_t>(1, panels / 2);
  const int64_t parts = std::clamp<int64_t>((wanted + rows - 1) / std::max<int64_t>(1, rows), 1, least);
  pool.parallel(rows * parts, [&](int64_t item, int worker) {
    const int64_t part = item % parts, first = panels * part / parts, end = panels * (part + 1) / parts;
    scanPanels(f, item / parts, first, end, pool.scratch(worker, Workspace::floats(s) + padded((end - first) * s.panelState())));
  });
}

}  // namespace

extern const Kernel deltaRuleKernels[] = {
    kernel<DeltaRuleArgs, runForward, checkSizes>(),
    {nullptr, nullptr, nullptr},
};

}  // namespace lenggen::LENGGEN_ISA
