// The gradient of the generalised delta rule by chunks (deltaRule.cpp). Names: D(t,u) as in channelDecay.h; S the state at the chunk's
// start, E the gradient by the state at its end, x_t the gradient by u_t; q holds the scale.
//
// E and x walk from the last chunk to the first, panel by panel, x as the solution of the transposed system:
//   x_u = Eᵀ(D(last,u) write_u) + Σ_{t>=u} (q_t · D(t,u) write_u) dy_t + Σ_{t>u} (remove_t · D(t-1,u) write_u) x_t
//   dv_u = Eᵀ(D(last,u) k_u) + Σ_{t>=u} (q_t · D(t,u) k_u) dy_t + Σ_{t>u} (remove_t · D(t-1,u) k_u) x_t
//   E   <- D(last,0) E + Σ_t (D(t,0) q_t) dy_tᵀ + (D(t-1,0) remove_t) x_tᵀ
// With S, E and x at hand, and u from the forward pass, chunks are independent: two rows that read and two that write, each pair as in
// linear attention with a decay per channel (gatedLinearAttentionGradient.cpp):
//   dq_t = D(t,0) S dy_t + Σ_{u<=t} D(t,u) ((dy_t · v_u) k_u + (dy_t · u_u) write_u)
//   dremove_t = D(t-1,0) S x_t + Σ_{u<t} D(t-1,u) ((x_t · v_u) k_u + (x_t · u_u) write_u)
//   dk_u = D(last,u) E v_u + Σ_{t>=u} (dy_t · v_u) D(t,u) q_t + Σ_{t>u} (x_t · v_u) D(t-1,u) remove_t, and dwrite_u with u_u for v_u.
// Sums over earlier steps are made from the first sub-chunk to the last, since k and write are carried that way, and those over later ones
// from the last to the first. What stands before a border's decay is then S_border dy_t and E_border v_u, of the states at the borders of
// sub-chunks.
//
// The log decay a_j stands in all D(t,u) with u < j <= t, so that da_j is the sum over such pairs of what they give to q_t∘dq_t and, with
// t-1 for t, remove_t∘dremove_t. Of a sub-chunk that j lies in, from which t and u are inside or not:
//   neither   D(last,0) rowsum(E∘S) + Σ_{t behind} through S + D(end,start) Σ_{u before} (D(start,u) k_u)∘(E_end v_u), and of write
//   only t    what t >= j give through S_start          only u    what u < j give through E_end          both    pairs u < j <= t
// Every term holds the decay of step j, and none is subtracted from another: da is as precise where a channel forgets fast as where it does
// not.
#include "families.h"
#include "deltaRule.h"

namespace lenggen::LENGGEN_ISA {
namespace {

struct Gradient : DeltaRuleGradientArgs {
  Sizes s;
  explicit Gradient(const DeltaRuleGradientArgs& args) : DeltaRuleGradientArgs(args), s(args) {}
  bool hasStart(int64_t c) const { return c > 0 || state; }
  bool hasEnd(int64_t c) const { return c < s.chunks() - 1 || dfinal; }
};

// ---- E, x and dv, from the last chunk to the first --------------------------------------------------------------

struct WalkSpace {
  KeyRows rows;
  Scores scores;
  float *dy, *x;  // [chunk,PANEL]
  static int64_t floats(const Sizes& s) { return KeyRows::floats(s) + Scores::floats(s) + 2 * padded(s.chunk * PANEL); }
  WalkSpace(Arena& arena, const Sizes& s)
      : rows(arena, s), scores(arena, s), dy(arena.take(s.chunk * PANEL)), x(arena.take(s.chunk * PANEL)) {}
};

// x of some steps, from the last tile to the first.
struct SolveTile {
  const Sizes& s;
  const WalkSpace& w;
  const float* end;  // E; nullptr for zeros
  int64_t length;
  float* x;  // rows of V floats
  int64_t width;
  Ahead* ahead;

