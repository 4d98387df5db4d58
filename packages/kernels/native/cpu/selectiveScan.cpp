// The scan of Mamba-1: src/ops/selectiveScan.ts says what it computes (Gu & Dao 2023, section 3.2). What it costs is one exponential a
// step, channel and state: all else is done beside them in registers.
#include "families.h"
#include "selectiveScan.h"

namespace lenggen::LENGGEN_ISA {
namespace {

struct Forward : SelectiveScanArgs {
  ScanSizes s;
  explicit Forward(const SelectiveScanArgs& args) : SelectiveScanArgs(args), s(args) {}
};

// Working memory of one block: states, and one vector's steps of a chunk.
struct Workspace {
  float *rates, *state, *dt, *u, *y;
  static int64_t floats(const ScanSizes& s) { return 2 * BLOCK * s.stateSize + 3 * WIDTH * s.chunk + 3 * 16; }
  Workspace(float* scratch, const ScanSizes& s) {
    Arena arena(scratch);
    rates = arena.take(BLOCK * s.stateSize);
    state = arena.take(BLOCK * s.stateSize);
    dt = arena.take(WIDTH * s.chunk);
    u = arena.take(WIDTH * s.chunk);
    y = arena.take(WIDTH * s.chunk);
  }
};

// Along a chunk, the states n ... n + COUNT - 1 of one vector of channels: S <- 2^(dt rate) S + u b, y += S c.
template <int COUNT>
void scanTile(int64_t length, const float* rates, float* state, const float* dt, const float* u, const float* b, const float* c,
              int64_t row, float* y, const Ahead& ahead) {
  vf rate[COUNT], S[COUNT];
#pragma GCC unroll 4
  for (int j = 0; j < COUNT; j++) {
    rate[j] = load(rates + j * WIDTH);
    S[j] = load(state + j * WIDTH);
  }
  for (int64_t t = 0; t < length; t++, b += row, c += row, dt += WIDTH, u += WIDTH, y += WIDTH) {
    ahead.at(t);
    const vf step = load(dt), input = load(u);
    vf sum = load(y);
#pragma GCC unroll 4
    for (int j = 0; j < COUNT; j++) {
      S[j] = fma(exp2(unfused(step, rate[j])), S[j], input * b[j]);
      sum = fma(S[j], broadcast(c[j]), sum);
    }
    store(y, sum);
  }
#pragma GCC unroll 4
  for (int j = 0; j < COUNT; j++) store(state + j * WIDTH, S[j]);
}

// What vector v needs of x and dt in a chunk; y begins as d x.
void readSteps(const Forward& f, const Place& p, int64_t v, int64_t from, int64_t length, Workspace& w) {
  const int64_t lanes = p.lanes(v), first = p.first + v * WIDTH;
  const vf d = f.d ? loadFirst(f.d + first, lanes) : zero();
  for (int64_t t = 0; t < length; t++) {
    const int64_t at = f.s.scalar(p.batch, from + t, first);
    const vf x = loadFirst(f.x + at, lanes), dt = loadFirst(f.dt + at, lanes);
    store(w.dt + t * WIDTH, dt);
    store(w.u + t * WIDTH, dt * x);
    store(w.y + t * WIDTH, d * x);
  }
}

void scanBlock(const Forward& f, const Place& p, float* scratch) {
  const ScanSizes& s = f.s;
  const int64_t N = s.stateSize, row = s.sharedRow();
  Workspace w(scratch, s);
  gatherStates(f.a + p.first * N, p, N, N, LOG2E, w.rates);
  gatherStates(f.state ? f.state + (p.batch * s.channels + p.first) * N : nullptr, p, N, N, 1.0f, w.state);
  for (int64_t k = 0; k < s.chunks(); k++) {
    const int64_t from = k * s.chunk, length = s.length(k);
    const float* b = f.b + s.shared(p.batch, from, p.group);
    const float* c = f.c + s.shared(p.batch, from, p.group);
    // The next chunk's rows, of which there may be fewer.
    const int64_t next = s.scalar(p.batch, std::min(from + s.chunk, s.steps - length), p.first);
    const float* wanted[] = {f.x + next, f.dt + next, f.y + next};
    for (int64_t v = 0; v < p.vectors; v++) {
      if (f.starts) {
        float* start = f.starts + p.start(s, k, v);
        for (int64_t n = 0; n < N; n++) storeFirst(start + n * p.lanes(v), load(w.state + (v * N + n) * WIDTH), p.lanes(v));
      }
      readSteps(f, p, v, from, length, w);
      int tile = 0;
      for (int64_t n = 0; n < N; tile++) {
        const Ahead ahead = tile < 3 ? Ahead{wanted[tile] + v * WIDTH, s.channels} : Ahead{w.dt, 0};
        const int64_t own = (v * N + n) * WIDTH;
        if (n + TILE <= N) {
          scanTile<TILE>(length, w.rates + own, w.state + own, w.dt, w.u, b + n, c + n, row, w.y, ahead);
          n += TILE;
        } else {
          scanTile<1>(length, w.rates + own, w.state + own, w.dt, w.u, b + n, c + n, row, w.y, ahead);
          n++;
        }
      }
      float* y = f.y + s.scalar(p.batch, from, p.first + v * WIDTH);
      for (int64_t t = 0; t < length; t++) storeFirst(y + t * s.channels, load(w.y + t * WIDTH), p.lanes(v));
    }
  }
  scatterStates(w.state, p, N, N, f.final + (p.batch * s.channels + p.first) * N);
}

// A single step of one channel, whose states lie side by side: S <- exp(dt a) S + dt x b; y = S c + d x.
void stepChannel(const Forward& f, int64_t batch, int64_t channel) {
  const ScanSizes& s = f.s;
  const int64_t N = s.stateSize, at = batch * s.channels + channel, group = channel / (s.channels / s.groups);
  const float *a = f.a + channel * N, *b = f.b + s.shared(batch, 0, group), *c = f.c + s.shared(batch, 0, group);
  const float *before = f.state ? f.state + at * N : nullptr;
  float* after = f.final + at * N;
  const float dt = f.dt[at], x = f.x[at], u = dt * x;
  vf dot = zero();
  for (int64_t n = 0; n < N; n += WIDTH) {
    const int64_t count = std::min<int64_t>(WIDTH, N - n);
    vf S = loadFirst(b + n, count) * u;
    if (before) S += exp2(unfused(loadFirst(a + n, count) * LOG2E, broadcast(dt))) * loadFirst(before + n, count);
    storeFirst(after + n, S, count);
    dot += S * loadFirst(c + n, count);
  }
  f.y[at] = sum(dot) + (f.d ? f.d[channel] * x : 0.0f);
}

void runForward(const SelectiveScanArgs& args, Pool& pool) {
  const Forward f(args);
  const ScanSizes& s = f.s;
  if (s.steps == 1 && !f.starts) {
    const int64_t pieces = (s.channels + BLOCK - 1) / BLOCK;
    pool.parallel(s.batch * pieces, [&](int64_t item, int) {
      const int64_t first = item % pieces * BLOCK;
      for (int64_t i = first; i < std::min(s.channels, first + BLOCK); i++) stepChannel(f, item / pieces, i);
    });
    return;
  }
  const Blocks blocks(s);
  pool.parallel(s.batch * s.groups * blocks.perGroup, [&](int64_t item, int worker) {
    scanBlock(f, Place(s, blocks, item), pool.scratch(worker, Workspace::floats(s)));
  });
}

}  // namespace

extern const Kernel selectiveScanKernels[] = {
    kernel<SelectiveScanArgs, runForward, checkScan>(),
    {nullptr, nullptr, nullptr},
};

}  // namespace lenggen::LENGGEN_ISA
