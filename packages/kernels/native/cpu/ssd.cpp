// The scan of Mamba-2 by chunks: src/ops/ssd.ts says what it computes (Dao & Gu 2024, section 6 and listing 1).
//
// First, for each sequence, group and chunk, the scores c_t · b_u (u <= t), which all heads of the group use. Then each
// head walks its chunks from its state S at the chunk's start, with v_t = dt_t x_t:
//   y_t = exp(s(t)) S c_t + Σ_{u<=t} scores[t,u] exp(s(t) - s(u)) v_u + d x_t
//   S  <- exp(s(last)) S + Σ_u exp(s(last) - s(u)) v_u b_uᵀ
#include "families.h"
#include "ssd.h"

namespace lenggen::LENGGEN_ISA {
namespace {

struct Forward {
  SsdSizes s;
  const float *x, *dt, *a, *b, *c, *d, *state;
  float *y, *final, *starts;
  explicit Forward(const Launch& launch) : s(launch) {
    const Buffer* buffers = launch.buffers;
    x = buffers[0].f32(), dt = buffers[1].f32(), a = buffers[2].f32(), b = buffers[3].f32(), c = buffers[4].f32();
    d = buffers[5].f32(), state = buffers[6].f32(), y = buffers[7].f32(), final = buffers[8].f32(), starts = buffers[9].f32();
  }
};

// buffers: x, dt, a, b, c, d?, state?, y, final, starts?; numbers: those of SsdSizes
void checkForward(const Launch& launch) {
  requireCounts(launch, 10, SSD_NUMBERS);
  checkSsdInputs(launch);
  const SsdSizes s(launch);
  const int64_t states = product({s.batch, s.heads, s.headSize, s.stateSize});
  requireOptional(launch, 6, states);
  requireElements(launch, 7, product({s.batch, s.steps, s.heads, s.headSize}));
  requireElements(launch, 8, states);
  requireOptional(launch, 9, product({states, s.chunks()}));
}

// scores[t,u] = c_t · b_u for u <= t, `chunk` floats a row.
void computeScores(const SsdSizes& s, const float* b, const float* c, int64_t length, float* transposedB, float* scores) {
  transpose(length, s.stateSize, b, s.sharedRow(), transposedB, s.chunk);
  gemmSmall(length, length, s.stateSize, {c, s.sharedRow(), 1}, transposedB, s.chunk, scores, s.chunk, false, Skip::LowerC);
}

// masked[t,u] = scores[t,u] exp(s(t) - s(u)) for u <= t, 0 above.
void maskScores(const SsdSizes& s, const Decays& decays, const float* scores, int64_t length, float* masked) {
  const vi lane = lanes();
  for (int64_t t = 0; t < length; t++) {
    const float* from = scores + t * s.chunk;
    float* to = masked + t * s.chunk;
    for (int64_t u = 0; u < length; u += WIDTH) {
      const int64_t n = std::min<int64_t>(WIDTH, length - u);
      vf value = zero();
      if (u <= t) value = select(lane + static_cast<int32_t>(u) <= static_cast<int32_t>(t), loadFirst(from + u, n) * decays.between(t, u), zero());
      storeFirst(to + u, value, n);
    }
  }
}

// y_t = row_t + d x_t
void writeOutputs(const SsdSizes& s, const float* rows, const float* x, float d, int64_t length, float* y) {
  const int64_t P = s.headSize;
  for (int64_t t = 0; t < length; t++, rows += P, x += s.vectorRow(), y += s.vectorRow()) {
    int64_t p = 0;
    for (; p + WIDTH <= P; p += WIDTH) store(y + p, load(rows + p) + load(x + p) * d);
    if (p < P) storeFirst(y + p, loadFirst(rows + p, P - p) + loadFirst(x + p, P - p) * d, P - p);
  }
}

size_t headScratch(const SsdSizes& s) {
  return Decays::floats(s.chunk) + Arena::rounded(s.state()) + 2 * Arena::rounded(s.chunk * s.headSize) + Arena::rounded(s.chunk * s.chunk);
}

// All chunks of one head. allScores: those of its sequence and group, one chunk after the other.
void scanHead(const Forward& f, int64_t batch, int64_t head, const float* allScores, float* scratch) {
  const SsdSizes& s = f.s;
  const int64_t P = s.headSize, N = s.stateSize, group = head / s.headsPerGroup(), row = batch * s.heads + head;
  Arena arena(scratch);
  Decays decays(arena, s.chunk);
  float* state = arena.take(s.state());  // [N,P]
  float* values = arena.take(s.chunk * P);
  float* rows = arena.take(s.chunk * P);
  float* masked = arena.take(s.chunk * s.chunk);
  if (f.state) transpose(P, N, f.state + row * s.state(), N, state, P);
  else std::fill(state, state + s.state(), 0.0f);

  for (int64_t k = 0; k < s.chunks(); k++) {
    const int64_t length = s.length(k);
    const float* x = f.x + s.vector(batch, k, head);
    const float* dt = f.dt + s.scalar(batch, k, head);
    const float* b = f.b + s.shared(batch, k, group);
    const float* c = f.c + s.shared(batch, k, group);
    decays.set(f.a + s.scalar(batch, k, head), s.heads, length);
    if (f.starts) std::copy(state, state + s.state(), f.starts + (row * s.chunks() + k) * s.state());
    for (int64_t t = 0; t < length; t++) scaled(x + t * s.vectorRow(), values + t * P, dt[t * s.heads], P);

    const bool fromZero = k == 0 && !f.state;
    if (!fromZero) {
      gemmSmall(length, P, N, {c, s.sharedRow(), 1}, state, P, rows, P, false);
      for (int64_t t = 0; t < length; t++) scale(rows + t * P, decays.fromStart[t], P);
    }
    maskScores(s, decays, allScores + k * s.chunk * s.chunk, length, masked);
    gemmSmall(length, P, length, {masked, s.chunk, 1}, values, P, rows, P, !fromZero, Skip::LowerA);
    writeOutputs(s, rows, x, f.d ? f.d[head] : 0.0f, length, f.y + s.vector(batch, k, head));

    for (int64_t t = 0; t < length; t++) scale(values + t * P, decays.toEnd[t], P);
    scale(state, decays.total, s.state());
    gemmSmall(N, P, length, {b, 1, s.sharedRow()}, values, P, state, P, true);
  }
  transpose(N, P, state, P, f.final + row * s.state(), N);
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

void runForward(const Launch& launch, Pool& pool) {
  const Forward f(launch);
  const SsdSizes& s = f.s;
  if (s.steps == 1 && !f.starts) {
    pool.parallel(s.batch * s.heads, [&](int64_t item, int) { stepHead(f, item / s.heads, item % s.heads); });
    return;
  }
  const int64_t square = s.chunk * s.chunk, chunks = s.chunks();
  float* scores = pool.shared(s.batch * s.groups * chunks * square);  // [B,G,chunks,chunk,chunk]
  pool.parallel(s.batch * s.groups * chunks, [&](int64_t item, int worker) {
    const int64_t k = item % chunks, group = item / chunks % s.groups, batch = item / chunks / s.groups;
    const int64_t at = s.shared(batch, k, group);
    computeScores(s, f.b + at, f.c + at, s.length(k), pool.scratch(worker, s.chunk * s.stateSize), scores + item * square);
  });
  pool.parallel(s.batch * s.heads, [&](int64_t item, int worker) {
    const int64_t batch = item / s.heads, head = item % s.heads, group = head / s.headsPerGroup();
    scanHead(f, batch, head, scores + (batch * s.groups + group) * chunks * square, pool.scratch(worker, headScratch(s)));
  });
}

}  // namespace

extern const Kernel ssdKernels[] = {
    {"ssd", checkForward, runForward},
    {nullptr, nullptr, nullptr},
};

}  // namespace lenggen::LENGGEN_ISA
