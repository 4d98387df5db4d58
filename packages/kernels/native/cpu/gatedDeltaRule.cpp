// The gated delta rule by chunks: src/ops/gatedDeltaRule.ts says what it computes.
//
// First, for each sequence, key head and chunk, the scores k_t · k_u and q_t · k_u, which all heads of the key head use. Then each head
// walks its chunks from its state S at the chunk's start, panel by panel of the values, since their columns depend on no others. With s(t)
// the sum of a chunk's log decays up to t:
//   e_t = v_t - exp(s(t)) Sᵀk_t - Σ_{u<t} (k_t · k_u) exp(s(t) - s(u)) beta_u e_u
//   y_t = scale (exp(s(t)) Sᵀq_t + Σ_{u<=t} (q_t · k_u) exp(s(t) - s(u)) beta_u e_u)
//   S  <- exp(s(last)) S + Σ_u k_u (exp(s(last) - s(u)) beta_u e_u)ᵀ
// A tile of e takes the sum over earlier tiles as a product, and solves what is left of the triangle in registers.
#include "families.h"
#include "gatedDeltaRule.h"

namespace lenggen::LENGGEN_ISA {
namespace {

struct Forward : GatedDeltaRuleArgs {
  GatedSizes s;
  explicit Forward(const GatedDeltaRuleArgs& args) : GatedDeltaRuleArgs(args), s(args) {}
};

// Working memory for one chunk of one head.
struct Workspace {
  Decays decays;
  // Keys and queries [chunk,packedRow], masked scores [chunk,chunkRow], beta and exp(s(last) - s(u)) beta_u, e and those times
  // the latter [chunk,PANEL].
  float *k, *q, *keyScores, *queryScores, *rate, *toEnd, *errors, *scaledErrors;

  static int64_t floats(const GatedSizes& s) {
    return Decays::floats(s.chunk) + 2 * s.chunk * s.packedRow() + 2 * s.square() + 2 * padded(s.chunk) + 2 * padded(s.chunk * PANEL);
  }
  Workspace(Arena& arena, const GatedSizes& s) : decays(arena, s.chunk) {
    for (float** p : {&k, &q}) *p = arena.take(s.chunk * s.packedRow());
    for (float** p : {&keyScores, &queryScores}) *p = arena.take(s.square());
    for (float** p : {&rate, &toEnd}) *p = arena.take(s.chunk);
    for (float** p : {&errors, &scaledErrors}) *p = arena.take(s.chunk * PANEL);
  }
};

// e of some steps.
struct ErrorTile {
  const GatedSizes& s;
  const Workspace& w;
  const float* state;  // nullptr for zeros
  const float* v;
  float* saved;  // e, where it is kept for the gradient
  int64_t width;
  Ahead* ahead;

  template <int ROWS>
  void run(int64_t i) const {
    vf sums[ROWS][2] = {};
    if (state) addProduct(sums, s.keySize, w.k + i * s.packedRow(), s.packedRow(), 1, state, ahead);
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; r++) {
      vf value[2];
      loadPair(v + (i + r) * s.valueRow(), width, value);
      const vf decay = broadcast(w.decays.fromStart[i + r]);
      for (int j = 0; j < 2; j++) sums[r][j] = value[j] - decay * sums[r][j];
    }
    const float* scores = w.keyScores + i * s.chunkRow();
    if (i > 0) addProduct(sums, i, scores, s.chunkRow(), 1, w.errors, nullptr);
#pragma GCC unroll 16
    for (int u = 0; u < ROWS; u++) {
#pragma GCC unroll 16
      for (int r = u + 1; r < ROWS; r++) {
        const vf score = broadcast(scores[r * s.chunkRow() + i + u]);
        for (int j = 0; j < 2; j++) sums[r][j] += score * sums[u][j];
      }
    }
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; r++) {
      const vf toEnd = broadcast(w.toEnd[i + r]);
      for (int j = 0; j < 2; j++) {
        store(w.errors + (i + r) * PANEL + j * WIDTH, sums[r][j]);
        store(w.scaledErrors + (i + r) * PANEL + j * WIDTH, toEnd * sums[r][j]);
      }
      if (saved) storePair(saved + (i + r) * s.valueRow(), width, sums[r][0], sums[r][1]);
    }
  }
};

