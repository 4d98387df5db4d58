// The gradient of the gated delta rule by chunks (gatedDeltaRule.cpp). Names: s(t) as there; M[t,u] = exp(s(t) - s(u)) for u <= t, else 0;
// S the state at the chunk's start, E the gradient by the state at its end; p_t the gradient by beta_t e_t, so that dv_t = beta_t p_t.
//
// E and p walk from the last chunk to the first, panel by panel, p as the solution of the transposed system:
//   p_u = exp(s(last) - s(u)) Eᵀk_u + Σ_{t>=u} (q_t · k_u) M[t,u] scale dy_t - Σ_{t>u} (k_t · k_u) M[t,u] dv_t
//   E  <- exp(s(last)) E + Σ_t q_t (exp(s(t)) scale dy_t)ᵀ - Σ_t k_t (exp(s(t)) dv_t)ᵀ
// With S, E and p at hand, and e from the forward pass, chunks are independent. With the derivatives by the scores q_t · k_u and k_t · k_u,
//   F[t,u] =  Σ_heads scale (dy_t · e_u) beta_u M[t,u]  for u <= t       G[t,u] = -Σ_heads (dv_t · e_u) beta_u M[t,u]  for u < t
//   dq_t = Σ_u F[t,u] k_u + Σ_heads exp(s(t)) S (scale dy_t)
//   dk_u = Σ_t F[t,u] q_t + Σ_t (G[t,u] + G[u,t]) k_t + Σ_heads exp(s(last) - s(u)) E (beta_u e_u) - Σ_heads exp(s(u)) S dv_u
//   dbeta_t = p_t · e_t
// and for the log decays as in ssdGradient.cpp: with Q[t,u] = F[t,u] (q_t · k_u) + G[t,u] (k_t · k_u) of one head below the diagonal,
//   da_j = Σ_{u<j<=t} Q[t,u] + Σ_{t>=j} exp(s(t)) (q_t · S scale dy_t - k_t · S dv_t)
//          + Σ_{u<j} exp(s(last) - s(u)) k_u · E beta_u e_u + exp(s(last)) ⟨E,S⟩.
#include "families.h"
#include "gatedDeltaRule.h"
#include "ssdTile.h"

namespace lenggen::LENGGEN_ISA {
namespace {

struct Gradient : GatedDeltaRuleGradientArgs {
  GatedSizes s;
  explicit Gradient(const GatedDeltaRuleGradientArgs& args) : GatedDeltaRuleGradientArgs(args), s(args) {}
  bool hasStart(int64_t c) const { return c > 0 || state; }
  bool hasEnd(int64_t c) const { return c < s.chunks() - 1 || dfinal; }
};

// ---- E and p, from the last chunk to the first ------------------------------------------------------------------

// Working memory for one chunk of one head.
struct WalkSpace {
  Decays decays;
  // Keys and queries [chunk,packedRow], masked scores [chunk,chunkRow], ones, beta, and panels: scale dy and the same times exp(s(t)), dv
  // and -exp(s(t)) dv.
  float *k, *q, *keyScores, *queryScores, *ones, *rate, *dy, *scaledDy, *dv, *scaledDv;

  static int64_t floats(const GatedSizes& s) {
    return Decays::floats(s.chunk) + 2 * s.chunk * s.packedRow() + 2 * s.square() + 2 * padded(s.chunk) + 4 * padded(s.chunk * PANEL);
  }
  WalkSpace(Arena& arena, const GatedSizes& s) : decays(arena, s.chunk) {
    for (float** p : {&k, &q}) *p = arena.take(s.chunk * s.packedRow());
    for (float** p : {&keyScores, &queryScores}) *p = arena.take(s.square());
    for (float** p : {&ones, &rate}) *p = arena.take(s.chunk);
    for (float** p : {&dy, &scaledDy, &dv, &scaledDv}) *p = arena.take(s.chunk * PANEL);
    std::fill(ones, ones + padded(s.chunk), 1.0f);
  }
};

// p of some steps, from the last tile to the first.
struct SolveTile {
  const GatedSizes& s;
  const WalkSpace& w;
  const float* end;  // E; nullptr for zeros
  int64_t length;
  float* p;
  int64_t width;
  Ahead* ahead;