  template <int ROWS>
  void run(int64_t i) const {
    vf sums[ROWS][2] = {};
    if (end) addProduct(sums, s.keySize, w.rows.keptWrites + i * s.keyRow(), s.keyRow(), 1, end, ahead);
    addProduct(sums, length - i, w.scores.ofWrites + i * s.chunkRow() + i, s.chunkRow(), 1, w.dy + i * PANEL, nullptr);
    const float* scores = w.scores.removedWrites + i * s.chunkRow();
    const int64_t behind = i + ROWS;
    if (behind < length) addProduct(sums, length - behind, scores + behind, s.chunkRow(), 1, w.x + behind * PANEL, nullptr);
#pragma GCC unroll 16
    for (int t = ROWS - 1; t >= 0; t--) {
#pragma GCC unroll 16
      for (int r = 0; r < t; r++) {
        const vf score = broadcast(scores[r * s.chunkRow() + i + t]);
        for (int j = 0; j < 2; j++) sums[r][j] += score * sums[t][j];
      }
    }
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; r++) {
      for (int j = 0; j < 2; j++) store(w.x + (i + r) * PANEL + j * WIDTH, sums[r][j]);
      storePair(x + (i + r) * s.valueSize, width, sums[r][0], sums[r][1]);
    }
  }
};

// dv of some steps.
struct ValueTile {
  const Sizes& s;
  const WalkSpace& w;
  const float* end;  // E; nullptr for zeros
  int64_t length;
  float* dv;
  int64_t width;
  Ahead* ahead;

  template <int ROWS>
  void run(int64_t i) const {
    vf sums[ROWS][2] = {};
    if (end) addProduct(sums, s.keySize, w.rows.keptKeys + i * s.keyRow(), s.keyRow(), 1, end, ahead);
    addProduct(sums, length - i, w.scores.ofKeys + i * s.chunkRow() + i, s.chunkRow(), 1, w.dy + i * PANEL, nullptr);
    addProduct(sums, length - i, w.scores.removedKeys + i * s.chunkRow() + i, s.chunkRow(), 1, w.x + i * PANEL, nullptr);
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; r++) storePair(dv + (i + r) * s.valueStride(), width, sums[r][0], sums[r][1]);
  }
};

// Chunk c of one head. E: its panels; becomes that at the chunk's start, unless nobody asks for it. copy: [K,V] of E there, where that is
// kept. x [chunk,V].
void walkChunk(const Gradient& f, WalkSpace& w, int64_t row, int64_t c, float* E, float* copy, float* x) {
  const Sizes& s = f.s;
  const int64_t length = s.length(c), value = s.value(row, c);
  const bool hasEnd = f.hasEnd(c), further = c > 0 || f.dstate;
  w.rows.set(f, s, row, c);
  w.scores.set(s, w.rows);
  for (int64_t p = 0; p < s.panels(); p++) {
    const int64_t width = panelWidth(s.valueSize, p), at = value + p * PANEL;
    float* state = E + p * s.panelState();
    Ahead ahead;
    if (p + 1 == s.panels() && c > 0) {
      const int64_t key = s.key(row, c - 1);
      for (const float* rows : {f.a, f.q, f.remove, f.k, f.write}) ahead.add(rows + key, s.keySize, s.keyStride(), s.chunk);
    }
    ahead.spread((hasEnd ? 2 * stepsOf(length, PANEL, s.keySize) : 0) + (further ? 2 * stepsOf(s.keySize, PANEL, length) : 0));
    loadPanel(f.dy + at, s.valueStride(), length, width, w.dy);
    eachTile<true>(length, SolveTile{s, w, hasEnd ? state : nullptr, length, x + p * PANEL, width, &ahead});
    eachTile(length, ValueTile{s, w, hasEnd ? state : nullptr, length, f.dv + at, width, &ahead});
    if (!further) continue;
    eachTile(s.keySize, Update{length, w.rows.queries, s.keyRow(), w.dy, length, w.rows.removing, w.x, w.rows.decays.total, 1, !hasEnd,
        state, copy ? copy + p * PANEL : nullptr, s.valueSize, width, &ahead});
  }
}

// ---- the rows, chunk by chunk -----------------------------------------------------------------------------------

