// The scan of Mamba-2 by chunks: src/ops/ssd.ts says what it computes (Dao & Gu 2024, section 6 and listing 1).
//
// First, for each sequence, group and chunk, the scores c_t · b_u (u <= t), which all heads of the group use. Then each
// head walks its chunks from its state S at the chunk's start, with v_t = dt_t x_t:
//   y_t = exp(s(t)) S c_t + Σ_{u<=t} scores[t,u] exp(s(t) - s(u)) v_u + d x_t
//   S  <- exp(s(last)) S + Σ_u exp(s(last) - s(u)) v_u b_uᵀ
#include "families.h"
#include "ssd.h"
#include "ssdTile.h"

namespace lenggen::LENGGEN_ISA {
namespace {

struct Forward : SsdArgs {
  SsdSizes s;
  explicit Forward(const SsdArgs& args) : SsdArgs(args), s(args) {}
};

// scores[t,u] = c_t · b_u for u <= t. `next` is the length of the chunk that comes after this one in memory.
void computeScores(const SsdSizes& s, const float* b, const float* c, int64_t length, int64_t next, float* transposedB, float* scores) {
  Ahead ahead;
  ahead.add(b + length * s.sharedRow(), s.stateSize, s.sharedRow(), next);
  ahead.add(c + length * s.sharedRow(), s.stateSize, s.sharedRow(), next);
  ahead.spread(stepsOf(length, length, s.stateSize) / 2);
  transpose(length, s.stateSize, b, s.sharedRow(), transposedB, s.chunkRow());
  gemmSmall(length, length, s.stateSize, {c, s.sharedRow(), 1}, transposedB, s.chunkRow(), scores, s.chunkRow(), false,
      Skip::LowerC, &ahead);
}

// masked[t,u] = scores[t,u] exp(s(t) - s(u)) for u <= t, 0 above.
void maskScores(const SsdSizes& s, const Decays& decays, const float* scores, int64_t length, float* masked) {
  const vi lane = lanes();
  for (int64_t first = 0; first < length; first += WIDTH) {
    const MaskBlock mask(decays, first);
    for (int64_t t = first; t < std::min(length, first + WIDTH); t++, scores += s.chunkRow(), masked += s.chunkRow()) {
      for (int64_t u = 0; u < first; u += WIDTH) store(masked + u, load(scores + u) * mask.left(t, u));
      const vf value = load(scores + first) * mask.square(t);
      store(masked + first, select(lane <= static_cast<int32_t>(t - first), value, zero()));
      for (int64_t u = first + WIDTH; u < length; u += WIDTH) store(masked + u, zero());
    }
  }
}

// y_t = row_t + d x_t
void writeOutputs(const SsdSizes& s, const float* rows, const float* x, float d, int64_t length, float* y) {
  const int64_t P = s.headSize;
  for (int64_t t = 0; t < length; t++, rows += s.valueRow(), x += s.vectorRow(), y += s.vectorRow()) {
    int64_t p = 0;
    for (; p + WIDTH <= P; p += WIDTH) store(y + p, load(rows + p) + load(x + p) * d);
    if (p < P) storeFirst(y + p, load(rows + p) + loadFirst(x + p, P - p) * d, P - p);
  }
}

// Working memory for one chunk of one head.
struct Workspace {
  Decays decays;
  float *values, *rows, *masked;
  static int64_t floats(const SsdSizes& s) { return Decays::floats(s.chunk) + 2 * s.chunk * s.valueRow() + s.chunk * s.chunkRow(); }
  Workspace(Arena& arena, const SsdSizes& s)
      : decays(arena, s.chunk),
        values(arena.take(s.chunk * s.valueRow())),
        rows(arena.take(s.chunk * s.valueRow())),
        masked(arena.take(s.chunk * s.chunkRow())) {}
};

// Chunk k of one head, from its state [N,P] at the start (nullptr: zeros) to the one at the end, `after` (may be the
// same memory). ahead: what the calls after this one need.
void scanChunk(const Forward& f, Workspace& w, int64_t batch, int64_t head, int64_t k, const float* scores, const float* state,
               float* after, Ahead ahead) {
  const SsdSizes& s = f.s;
  const int64_t P = s.headSize, N = s.stateSize, group = head / s.headsPerGroup(), length = s.length(k);
  const float* x = f.x + s.vector(batch, k, head);
  const float* dt = f.dt + s.scalar(batch, k, head);
  const float* b = f.b + s.shared(batch, k, group);
  const float* c = f.c + s.shared(batch, k, group);
  float* y = f.y + s.vector(batch, k, head);
  if (after != state) ahead.add(after, s.state());
  ahead.add(y, P, s.vectorRow(), length);
  ahead.spread((state ? stepsOf(length, P, N) : 0) + stepsOf(length, P, length) / 2 + stepsOf(N, P, length));
  w.decays.set(f.a + s.scalar(batch, k, head), s.heads, length);
  for (int64_t t = 0; t < length; t++) scaled(x + t * s.vectorRow(), w.values + t * s.valueRow(), dt[t * s.heads], P);

  if (state) {
    gemmSmall(length, P, N, {c, s.sharedRow(), 1}, state, P, w.rows, s.valueRow(), false, Skip::None, &ahead);
    for (int64_t t = 0; t < length; t++) scaled(w.rows + t * s.valueRow(), w.rows + t * s.valueRow(), w.decays.fromStart[t], P);
  }
  maskScores(s, w.decays, scores, length, w.masked);
  gemmSmall(length, P, length, {w.masked, s.chunkRow(), 1}, w.values, s.valueRow(), w.rows, s.valueRow(), state != nullptr,
      Skip::LowerA, &ahead);
  writeOutputs(s, w.rows, x, f.d ? f.d[head] : 0.0f, length, y);

  for (int64_t t = 0; t < length; t++) scaled(w.values + t * s.valueRow(), w.values + t * s.valueRow(), w.decays.toEnd[t], P);
  productThen(N, P, length, {b, 1, s.sharedRow()}, w.values, s.valueRow(), AddScaled{state, after, P, w.decays.total}, &ahead);
}

int64_t scanScratch(const SsdSizes& s, int64_t heads) { return Workspace::floats(s) + heads * padded(s.state()); }

// What chunk k of a head needs, when no head before it has read b and c.
void addChunk(Ahead& ahead, const Forward& f, int64_t batch, int64_t k, int64_t head) {
  const SsdSizes& s = f.s;
  const int64_t length = s.length(k), shared = s.shared(batch, k, head / s.headsPerGroup());
  ahead.add(f.x + s.vector(batch, k, head), s.headSize, s.vectorRow(), length);
  ahead.add(f.c + shared, s.stateSize, s.sharedRow(), length);
  ahead.add(f.b + shared, s.stateSize, s.sharedRow(), length);
}

// All chunks of the heads [first, end) of one sequence. allScores [G,chunks,chunk,chunkRow]: those of the sequence.
void scanHeads(const Forward& f, int64_t batch, int64_t first, int64_t end, const float* allScores, float* scratch) {
  const SsdSizes& s = f.s;
  const int64_t P = s.headSize, N = s.stateSize, chunks = s.chunks();
  Arena arena(scratch);
  Workspace w(arena, s);
  float* own = arena.take((end - first) * padded(s.state()));
  // Later ones are asked for by the chunk before.
  for (int64_t t = 0; t < s.length(0); t++) prefetch(f.x + s.vector(batch, 0, first) + t * s.vectorRow(), P);
  // The state [N,P] before chunk k: kept for the gradient, or each in the place of the one before.
  const auto stateAt = [&](int64_t head, int64_t k) {
    return f.starts && k < chunks ? f.starts + ((batch * s.heads + head) * chunks + k) * s.state()
                                  : own + (head - first) * padded(s.state());
  };
  for (int64_t head = first; head < end && f.state; head++)
    transpose(P, N, f.state + (batch * s.heads + head) * s.state(), N, stateAt(head, 0), P);
  for (int64_t k = 0; k < chunks; k++) {
    for (int64_t head = first; head < end; head++) {
      const float* scores = allScores + (head / s.headsPerGroup() * chunks + k) * s.chunk * s.chunkRow();
      Ahead ahead;
      if (head + 1 < end) ahead.add(f.x + s.vector(batch, k, head + 1), P, s.vectorRow(), s.length(k));
      else if (k + 1 < chunks) addChunk(ahead, f, batch, k + 1, first);
      scanChunk(f, w, batch, head, k, scores, k > 0 || f.state ? stateAt(head, k) : nullptr, stateAt(head, k + 1), ahead);
    }
  }
  for (int64_t head = first; head < end; head++)
    transpose(N, P, stateAt(head, chunks), P, f.final + (batch * s.heads + head) * s.state(), N);
}

// A single step of one head, as the recurrence has it: S <- exp(a) S + dt x bᵀ; y = S c + d x.
void stepHead(const Forward& f, int64_t batch, int64_t head) {
  const SsdSizes& s = f.s;
  const int64_t P = s.headSize, N = s.stateSize, row = batch * s.heads + head;
  const float* x = f.x + row * P;
  const float* b = f.b + s.shared(batch, 0, head / s.headsPerGroup());
  const float* c = f.c + s.shared(batch, 0, head / s.headsPerGroup());
  const float dt = f.dt[row], d = f.d ? f.d[head] : 0.0f;
  const float decay = exp(broadcast(f.a[row]))[0];
  for (int64_t p = 0; p < P; p++) {
    const float value = dt * x[p];
    const float* before = f.state ? f.state + row * s.state() + p * N : nullptr;
    float* after = f.final + row * s.state() + p * N;
    vf dot = zero();
    for (int64_t n = 0; n < N; n += WIDTH) {
      if (n + WIDTH <= N) {
        const vf S = (before ? load(before + n) * decay : zero()) + load(b + n) * value;
        store(after + n, S);
        dot += S * load(c + n);
      } else {
        const vf S = (before ? loadFirst(before + n, N - n) * decay : zero()) + loadFirst(b + n, N - n) * value;
        storeFirst(after + n, S, N - n);
        dot += S * loadFirst(c + n, N - n);
      }
    }
    f.y[row * P + p] = sum(dot) + d * x[p];
  }
}

void runForward(const SsdArgs& args, Pool& pool) {
  const Forward f(args);
  const SsdSizes& s = f.s;
  if (s.time == 1 && !f.starts) {
    pool.parallel(s.batch * s.heads, [&](int64_t item, int) { stepHead(f, item / s.heads, item % s.heads); });
    return;
  }
  const int64_t square = s.chunk * s.chunkRow(), chunks = s.chunks();
  float* scores = pool.shared(s.batch * s.groups * chunks * square);  // [B,G,chunks,chunk,chunkRow]
  pool.parallel(s.batch * s.groups * chunks, [&](int64_t item, int worker) {
    const int64_t k = item % chunks, group = item / chunks % s.groups, batch = item / chunks / s.groups;
    const int64_t at = s.shared(batch, k, group);
    computeScores(s, f.b + at, f.c + at, s.length(k), k + 1 < chunks ? s.length(k + 1)
        : 0, pool.scratch(worker, s.stateSize * s.chunkRow()), scores + item * square);
  });
  const HeadBlocks blocks(s, pool.threads());
  pool.parallel(blocks.count, [&](int64_t item, int worker) {
    const int64_t batch = blocks.batch(item), first = blocks.first(item), end = blocks.end(item);
    scanHeads(f, batch, first, end, scores + batch * s.groups * chunks * square, pool.scratch(worker, scanScratch(s, end - first)));
  });
}

}  // namespace

extern const Kernel ssdKernels[] = {
    kernel<SsdArgs, runForward, checkSsd>(),
    {nullptr, nullptr, nullptr},
};

}  // namespace lenggen::LENGGEN_ISA