  template <int ROWS>
  void run(int64_t i) const {
    vf sums[ROWS][2] = {};
    if (end) addProduct(sums, s.keySize, w.k + i * s.packedRow(), s.packedRow(), 1, end, ahead);
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; r++)
      for (int j = 0; j < 2; j++) sums[r][j] *= w.decays.toEnd[i + r];
    addProduct(sums, length - i, w.queryScores + i * s.chunkRow() + i, 1, s.chunkRow(), w.dy + i * PANEL, nullptr);
    const int64_t behind = i + ROWS;
    if (behind < length) {
      addProduct(sums, length - behind, w.keyScores + behind * s.chunkRow() + i, 1, s.chunkRow(), w.dv + behind * PANEL, nullptr);
    }
#pragma GCC unroll 16
    for (int t = ROWS - 1; t >= 0; t--) {
      const float* scores = w.keyScores + (i + t) * s.chunkRow() + i;
      const vf rate = broadcast(w.rate[i + t]);
      const vf dv[2] = {rate * sums[t][0], rate * sums[t][1]};
#pragma GCC unroll 16
      for (int r = 0; r < t; r++) {
        const vf score = broadcast(scores[r]);
        for (int j = 0; j < 2; j++) sums[r][j] += score * dv[j];
      }
      const vf decay = broadcast(-w.decays.fromStart[i + t]);
      for (int j = 0; j < 2; j++) {
        store(w.dv + (i + t) * PANEL + j * WIDTH, dv[j]);
        store(w.scaledDv + (i + t) * PANEL + j * WIDTH, decay * dv[j]);
      }
      storePair(p + (i + t) * s.valueRow(), width, sums[t][0], sums[t][1]);
    }
  }
};

// Panels [first, end) of one head in chunk c. E: those of the head; becomes that at the chunk's start, unless nobody asks for it. copy: of
// the head's E there, where that is kept.
void walkChunk(const Gradient& f, WalkSpace& w, int64_t batch, int64_t head, int64_t c, int64_t first, int64_t end, const float* scores,
               float* E, float* copy) {
  const GatedSizes& s = f.s;
  const int64_t length = s.length(c), keyHead = head / s.headsPerKey(), key = s.key(batch, c, keyHead), value = s.value(batch, c, head);
  const bool hasEnd = f.hasEnd(c), further = c > 0 || f.dstate;
  w.decays.set(f.a + s.gate(batch, c, head), s.heads, length);
  packGates(f.beta + s.gate(batch, c, head), s.heads, length, w.rate);
  packRows(f.k + key, s.keyRow(), length, s.keySize, w.k, s.packedRow());
  packRows(f.q + key, s.keyRow(), length, s.keySize, w.q, s.packedRow());
  maskScores(s, w.decays, scores + s.scores(batch, keyHead, c), w.ones, length, w.keyScores, w.queryScores);
  for (int64_t p = first; p < end; p++) {
    const int64_t width = panelWidth(s.valueSize, p), at = value + p * PANEL;
    float* state = E + s.panel(p);
    Ahead ahead;
    if (p + 1 < end) {
      ahead.add(f.dy + at + PANEL, panelWidth(s.valueSize, p + 1), s.valueRow(), length);
    } else if (c > 0) {
      ahead.add(f.dy + s.value(batch, c - 1, head) + first * PANEL, panelWidth(s.valueSize, first), s.valueRow(), s.chunk);
      ahead.add(f.k + s.key(batch, c - 1, keyHead), s.keySize, s.keyRow(), s.chunk);
      ahead.add(f.q + s.key(batch, c - 1, keyHead), s.keySize, s.keyRow(), s.chunk);
    }
    ahead.add(f.dv + at, width, s.valueRow(), length);
    ahead.spread((hasEnd ? stepsOf(length, PANEL, s.keySize) : 0) + (further ? 2 * stepsOf(s.keySize, PANEL, length) : 0));
    loadPanel(f.dy + at, s.valueRow(), length, width, w.dy);
    for (int64_t t = 0; t < length; t++) {
      scaled(w.dy + t * PANEL, w.dy + t * PANEL, f.scale, PANEL);
      scaled(w.dy + t * PANEL, w.scaledDy + t * PANEL, w.decays.fromStart[t], PANEL);
    }
    eachTile<true>(length, SolveTile{s, w, hasEnd ? state : nullptr, length, f.dv + at, width, &ahead});
    if (!further) continue;
    eachTile(s.keySize, Update{length, w.q, s.packedRow(), w.scaledDy, length, w.k, w.scaledDv, &w.decays.total, 0, !hasEnd,
        state, copy ? copy + s.panel(p) : nullptr, width, width, &ahead});
  }
}

// ---- all else, chunk by chunk -----------------------------------------------------------------------------------

// Values are taken so many columns at a time, so that what a chunk works on stays in cache.
constexpr int64_t BLOCK_PANELS = 4;

// Working memory for one chunk of one key head.
struct Workspace {
  Decays decays;
  // Shared by the heads: keys and queries [chunk,packedRow], turned [K,chunkRow], what adds up over heads likewise, F and G.
  float *k, *q, *kT, *qT, *dkT, *dqT, *dqueryScores, *dkeyScores;
  // Of one head: a block of dy, dv and e turned [columns,chunkRow], dy · e and dv · e.
  float *dyT, *dvT, *errorsT, *byQuery, *byKey;
  // Per step: beta and its gradient, factors, column and row sums of Q, and the terms of da that pass through S and E.
  float *rate, *drate, *queryDecay, *keyDecay, *toEnd, *columns, *rows, *throughStart, *throughEnd;