// Working memory for one chunk of one head.
struct Workspace {
  KeyRows rows;
  float *dq, *dremove, *dk, *dwrite, *da;  // [chunk,keyRow]
  float *stateT;                           // S or E, turned [V,keyRow]
  float *valuesT, *removedT;               // v and u turned [V,chunkRow]
  float *byValue, *byRemoved;              // dy_t · v_u, dy_t · u_u [chunk,chunkRow]
  float *xByValue, *xByRemoved;            // x_t · v_u, x_t · u_u
  float *throughStart, *across, *behind;   // [subs,keyRow], [subs,keyRow], [keyRow]

  static int64_t floats(const Sizes& s) {
    return KeyRows::floats(s) + 5 * s.chunk * s.keyRow() + s.valueSize * (s.keyRow() + 2 * s.chunkRow()) + 4 * s.square() +
           (2 * ChannelDecays::subsOf(s.chunk) + 1) * s.keyRow();
  }
  Workspace(Arena& arena, const Sizes& s) : rows(arena, s) {
    for (float** p : {&dq, &dremove, &dk, &dwrite, &da}) *p = arena.take(s.chunk * s.keyRow());
    stateT = arena.take(s.valueSize * s.keyRow());
    for (float** p : {&valuesT, &removedT}) *p = arena.take(s.valueSize * s.chunkRow());
    for (float** p : {&byValue, &byRemoved, &xByValue, &xByRemoved}) *p = arena.take(s.square());
    for (float** p : {&throughStart, &across}) *p = arena.take(ChannelDecays::subsOf(s.chunk) * s.keyRow());
    behind = arena.take(s.keyRow());
  }
};

// to[t,i] = Σ_j state[i,j] rows[t,j] for two lists of rows; zeros where there is no state.
void timesState(const Sizes& s, const float* state, Operand one, float* toOne, Operand other, float* toOther, int64_t length,
                float* stateT, Ahead* ahead) {
  if (!state) {
    for (float* to : {toOne, toOther}) std::fill_n(to, length * s.keyRow(), 0.0f);
    return;
  }
  transpose(s.keySize, s.valueSize, state, s.valueSize, stateT, s.keyRow());
  for (int64_t j = 0; j < s.valueSize; j++) std::fill(stateT + j * s.keyRow() + s.keySize, stateT + (j + 1) * s.keyRow(), 0.0f);
  gemmSmall(length, s.keyRow(), s.valueSize, one, stateT, s.keyRow(), toOne, s.keyRow(), false, Skip::None, ahead);
  gemmSmall(length, s.keyRow(), s.valueSize, other, stateT, s.keyRow(), toOther, s.keyRow(), false, Skip::None, ahead);
}

// From S dy_t and S x_t: dq and dremove of a sub-chunk as they come from before it, with k and write carried to its start; and what of it
// comes through S, times q and remove.
void readsBefore(const Sizes& s, Workspace& w, int64_t sub) {
  const ChannelDecays& d = w.rows.decays;
  const int64_t first = d.first(sub), count = d.count(sub), base = first * d.row;
  for (int64_t i = 0; i < d.row; i += WIDTH) {
    const vf start = load(d.start + sub * d.row + i);
    vf through = zero();
    for (int64_t at = base + i, n = count; n > 0; n--, at += d.row) {
      const vf query = load(w.dq + at) * start, removing = load(w.dremove + at) * start;
      store(w.dq + at, query);
      store(w.dremove + at, removing);
      through += load(w.rows.queries + at) * query + load(w.rows.removing + at) * removing;
    }
    store(w.throughStart + sub * d.row + i, through);
  }
  if (first > 0) {
    const auto add = [&](const float* scores, const float* kept, float* to) {
      gemmSmall(count, d.row, first, {scores + first * s.chunkRow(), s.chunkRow(), 1}, kept, d.row, to + base, d.row, true);
    };
    add(w.byValue, w.rows.keptKeys, w.dq);
    add(w.byRemoved, w.rows.keptWrites, w.dq);
    add(w.xByValue, w.rows.keptKeys, w.dremove);
    add(w.xByRemoved, w.rows.keptWrites, w.dremove);
  }
  for (int64_t i = 0; i < d.row; i += WIDTH) {
    vf decay = broadcast(1.0f);
    for (int64_t at = base + i, n = count; n > 0; n--, at += d.row) {
      store(w.dremove + at, load(w.dremove + at) * decay);
      decay *= load(d.step + at);
      store(w.dq + at, load(w.dq + at) * decay);
    }
  }
}

