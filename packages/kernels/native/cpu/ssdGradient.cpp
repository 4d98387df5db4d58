// The gradient of the chunked scan (ssd.cpp). Names: s(t) as there; scores K[t,u] = c_t · b_u; M[t,u] = exp(s(t) - s(u))
// for u <= t, else 0; v_t = dt_t x_t; S the state at the chunk's start, E the gradient by the state at its end.
//
// E walks from the last chunk to the first:   E <- exp(s(last)) E + Σ_t exp(s(t)) dy_t c_tᵀ.
// With S and E at hand, chunks are independent. S of the first chunk is zero when no state comes in, E of the last when the
// loss does not see the final state, as in most training: what they would give is left out. From y and the next state as
// functions of a chunk's inputs:
//   W = K∘M,   dW[t,u] = dy_t · v_u,   dK = Σ_heads dW∘M
//   dv_u = Σ_{t>=u} W[t,u] dy_t + exp(s(last) - s(u)) E b_u;   dx = dt dv + d dy,   ddt = x · dv,   dd = Σ dy · x
//   dc_t = Σ_u dK[t,u] b_u + Σ_heads exp(s(t)) Sᵀ dy_t
//   db_u = Σ_t dK[t,u] c_t + Σ_heads exp(s(last) - s(u)) Eᵀ v_u
// and for the log decays: a_j stands in s(t) - s(u) for u < j <= t, so with Q = dW∘W below the diagonal
// (on it M is 1, whatever a),
//   da_j = Σ_{u<j<=t} Q[t,u]  +  Σ_{t>=j} c_t · exp(s(t)) Sᵀ dy_t  +  Σ_{u<j} b_u · exp(s(last) - s(u)) Eᵀ v_u  +  exp(s(last)) ⟨E,S⟩.
// The first sum is R_j = R_{j+1} + Σ_{u<j} Q[j,u] - Σ_{t>j} Q[t,j]. No term is a difference of numbers that do not
// decay, so da keeps its relative precision under strong decay.
#include "families.h"
#include "ssd.h"
#include "ssdTile.h"

namespace lenggen::LENGGEN_ISA {
namespace {

struct Gradient : SsdGradientArgs {
  SsdSizes s;
  explicit Gradient(const SsdGradientArgs& args) : SsdGradientArgs(args), s(args) {}
  bool hasStart(int64_t k) const { return k > 0 || state; }
  bool hasEnd(int64_t k) const { return k < s.chunks() - 1 || dfinal; }
};

int64_t walkScratch(const SsdSizes& s) { return Decays::floats(s.chunk) + s.chunk * s.valueRow(); }

// Walks E of the heads [begin, stop) over the chunks [first, end), backwards. carry [B,H,N,P]: E at the end of chunk end - 1
// (unset where that is zero), which becomes that before chunk `first`, unless nobody asks for it. ends
// [B,H,segment,N,P]: gets E at the end of chunk k at place k - first.
void walkHeads(const Gradient& f, int64_t batch, int64_t begin, int64_t stop, int64_t first, int64_t end, int64_t segment, float* carry,
               float* ends, float* scratch) {
  const SsdSizes& s = f.s;
  const int64_t P = s.headSize, N = s.stateSize;
  Arena arena(scratch);
  Decays decays(arena, s.chunk);
  float* values = arena.take(s.chunk * s.valueRow());
  const auto endAt = [&](int64_t head, int64_t k) { return ends + ((batch * s.heads + head) * segment + k - first) * s.state(); };
  const auto carryOf = [&](int64_t head) { return carry + (batch * s.heads + head) * s.state(); };
  for (int64_t t = 0; t < s.length(end - 1); t++) prefetch(f.dy + s.vector(batch, end - 1, begin) + t * s.vectorRow(), P);
  for (int64_t head = begin; head < stop && f.hasEnd(end - 1); head++) std::copy_n(carryOf(head), s.state(), endAt(head, end - 1));
  for (int64_t k = end - 1; k >= first && (k > 0 || f.dstate); k--) {
    for (int64_t head = begin; head < stop; head++) {
      const int64_t length = s.length(k);
      const float* dy = f.dy + s.vector(batch, k, head);
      const float* c = f.c + s.shared(batch, k, head / s.headsPerGroup());
      const float* nextDy = head + 1 < stop ? dy + P : k > first ? f.dy + s.vector(batch, k - 1, begin) : nullptr;
      Ahead ahead;
      if (nextDy) ahead.add(nextDy, P, s.vectorRow(), s.length(head + 1 < stop ? k : k - 1));
      ahead.spread(stepsOf(N, P, length));
      decays.set(f.a + s.scalar(batch, k, head), s.heads, length);
      for (int64_t t = 0; t < length; t++) scaled(dy + t * s.vectorRow(), values + t * s.valueRow(), decays.fromStart[t], P);
      productThen(N, P, length, {c, 1, s.sharedRow()}, values, s.valueRow(),
                  AddScaled{f.hasEnd(k) ? endAt(head, k) : nullptr, k > first ? endAt(head, k - 1) : carryOf(head), P, decays.total},
                  &ahead);
    }
  }
}

// Working memory for one chunk of one group.
struct Workspace {
  Decays decays;
  // Shared by the group's heads: b and c transposed [N,chunk], K, and what adds up over heads.
  float *bT, *cT, *scores, *dscores, *dbT, *dcT;
  // Of one head.
  float *valuesT, *dy, *dyT, *dvalues, *masked, *dmasked;
  // Per step: column sums and row sums of Q, and the two terms of da that pass through S and E.
  float *columns, *rows, *throughStart, *throughEnd;