  static int64_t floats(const GatedSizes& s) {
    return Decays::floats(s.chunk) + 2 * s.chunk * s.packedRow() + (4 * s.keySize + 3 * BLOCK_PANELS * PANEL) * s.chunkRow()
        + 4 * s.square() + 9 * s.chunkRow();
  }
  Workspace(Arena& arena, const GatedSizes& s) : decays(arena, s.chunk) {
    for (float** p : {&k, &q}) *p = arena.take(s.chunk * s.packedRow());
    for (float** p : {&kT, &qT, &dkT, &dqT}) *p = arena.take(s.keySize * s.chunkRow());
    for (float** p : {&dyT, &dvT, &errorsT}) *p = arena.take(BLOCK_PANELS * PANEL * s.chunkRow());
    for (float** p : {&dqueryScores, &dkeyScores, &byQuery, &byKey}) *p = arena.take(s.square());
    for (float** p : {&rate, &drate, &queryDecay, &keyDecay, &toEnd, &columns, &rows, &throughStart, &throughEnd})
      *p = arena.take(s.chunkRow());
  }
};

// p in dv becomes dv, and dbeta += p · e, for a block of columns.
void finishValues(const GatedSizes& s, Workspace& w, const float* errors, float* dv, int64_t length, int64_t columns) {
  for (int64_t t = 0; t < length; t++, errors += s.valueRow(), dv += s.valueRow()) {
    w.drate[t] += dot(dv, errors, columns);
    scaled(dv, dv, w.rate[t], columns);
  }
}

// F and G from byQuery and byKey, and the row and column sums of Q.
void maskGradient(const GatedSizes& s, Workspace& w, const float* scores, float scale, int64_t length) {
  const vi lane = lanes();
  std::fill(w.columns, w.columns + s.chunkRow(), 0.0f);
  for (int64_t first = 0; first < length; first += WIDTH) {
    const MaskBlock block(w.decays, first);
    for (int64_t t = first; t < std::min(length, first + WIDTH); t++) {
      const int64_t row = t * s.chunkRow();
      const float *keyScores = scores + row, *queryScores = keyScores + s.square();
      const vi offset = lane - static_cast<int32_t>(t - first);
      const auto put = [&](int64_t u, vf mask, bool square) {
        const vf factor = mask * load(w.rate + u);
        vf byQuery = load(w.byQuery + row + u) * (factor * scale), byKey = -load(w.byKey + row + u) * factor;
        vf inside;
        if (square) {
          byQuery = select(offset <= 0, byQuery, zero()), byKey = select(offset < 0, byKey, zero());
          inside = select(offset < 0, byQuery * load(queryScores + u) + byKey * load(keyScores + u), zero());
        } else {
          inside = byQuery * load(queryScores + u) + byKey * load(keyScores + u);
        }
        store(w.dqueryScores + row + u, load(w.dqueryScores + row + u) + byQuery);
        store(w.dkeyScores + row + u, load(w.dkeyScores + row + u) + byKey);
        store(w.columns + u, load(w.columns + u) + inside);
        return inside;
      };
      vf sums = zero();
      for (int64_t u = 0; u < first; u += WIDTH) sums += put(u, block.left(t, u), false);
      w.rows[t] = sum(sums + put(first, block.square(t), true));
    }
  }
}

// With X = (state [K,columns] in panels) · b, b [columns,chunkRow] and columns of X times factor: total += X, and along[t] += Σ_n X[n,t]
// with[n,t].
struct StateTile {
  const GatedSizes& s;
  const float* state;
  int64_t panels, lastWidth;
  const float* b;
  int64_t j;
  SumAndProject finish;
  Ahead* ahead;