// y of some steps.
struct OutputTile {
  const GatedSizes& s;
  const Workspace& w;
  const float* state;  // nullptr for zeros
  float scale;
  float* y;
  int64_t width;
  Ahead* ahead;

  template <int ROWS>
  void run(int64_t i) const {
    vf sums[ROWS][2] = {};
    if (state) addProduct(sums, s.keySize, w.q + i * s.packedRow(), s.packedRow(), 1, state, ahead);
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; r++)
      for (int j = 0; j < 2; j++) sums[r][j] *= w.decays.fromStart[i + r];
    addProduct(sums, i + ROWS, w.queryScores + i * s.chunkRow(), s.chunkRow(), 1, w.errors, nullptr);
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; r++) storePair(y + (i + r) * s.valueRow(), width, sums[r][0] * scale, sums[r][1] * scale);
  }
};

// Chunk c of the panels [first, end) of one head. states: theirs, one behind the other; zero where `fromZero`.
void scanChunk(const Forward& f, Workspace& w, int64_t batch, int64_t head, int64_t c, int64_t first, int64_t end, const float* scores,
               float* states, bool fromZero) {
  const GatedSizes& s = f.s;
  const int64_t length = s.length(c), chunks = s.chunks(), keyHead = head / s.headsPerKey();
  const int64_t key = s.key(batch, c, keyHead), value = s.value(batch, c, head);
  w.decays.set(f.a + s.gate(batch, c, head), s.heads, length);
  packGates(f.beta + s.gate(batch, c, head), s.heads, length, w.rate);
  for (int64_t t = 0; t < length; t += WIDTH) store(w.toEnd + t, load(w.decays.toEnd + t) * load(w.rate + t));
  packRows(f.k + key, s.keyRow(), length, s.keySize, w.k, s.packedRow());
  packRows(f.q + key, s.keyRow(), length, s.keySize, w.q, s.packedRow());
  maskScores(s, w.decays, scores + s.scores(batch, keyHead, c), w.rate, length, w.keyScores, w.queryScores);
  for (int64_t p = first; p < end; p++) {
    const int64_t width = panelWidth(s.valueSize, p), at = value + p * PANEL;
    float* state = states + (p - first) * s.panelState();
    float* next = f.starts && c + 1 < chunks ? f.starts + s.start(batch, head, c + 1) + s.panel(p) : nullptr;
    Ahead ahead;
    if (p + 1 < end) {
      ahead.add(f.v + at + PANEL, panelWidth(s.valueSize, p + 1), s.valueRow(), length);
    } else if (c + 1 < chunks) {
      const int64_t more = s.length(c + 1);
      ahead.add(f.v + s.value(batch, c + 1, head) + first * PANEL, panelWidth(s.valueSize, first), s.valueRow(), more);
      ahead.add(f.k + s.key(batch, c + 1, keyHead), s.keySize, s.keyRow(), more);
      ahead.add(f.q + s.key(batch, c + 1, keyHead), s.keySize, s.keyRow(), more);
    }
    ahead.add(f.y + at, width, s.valueRow(), length);
    if (next) ahead.add(next, s.keySize * width);
    ahead.spread(2 * stepsOf(length, PANEL, s.keySize) + stepsOf(s.keySize, PANEL, length));
    const float* before = fromZero ? nullptr : state;
    eachTile(length, ErrorTile{s, w, before, f.v + at, f.errors ? f.errors + at : nullptr, width, &ahead});
    eachTile(length, OutputTile{s, w, before, f.scale, f.y + at, width, &ahead});
    eachTile(s.keySize, Update{length, w.k, s.packedRow(), w.scaledErrors, 0, nullptr, nullptr, &w.decays.total, 0, fromZero, state,
        next, width, width, &ahead});
  }
}