  static int64_t floats(const SsdSizes& s) {
    return Decays::floats(s.chunk) + (4 * s.stateSize + 4 * s.chunk + 2 * s.headSize + 4) * s.chunkRow() + 2 * s.chunk * s.valueRow();
  }
  Workspace(Arena& arena, const SsdSizes& s) : decays(arena, s.chunk) {
    for (float** p : {&bT, &cT, &dbT, &dcT}) *p = arena.take(s.stateSize * s.chunkRow());
    for (float** p : {&scores, &dscores, &masked, &dmasked}) *p = arena.take(s.chunk * s.chunkRow());
    for (float** p : {&valuesT, &dyT}) *p = arena.take(s.headSize * s.chunkRow());
    for (float** p : {&dy, &dvalues}) *p = arena.take(s.chunk * s.valueRow());
    for (float** p : {&columns, &rows, &throughStart, &throughEnd}) *p = arena.take(s.chunk);
  }
};

// From dmasked = dW and the scores: masked = W, dscores += dW∘M, and the row and column sums of Q.
void maskGradient(const SsdSizes& s, Workspace& w, int64_t length) {
  const vi lane = lanes();
  std::fill(w.columns, w.columns + s.chunkRow(), 0.0f);
  for (int64_t first = 0; first < length; first += WIDTH) {
    const MaskBlock block(w.decays, first);
    for (int64_t t = first; t < std::min(length, first + WIDTH); t++) {
      const float *scores = w.scores + t * s.chunkRow(), *dmasked = w.dmasked + t * s.chunkRow();
      float *masked = w.masked + t * s.chunkRow(), *dscores = w.dscores + t * s.chunkRow();
      // One vector of row t from its mask, score and gradient; `inside`, the part of the gradient below the diagonal, goes into Q.
      const auto put = [&](int64_t u, vf mask, vf score, vf gradient, vf inside) {
        const vf value = score * mask, q = inside * value;
        store(masked + u, value);
        store(dscores + u, load(dscores + u) + gradient * mask);
        store(w.columns + u, load(w.columns + u) + q);
        return q;
      };
      vf row = zero();
      for (int64_t u = 0; u < first; u += WIDTH) {
        const vf gradient = load(dmasked + u);
        row += put(u, block.left(t, u), load(scores + u), gradient, gradient);
      }
      const vi offset = lane - static_cast<int32_t>(t - first);
      const auto upTo = [&](vi wanted, vf v) { return select(wanted, v, zero()); };
      const vf gradient = upTo(offset <= 0, load(dmasked + first));
      row += put(first, upTo(offset <= 0, block.square(t)), upTo(offset <= 0, load(scores + first)), gradient, upTo(offset < 0, gradient));
      for (int64_t u = first + WIDTH; u < length; u += WIDTH) store(masked + u, zero());
      w.rows[t] = sum(row);
    }
  }
}

// dx, ddt and this chunk's part of dd, from dvalues and dy.
void writeInputGradients(const Gradient& f, const Workspace& w, int64_t batch, int64_t k, int64_t head, int64_t length, float* dd) {
  const SsdSizes& s = f.s;
  const int64_t P = s.headSize;
  const float* x = f.x + s.vector(batch, k, head);
  float* dx = f.dx + s.vector(batch, k, head);
  const float d = f.d ? f.d[head] : 0.0f;
  vf skip = zero();
  for (int64_t t = 0; t < length; t++, x += s.vectorRow(), dx += s.vectorRow()) {
    const int64_t scalar = s.scalar(batch, k, head) + t * s.heads;
    const float dt = f.dt[scalar];
    vf step = zero();
    for (int64_t p = 0; p < P; p += WIDTH) {
      const int64_t n = std::min<int64_t>(WIDTH, P - p);
      const vf input = loadFirst(x + p, n);
      const vf dvalue = loadFirst(w.dvalues + t * s.valueRow() + p, n), dy = loadFirst(w.dy + t * s.valueRow() + p, n);
      storeFirst(dx + p, dvalue * dt + dy * d, n);
      step += input * dvalue;
      skip += input * dy;
    }
    f.ddt[scalar] = sum(step);
  }
  *dd = sum(skip);
}

// One head of one chunk: its own gradients, and its part of dscores, dbT and dcT. S and E as in the header, [N,P]; nullptr
// for zeros.
void headGradient(const Gradient& f, Workspace& w, int64_t batch, int64_t k, int64_t head, const float* S, const float* E, float* dd) {
  const SsdSizes& s = f.s;
  const int64_t P = s.headSize, N = s.stateSize, length = s.length(k), group = head / s.headsPerGroup();
  const float* x = f.x + s.vector(batch, k, head);
  const float* dy = f.dy + s.vector(batch, k, head);
  const float* dt = f.dt + s.scalar(batch, k, head);
  const bool more = (head + 1) % s.headsPerGroup() != 0;
  Ahead ahead;
  if (E) ahead.add(E, s.state());
  if (S) ahead.add(S, s.state());
  ahead.add(f.dx + s.vector(batch, k, head), P, s.vectorRow(), length);
  if (more) ahead.add(x + P, P, s.vectorRow(), length), ahead.add(dy + P, P, s.vectorRow(), length);
  ahead.spread((stepsOf(length, length, P) + stepsOf(length, P, length)) / 2 + (E ? stepsOf(length, P, N) + stepsOf(N, length, P) : 0) +
               (S ? stepsOf(N, length, P) : 0));
  w.decays.set(f.a + s.scalar(batch, k, head), s.heads, length);
  // dt goes along the rows before they are turned; dvalues is free until later.
  for (int64_t t = 0; t < length; t++) {
    scaled(x + t * s.vectorRow(), w.dvalues + t * s.valueRow(), dt[t * s.heads], P);
    std::copy(dy + t * s.vectorRow(), dy + t * s.vectorRow() + P, w.dy + t * s.valueRow());
  }
  transpose(length, P, w.dvalues, s.valueRow(), w.valuesT, s.chunkRow());
  transpose(length, P, w.dy, s.valueRow(), w.dyT, s.chunkRow());

  gemmSmall(length, length, P, {w.dy, s.valueRow(), 1}, w.valuesT, s.chunkRow(), w.dmasked, s.chunkRow(), false, Skip::LowerC, &ahead);
  maskGradient(s, w, length);

  if (E) gemmSmall(length, P, N, {f.b + s.shared(batch, k, group), s.sharedRow(), 1}, E, P, w.dvalues, s.valueRow(), false,
      Skip::None, &ahead);
  for (int64_t t = 0; t < length && E; t++) scaled(w.dvalues + t * s.valueRow(), w.dvalues + t * s.valueRow(), w.decays.toEnd[t], P);
  gemmSmall(length, P, length, {w.masked, 1, s.chunkRow()}, w.dy, s.valueRow(), w.dvalues, s.valueRow(), E != nullptr,
      Skip::UpperA, &ahead);

  std::fill(w.throughStart, w.throughStart + s.chunkRow(), 0.0f);
  std::fill(w.throughEnd, w.throughEnd + s.chunkRow(), 0.0f);
  const SumAndProject throughStart{w.decays.fromStart, w.cT, w.dcT, w.throughStart, s.chunkRow()};
  const SumAndProject throughEnd{w.decays.toEnd, w.bT, w.dbT, w.throughEnd, s.chunkRow()};
  if (S) productThen(N, length, P, {S, P, 1}, w.dyT, s.chunkRow(), throughStart, &ahead);
  if (E) productThen(N, length, P, {E, P, 1}, w.valuesT, s.chunkRow(), throughEnd, &ahead);

  const double carried = S && E ? static_cast<double>(w.decays.total) * dot(E, S, s.state()) : 0;
  writeDecayGradient({w.columns, w.rows, w.throughStart, w.throughEnd}, carried, length, s.heads, f.da + s.scalar(batch, k, head));
  writeInputGradients(f, w, batch, k, head, length, dd);
}

// One chunk of one group. ends: E of the group's first head at this chunk; heads are endsStride floats apart.
void groupGradient(const Gradient& f, int64_t batch, int64_t k, int64_t group, const float* ends, int64_t endsStride, float* dd,
                   float* scratch) {
  const SsdSizes& s = f.s;
  const int64_t N = s.stateSize, length = s.length(k), row = s.sharedRow();
  const float* b = f.b + s.shared(batch, k, group);
  const float* c = f.c + s.shared(batch, k, group);
  const bool hasStart = f.hasStart(k), hasEnd = f.hasEnd(k);
  Arena arena(scratch);
  Workspace w(arena, s);
  // What the first head needs; it asks for what the second one needs, and so on.
  const int64_t first = s.vector(batch, k, group * s.headsPerGroup());
  Ahead ahead;
  ahead.add(f.x + first, s.headSize, s.vectorRow(), length);
  ahead.add(f.dy + first, s.headSize, s.vectorRow(), length);
  ahead.spread(stepsOf(length, length, N) / 2);
  transpose(length, N, b, row, w.bT, s.chunkRow());
  if (hasStart) transpose(length, N, c, row, w.cT, s.chunkRow());
  gemmSmall(length, length, N, {c, row, 1}, w.bT, s.chunkRow(), w.scores, s.chunkRow(), false, Skip::LowerC, &ahead);
  std::fill(w.dscores, w.dscores + s.chunk * s.chunkRow(), 0.0f);
  if (hasEnd) std::fill(w.dbT, w.dbT + N * s.chunkRow(), 0.0f);
  if (hasStart) std::fill(w.dcT, w.dcT + N * s.chunkRow(), 0.0f);
  for (int64_t i = 0; i < s.headsPerGroup(); i++) {
    const int64_t head = group * s.headsPerGroup() + i;
    const float* S = f.starts + ((batch * s.heads + head) * s.chunks() + k) * s.state();
    headGradient(f, w, batch, k, head, hasStart ? S : nullptr, hasEnd ? ends + i * endsStride : nullptr, dd + head);
  }
  float* db = f.db + s.shared(batch, k, group);
  float* dc = f.dc + s.shared(batch, k, group);
  if (hasEnd) transpose(N, length, w.dbT, s.chunkRow(), db, row);
  if (hasStart) transpose(N, length, w.dcT, s.chunkRow(), dc, row);
  gemmSmall(length, N, length, {w.dscores, 1, s.chunkRow()}, c, row, db, row, hasEnd, Skip::UpperA);
  gemmSmall(length, N, length, {w.dscores, s.chunkRow(), 1}, b, row, dc, row, hasStart, Skip::LowerA);
}

void runGradient(const SsdGradientArgs& args, Pool& pool) {
  const Gradient f(args);
  const SsdSizes& s = f.s;
  const int64_t chunks = s.chunks(), states = s.batch * s.heads * s.state();
  // As many chunks at a time as keep all threads busy: their ends should stay in cache. Changes no number.
  const int64_t wanted = 4 * pool.threads(), perChunk = std::max<int64_t>(1, s.batch * s.groups);
  const int64_t segment = std::min(chunks, (wanted + perChunk - 1) / perChunk);
  Arena arena(pool.shared(2 * 16 + states + states * segment + s.batch * chunks * s.heads));
  float* E = arena.take(states);                     // [B,H,N,P]
  float* ends = arena.take(states * segment);        // [B,H,segment,N,P]
  float* dd = arena.take(s.batch * chunks * s.heads);  // [B,chunks,H]

  if (f.dfinal) {
    pool.parallel(s.batch * s.heads, [&](int64_t item, int) {
      transpose(s.headSize, s.stateSize, f.dfinal + item * s.state(), s.stateSize, E + item * s.state(), s.headSize);
    });
  }
  const HeadBlocks blocks(s, pool.threads());
  for (int64_t end = chunks; end > 0; end -= segment) {
    const int64_t first = std::max<int64_t>(0, end - segment), count = end - first;
    pool.parallel(blocks.count, [&](int64_t item, int worker) {
      walkHeads(f, blocks.batch(item), blocks.first(item), blocks.end(item), first, end, segment, E, ends,
          pool.scratch(worker, walkScratch(s)));
    });
    pool.parallel(s.batch * s.groups * count, [&](int64_t item, int worker) {
      const int64_t k = first + item % count, group = item / count % s.groups, batch = item / count / s.groups;
      const int64_t head = batch * s.heads + group * s.headsPerGroup();
      groupGradient(f, batch, k, group, ends + (head * segment + k - first) * s.state(), segment * s.state(),
                    dd + (batch * chunks + k) * s.heads, pool.scratch(worker, Workspace::floats(s)));
    });
  }
  if (f.dstate) {
    pool.parallel(s.batch * s.heads, [&](int64_t item, int) {
      transpose(s.stateSize, s.headSize, E + item * s.state(), s.headSize, f.dstate + item * s.state(), s.stateSize);
    });
  }
  if (f.dd) {
    for (int64_t head = 0; head < s.heads; head++) {
      double sum = 0;
      for (int64_t i = 0; i < s.batch * chunks; i++) sum += dd[i * s.heads + head];
      f.dd[head] = static_cast<float>(sum);
    }
  }
}

}  // namespace

extern const Kernel ssdGradientKernels[] = {
    kernel<SsdGradientArgs, runGradient, checkSsd>(),
    {nullptr, nullptr, nullptr},
};

}  // namespace lenggen::LENGGEN_ISA