  template <int ROWS>
  void run(int64_t i) const {
    vf sums[ROWS][2] = {};
    for (int64_t p = 0; p < panels; p++) {
      const int64_t width = p + 1 < panels ? PANEL : lastWidth;
      const float* from = b + p * PANEL * s.chunkRow() + j;
      multiply<false>(sums, width, state + s.panel(p) + i * width, width, 1, from, s.chunkRow(), WIDTH, nextOf(ahead, width, from));
    }
    finish(i, j, sums, WIDTH);
  }
};

// One head of one chunk: its own gradients, and its part of F, G, dqT and dkT. S and E as in the header; nullptr for zeros.
void headGradient(const Gradient& f, Workspace& w, int64_t batch, int64_t c, int64_t head, const float* scores, const float* S,
                  const float* E) {
  const GatedSizes& s = f.s;
  const int64_t length = s.length(c), gate = s.gate(batch, c, head), value = s.value(batch, c, head), steps = s.chunkRow();
  w.decays.set(f.a + gate, s.heads, length);
  packGates(f.beta + gate, s.heads, length, w.rate);
  for (int64_t t = 0; t < length; t += WIDTH) {
    store(w.queryDecay + t, load(w.decays.fromStart + t) * f.scale);
    store(w.keyDecay + t, -load(w.decays.fromStart + t));
    store(w.toEnd + t, load(w.decays.toEnd + t) * load(w.rate + t));
  }
  for (float* sums : {w.drate, w.throughStart, w.throughEnd}) std::fill(sums, sums + steps, 0.0f);
  for (int64_t first = 0; first < s.panels(); first += BLOCK_PANELS) {
    const int64_t panels = std::min(BLOCK_PANELS, s.panels() - first), last = panelWidth(s.valueSize, first + panels - 1);
    const int64_t columns = (panels - 1) * PANEL + last, at = value + first * PANEL;
    finishValues(s, w, f.errors + at, f.dv + at, length, columns);
    transpose(length, columns, f.dy + at, s.valueRow(), w.dyT, steps);
    transpose(length, columns, f.dv + at, s.valueRow(), w.dvT, steps);
    transpose(length, columns, f.errors + at, s.valueRow(), w.errorsT, steps);
    Ahead ahead;
    if (S) ahead.add(S + s.panel(first), s.keySize * columns);
    if (E) ahead.add(E + s.panel(first), s.keySize * columns);
    ahead.spread(stepsOf(length, length, columns));
    gemmSmall(length, length, columns, {f.dy + at, s.valueRow(), 1}, w.errorsT, steps, w.byQuery, steps, first > 0, Skip::LowerC, &ahead);
    gemmSmall(length, length, columns, {f.dv + at, s.valueRow(), 1}, w.errorsT, steps, w.byKey, steps, first > 0, Skip::LowerC, &ahead);
    for (int64_t j = 0; j < length; j += PANEL) {
      const auto add = [&](const float* state, const float* b, const float* factor, const float* with, float* total, float* along) {
        eachTile(s.keySize, StateTile{s, state + s.panel(first), panels, last, b, j, {factor, with, total, along, steps}, &ahead});
      };
      if (S) add(S, w.dyT, w.queryDecay, w.qT, w.dqT, w.throughStart);
      if (S) add(S, w.dvT, w.keyDecay, w.kT, w.dkT, w.throughStart);
      if (E) add(E, w.errorsT, w.toEnd, w.kT, w.dkT, w.throughEnd);
    }
  }
  maskGradient(s, w, scores, f.scale, length);
  const double carried = S && E ? static_cast<double>(w.decays.total) * dot(E, S, s.state()) : 0;
  writeDecayGradient({w.columns, w.rows, w.throughStart, w.throughEnd}, carried, length, s.heads, f.da + gate);
  for (int64_t t = 0; t < length; t++) f.dbeta[gate + t * s.heads] = w.drate[t];
}

// One chunk of one key head. ends: E of the key head's first head at this chunk; heads are endsStride floats apart.
void keyGradient(const Gradient& f, int64_t batch, int64_t c, int64_t keyHead, const float* scores, const float* ends, int64_t endsStride,
                 float* scratch) {
  const GatedSizes& s = f.s;
  const int64_t K = s.keySize, length = s.length(c), at = s.key(batch, c, keyHead), row = s.keyRow(), steps = s.chunkRow();
  Arena arena(scratch);
  Workspace w(arena, s);
  packRows(f.k + at, row, length, K, w.k, s.packedRow());
  packRows(f.q + at, row, length, K, w.q, s.packedRow());
  transpose(length, K, w.k, s.packedRow(), w.kT, steps);
  transpose(length, K, w.q, s.packedRow(), w.qT, steps);
  for (float* sums : {w.dkT, w.dqT}) std::fill(sums, sums + K * steps, 0.0f);
  for (float* sums : {w.dqueryScores, w.dkeyScores}) std::fill(sums, sums + s.square(), 0.0f);
  for (int64_t i = 0; i < s.headsPerKey(); i++) {
    const int64_t head = keyHead * s.headsPerKey() + i;
    headGradient(f, w, batch, c, head, scores, f.hasStart(c) ? f.starts + s.start(batch, head, c) : nullptr,
        f.hasEnd(c) ? ends + i * endsStride : nullptr);
  }
  transpose(K, length, w.dqT, steps, f.dq + at, row);
  transpose(K, length, w.dkT, steps, f.dk + at, row);
  gemmSmall(length, K, length, {w.dqueryScores, steps, 1}, w.k, s.packedRow(), f.dq + at, row, true, Skip::LowerA);
  gemmSmall(length, K, length, {w.dqueryScores, 1, steps}, w.q, s.packedRow(), f.dk + at, row, true, Skip::UpperA);
  gemmSmall(length, K, length, {w.dkeyScores, steps, 1}, w.k, s.packedRow(), f.dk + at, row, true, Skip::LowerA);
  gemmSmall(length, K, length, {w.dkeyScores, 1, steps}, w.k, s.packedRow(), f.dk + at, row, true, Skip::UpperA);
}

void runGradient(const GatedDeltaRuleGradientArgs& args, Pool& pool) {
  const Gradient f(args);
  const GatedSizes& s = f.s;
  const int64_t chunks = s.chunks(), heads = s.batch * s.heads, panels = s.panels(), walking = panels * s.panelState();
  // As many chunks at a time as keep all threads busy: their ends should stay in cache. Changes no number.
  const int64_t wanted = 4 * pool.threads(), perChunk = std::max<int64_t>(1, s.batch * s.keyHeads);
  const int64_t segment = std::min(chunks, (wanted + perChunk - 1) / perChunk);
  const int64_t parts = std::clamp<int64_t>((wanted + heads - 1) / std::max<int64_t>(1, heads), 1, std::max<int64_t>(1, panels));
  Arena arena(pool.shared(3 * 16 + s.allScores() + heads * walking + heads * segment * s.state()));
  float* scores = arena.take(s.allScores());
  float* E = arena.take(heads * walking);                     // [B,HV,panels,K,PANEL]
  float* ends = arena.take(heads * segment * s.state());      // [B,HV,segment,K,V] in panels
  computeScores(f, s, scores, pool);
  for (int64_t end = chunks; end > 0; end -= segment) {
    const int64_t first = std::max<int64_t>(0, end - segment), count = end - first;
    pool.parallel(heads * parts, [&](int64_t item, int worker) {
      const int64_t row = item / parts, part = item % parts, firstPanel = panels * part / parts, endPanel = panels * (part + 1) / parts;
      float* state = E + row * walking;
      Arena own(pool.scratch(worker, WalkSpace::floats(s)));
      WalkSpace w(own, s);
      const auto endAt = [&](int64_t c) { return c >= first ? ends + (row * segment + c - first) * s.state() : nullptr; };
      for (int64_t p = firstPanel; p < endPanel && f.hasEnd(end - 1); p++) {
        const int64_t width = panelWidth(s.valueSize, p);
        if (end == chunks) loadPanel(f.dfinal + row * s.state() + p * PANEL, s.valueSize, s.keySize, width, state + s.panel(p));
        for (int64_t n = 0; n < s.keySize; n++)
          std::copy_n(state + s.panel(p) + n * PANEL, width, endAt(end - 1) + s.panel(p) + n * width);
      }
      for (int64_t c = end - 1; c >= first; c--)
        walkChunk(f, w, row / s.heads, row % s.heads, c, firstPanel, endPanel, scores, state, endAt(c - 1));
      for (int64_t p = firstPanel; p < endPanel && f.dstate && first == 0; p++) {
        const int64_t width = panelWidth(s.valueSize, p);
        for (int64_t n = 0; n < s.keySize; n++)
          std::copy_n(state + s.panel(p) + n * PANEL, width, f.dstate + row * s.state() + n * s.valueSize + p * PANEL);
      }
    });
    pool.parallel(s.batch * s.keyHeads * count, [&](int64_t item, int worker) {
      const int64_t c = first + item % count, keyHead = item / count % s.keyHeads, batch = item / count / s.keyHeads;
      const int64_t head = batch * s.heads + keyHead * s.headsPerKey();
      keyGradient(f, batch, c, keyHead, scores + s.scores(batch, keyHead, c), ends + (head * segment + c - first) * s.state(),
                  segment * s.state(), pool.scratch(worker, Workspace::floats(s)));
    });
  }
}

}  // namespace

extern const Kernel gatedDeltaRuleGradientKernels[] = {
    kernel<GatedDeltaRuleGradientArgs, runGradient, checkGated>(),
    {nullptr, nullptr, nullptr},
};

}  // namespace lenggen::LENGGEN_ISA