// All chunks of the panels [first, end) of one head.
void scanPanels(const Forward& f, int64_t batch, int64_t head, int64_t first, int64_t end, const float* scores, float* scratch) {
  const GatedSizes& s = f.s;
  Arena arena(scratch);
  Workspace w(arena, s);
  float* states = arena.take((end - first) * s.panelState());
  const int64_t row = (batch * s.heads + head) * s.state();
  for (int64_t p = first; p < end && f.state; p++) {
    const int64_t width = panelWidth(s.valueSize, p);
    float* state = states + (p - first) * s.panelState();
    loadPanel(f.state + row + p * PANEL, s.valueSize, s.keySize, width, state);
    if (!f.starts) continue;
    float* kept = f.starts + s.start(batch, head, 0) + s.panel(p);
    for (int64_t n = 0; n < s.keySize; n++) std::copy_n(state + n * PANEL, width, kept + n * width);
  }
  for (int64_t c = 0; c < s.chunks(); c++) scanChunk(f, w, batch, head, c, first, end, scores, states, c == 0 && !f.state);
  for (int64_t p = first; p < end; p++) {
    const float* state = states + (p - first) * s.panelState();
    const int64_t width = panelWidth(s.valueSize, p);
    for (int64_t n = 0; n < s.keySize; n++) std::copy_n(state + n * PANEL, width, f.final + row + n * s.valueSize + p * PANEL);
  }
}

// Some columns of a single step of one head, as the recurrence has it; the state is read once for e and y.
void stepPanel(const Forward& f, int64_t row, int64_t p) {
  const GatedSizes& s = f.s;
  const int64_t K = s.keySize, V = s.valueSize, width = panelWidth(V, p), at = row * V + p * PANEL;
  const int64_t key = (row / s.heads * s.keyHeads + row % s.heads / s.headsPerKey()) * K;
  const float *k = f.k + key, *q = f.q + key;
  const float* before = f.state ? f.state + row * s.state() + p * PANEL : nullptr;
  float* after = f.final + row * s.state() + p * PANEL;
  const vf decay = exp(broadcast(f.a[row])), rate = broadcast(f.beta[row]);
  vf underKey[2] = {}, underQuery[2] = {}, value[2], S[2];
  float match = 0;
  for (int64_t n = 0; n < K; n++) {
    match += k[n] * q[n];
    if (!before) continue;
    loadPair(before + n * V, width, S);
    for (int j = 0; j < 2; j++) underKey[j] += S[j] * k[n], underQuery[j] += S[j] * q[n];
  }
  loadPair(f.v + at, width, value);
  for (int j = 0; j < 2; j++) value[j] = rate * (value[j] - decay * underKey[j]);
  storePair(f.y + at, width, f.scale * (decay * underQuery[0] + match * value[0]), f.scale * (decay * underQuery[1] + match * value[1]));
  for (int64_t n = 0; n < K; n++) {
    for (int j = 0; j < 2; j++) S[j] = zero();
    if (before) loadPair(before + n * V, width, S);
    storePair(after + n * V, width, decay * S[0] + k[n] * value[0], decay * S[1] + k[n] * value[1]);
  }
}

void runForward(const GatedDeltaRuleArgs& args, Pool& pool) {
  const Forward f(args);
  const GatedSizes& s = f.s;
  const int64_t rows = s.batch * s.heads, panels = s.panels();
  if (s.time == 1 && !f.starts) {
    pool.parallel(rows * panels, [&](int64_t item, int) { stepPanel(f, item / panels, item % panels); });
    return;
  }
  float* scores = pool.shared(s.allScores());
  computeScores(f, s, scores, pool);
  // Heads are divided when there are too few to keep all threads busy.
  const int64_t parts = std::clamp<int64_t>((4 * pool.threads() + rows - 1) / std::max<int64_t>(1, rows), 1, std::max<int64_t>(1, panels));
  pool.parallel(rows * parts, [&](int64_t item, int worker) {
    const int64_t part = item % parts, first = panels * part / parts, end = panels * (part + 1) / parts;
    float* scratch = pool.scratch(worker, Workspace::floats(s) + padded((end - first) * s.panelState()));
    scanPanels(f, item / parts / s.heads, item / parts % s.heads, first, end, scores, scratch);
  });
}

}  // namespace

extern const Kernel gatedDeltaRuleKernels[] = {
    kernel<GatedDeltaRuleArgs, runForward, checkGated>(),
    {nullptr, nullptr, nullptr},
};

}  // namespace lenggen::LENGGEN_ISA