// From E_end v_u and E_end u_u for all u up to the end of a sub-chunk: dk and dwrite of the sub-chunk as they come from behind it, and
// E_start v_u and E_start u_u for the steps before it; and Σ_{u before} k_u D(start,u)∘(E_end v_u), and of write, times what the sub-chunk
// forgets.
void writesBehind(const Sizes& s, Workspace& w, int64_t sub) {
  const ChannelDecays& d = w.rows.decays;
  const int64_t first = d.first(sub), count = d.count(sub);
  for (int64_t i = 0; i < d.row; i += WIDTH) {
    vf decay = broadcast(1.0f), across = zero();
    for (int64_t u = first + count - 1; u >= first; u--) {
      const int64_t at = u * d.row + i;
      store(w.dk + at, load(w.dk + at) * decay);
      store(w.dwrite + at, load(w.dwrite + at) * decay);
      decay *= load(d.step + at);
    }
    vf between = broadcast(1.0f);
    const vf block = load(d.block + sub * d.row + i);
    for (int64_t before = sub - 1; before >= 0; before--) {
      decay = between;
      for (int64_t u = d.first(before) + SUB - 1; u >= d.first(before); u--) {
        const int64_t at = u * d.row + i;
        const vf key = load(w.dk + at), write = load(w.dwrite + at);
        across += (load(w.rows.k + at) * key + load(w.rows.write + at) * write) * decay;
        store(w.dk + at, key * block);
        store(w.dwrite + at, write * block);
        decay *= load(d.step + at);
      }
      between *= load(d.block + before * d.row + i);
    }
    store(w.across + sub * d.row + i, across * block);
  }
  if (first > 0) {
    const auto add = [&](const float* scores, const float* reading, float* to) {
      gemmSmall(first, d.row, count, {scores + first * s.chunkRow(), 1, s.chunkRow()}, reading + first * d.row, d.row, to, d.row, true);
    };
    add(w.byValue, w.rows.queries, w.dk);
    add(w.xByValue, w.rows.removing, w.dk);
    add(w.byRemoved, w.rows.queries, w.dwrite);
    add(w.xByRemoved, w.rows.removing, w.dwrite);
  }
}

// What pairs inside of a sub-chunk give to all four, and da of it, from what all other pairs give.
void inside(const Sizes& s, Workspace& w, int64_t sub) {
  const ChannelDecays& d = w.rows.decays;
  const int64_t first = d.first(sub), count = d.count(sub), base = first * d.row, corner = first * s.chunkRow() + first;
  const float *byValue = w.byValue + corner, *byRemoved = w.byRemoved + corner;
  const float *xByValue = w.xByValue + corner, *xByRemoved = w.xByRemoved + corner;
  for (int64_t i = base; i < base + d.row; i += WIDTH) {
    const vf neither = load(w.across + sub * d.row + i - base) + load(w.behind + i - base);
    vf onlyT = load(w.rows.q + i) * load(w.dq + i), onlyU = zero();
    for (int64_t t = 1, at = i + d.row; t < count; t++, at += d.row)
      onlyT += load(w.rows.q + at) * load(w.dq + at) + load(w.rows.remove + at) * load(w.dremove + at);
    store(w.da + i, neither + onlyT);
    for (int64_t u = 0; u < count; u++) {
      const int64_t own = i + u * d.row, pair = u * s.chunkRow() + u;
      const vf key = load(w.rows.k + own), write = load(w.rows.write + own), query = load(w.rows.q + own);
      vf keyGradient = load(w.dk + own), writeGradient = load(w.dwrite + own), withT = zero(), decay = broadcast(1.0f);
      onlyU += key * keyGradient + write * writeGradient;
      keyGradient += byValue[pair] * query;
      writeGradient += byRemoved[pair] * query;
      store(w.dq + own, load(w.dq + own) + byValue[pair] * key + byRemoved[pair] * write);
      for (int64_t t = u + 1; t < count; t++) {
        const int64_t at = i + t * d.row, other = t * s.chunkRow() + u;
        // remove_t reads before step t decays, q_t behind.
        const vf removing = load(w.rows.remove + at);
        const vf xKey = decay * xByValue[other], xWrite = decay * xByRemoved[other];
        const vf removeGradient = load(w.dremove + at) + xKey * key + xWrite * write;
        store(w.dremove + at, removeGradient);
        if (t > u + 1) withT += removing * removeGradient;
        decay *= load(d.step + at);
        const vf reading = load(w.rows.q + at);
        const vf ofKey = decay * byValue[other], ofWrite = decay * byRemoved[other];
        const vf queryGradient = load(w.dq + at) + ofKey * key + ofWrite * write;
        store(w.dq + at, queryGradient);
        withT += reading * queryGradient;
        keyGradient += xKey * removing + ofKey * reading;
        writeGradient += xWrite * removing + ofWrite * reading;
      }
      store(w.dk + own, keyGradient);
      store(w.dwrite + own, writeGradient);
      if (u + 1 < count) store(w.da + own + d.row, neither + onlyU + withT);
    }
  }
}

// D(last,0) rowsum(E∘S): what goes through the whole chunk.
void throughChunk(const Sizes& s, const ChannelDecays& d, const float* S, const float* E, float* to) {
  std::fill_n(to, d.row, 0.0f);
  if (!S || !E) return;
  for (int64_t i = 0; i < s.keySize; i++) {
    vf sums[2] = {}, pair[2], other[2];
    for (int64_t j = 0; j < s.valueSize; j += PANEL) {
      const int64_t width = std::min(PANEL, s.valueSize - j), at = i * s.valueSize + j;
      loadPair(S + at, width, pair), loadPair(E + at, width, other);
      for (int v = 0; v < 2; v++) sums[v] += pair[v] * other[v];
    }
    to[i] = d.total[i] * sum(sums[0] + sums[1]);
  }
}

// Rows of scratch to where they belong, times `factor`.
void writeRows(const Sizes& s, const float* rows, int64_t length, float factor, float* to) {
  for (int64_t t = 0; t < length; t++, rows += s.keyRow(), to += s.keyStride()) {
    int64_t i = 0;
    for (; i + WIDTH <= s.keySize; i += WIDTH) store(to + i, load(rows + i) * factor);
    if (i < s.keySize) storeFirst(to + i, load(rows + i) * factor, s.keySize - i);
  }
}

// One chunk of one head. S and E [K,V] as in the header, nullptr for zeros; x [chunk,V].
void chunkGradient(const Gradient& f, int64_t row, int64_t c, const float* S, const float* E, const float* x, float* scratch) {
  const Sizes& s = f.s;
  const int64_t length = s.length(c), key = s.key(row, c), value = s.value(row, c);
  Arena arena(scratch);
  Workspace w(arena, s);
  const ChannelDecays& d = w.rows.decays;
  Ahead ahead;
  if (S) ahead.add(S, s.state());
  if (E) ahead.add(E, s.state());
  ahead.spread(2 * stepsOf(length, length, s.valueSize));
  w.rows.set(f, s, row, c);
  transpose(length, s.valueSize, f.v + value, s.valueStride(), w.valuesT, s.chunkRow());
  transpose(length, s.valueSize, f.removed + value, s.valueStride(), w.removedT, s.chunkRow());
  const Operand dy{f.dy + value, s.valueStride(), 1}, ofX{x, s.valueSize, 1};
  const auto pairs = [&](const Operand& rows, const float* columns, float* to) {
    gemmSmall(length, length, s.valueSize, rows, columns, s.chunkRow(), to, s.chunkRow(), false, Skip::LowerC, &ahead);
  };
  pairs(dy, w.valuesT, w.byValue);
  pairs(dy, w.removedT, w.byRemoved);
  pairs(ofX, w.valuesT, w.xByValue);
  pairs(ofX, w.removedT, w.xByRemoved);
  timesState(s, S, dy, w.dq, ofX, w.dremove, length, w.stateT, &ahead);
  timesState(s, E, {f.v + value, s.valueStride(), 1}, w.dk, {f.removed + value, s.valueStride(), 1}, w.dwrite, length, w.stateT, &ahead);

  for (int64_t sub = 0; sub < d.subs(); sub++) {
    readsBefore(s, w, sub);
    carryOver(d, sub, w.rows.keptKeys);
    carryOver(d, sub, w.rows.keptWrites);
  }
  throughChunk(s, d, S, E, w.behind);
  for (int64_t sub = d.subs() - 1; sub >= 0; sub--) {
    writesBehind(s, w, sub);
    inside(s, w, sub);
    for (int64_t i = 0; i < d.row; i += WIDTH) store(w.behind + i, load(w.behind + i) + load(w.throughStart + sub * d.row + i));
  }
  writeRows(s, w.dq, length, f.scale, f.dq + key);
  writeRows(s, w.dremove, length, 1.0f, f.dremove + key);
  writeRows(s, w.dk, length, 1.0f, f.dk + key);
  writeRows(s, w.dwrite, length, 1.0f, f.dwrite + key);
  writeRows(s, w.da, length, 1.0f, f.da + key);
}

void runGradient(const DeltaRuleGradientArgs& args, Pool& pool) {
  const Gradient f(args);
  const Sizes& s = f.s;
  const int64_t chunks = s.chunks(), heads = s.batch * s.heads, walking = s.panels() * s.panelState(), rows = s.chunk * s.valueSize;
  // As many chunks at a time as keep all threads busy: their ends should stay in cache. Changes no number.
  const int64_t segment = std::min(chunks, (4 * pool.threads() + heads - 1) / std::max<int64_t>(1, heads));
  Arena arena(pool.shared(3 * 16 + heads * (walking + segment * (s.state() + rows))));
  float* E = arena.take(heads * walking);                   // [B,H,panels,K,PANEL]
  float* ends = arena.take(heads * segment * s.state());    // [B,H,segment,K,V]
  float* x = arena.take(heads * segment * rows);            // [B,H,segment,chunk,V]
  for (int64_t end = chunks; end > 0; end -= segment) {
    const int64_t first = std::max<int64_t>(0, end - segment), count = end - first;
    pool.parallel(heads, [&](int64_t row, int worker) {
      float* state = E + row * walking;
      Arena own(pool.scratch(worker, WalkSpace::floats(s)));
      WalkSpace w(own, s);
      const auto endAt = [&](int64_t c) { return c >= first ? ends + (row * segment + c - first) * s.state() : nullptr; };
      for (int64_t p = 0; p < s.panels() && f.hasEnd(end - 1); p++) {
        const int64_t width = panelWidth(s.valueSize, p);
        float* panel = state + p * s.panelState();
        if (end == chunks) loadPanel(f.dfinal + row * s.state() + p * PANEL, s.valueSize, s.keySize, width, panel);
        for (int64_t i = 0; i < s.keySize; i++) std::copy_n(panel + i * PANEL, width, endAt(end - 1) + i * s.valueSize + p * PANEL);
      }
      for (int64_t c = end - 1; c >= first; c--)
        walkChunk(f, w, row, c, state, c == 0 && f.dstate ? f.dstate + row * s.state() : endAt(c - 1),
                  x + (row * segment + c - first) * rows);
    });
    pool.parallel(heads * count, [&](int64_t item, int worker) {
      const int64_t row = item / count, c = first + item % count, place = row * segment + c - first;
      chunkGradient(f, row, c, f.hasStart(c) ? f.starts + s.start(row, c) : nullptr, f.hasEnd(c) ? ends + place * s.state() : nullptr,
                    x + place * rows, pool.scratch(worker, Workspace::floats(s)));
    });
  }
}

}  // namespace

extern const Kernel deltaRuleGradientKernels[] = {
    kernel<DeltaRuleGradientArgs, runGradient, checkSizes>(),
    {nullptr, nullptr, nullptr},
};

}  // namespace lenggen::LENGGEN_ISA
