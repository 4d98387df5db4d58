// The gradient of the selective scan, as src/ops/selectiveScan.ts derives it. Each block of channels walks its chunks from the last to the
// first, and in a chunk its vectors one after another. Four states of a vector go up (their decays and states again, from the state that
// the forward pass kept, and dc) and down (G, and all else) before the next four do.
//
// db and dc are sums over channels. At each step those of the four states are brought into one vector, a quarter of its lanes each, so that
// the sums of a chunk stay in the caches; the lanes of a quarter are added when the block's vectors have passed, then the blocks in their
// order. Beside a number of states that is no multiple of four walk zeros.
//
// What it costs on Zen 4 with AVX-512, which does one multiply-add of a vector in a cycle: 8 of them for a vector of states on its way up,
// 4 inside the exponential, and 7 on its way down. Of 24 cycles up takes 11, with two vectors to store and dc to add up; down takes 7,
// reading and writing a chunk 3, and sums over lanes and blocks 2. The forward pass needs 8 and takes 10, and an exponential alone takes 6,
// so that exponentials can't be more than 2 · 6 / (8 + 15) = 52 % of what both take.
#include "families.h"
#include "selectiveScan.h"

namespace lenggen::LENGGEN_ISA {
namespace {

// Lanes of a quarter, and steps whose sums share a vector in the end: [steps/QUARTER,TILE,QUARTER].
constexpr int QUARTER = WIDTH / TILE;

// Floats of a line of the caches.
constexpr int64_t LINE = 16;

struct Gradient : SelectiveScanGradientArgs {
  ScanSizes s;
  Blocks blocks;
  int64_t rows, steps, sums;  // states to whole tiles, steps of a chunk to whole vectors of sums, and so all sums of a chunk
  // Sums of one block [batch,groups,blocks,chunks,sums], and of one sequence [batch,channels,N], [batch,channels].
  float *blockDb, *blockDc, *sequenceDa, *sequenceDd;
  Gradient(const SelectiveScanGradientArgs& args, Pool& pool)
      : SelectiveScanGradientArgs(args), s(args), blocks(s), rows((s.stateSize + TILE - 1) / TILE * TILE),
        steps((s.chunk + QUARTER - 1) / QUARTER * QUARTER), sums(steps * rows) {
    const int64_t shared = s.batch * s.groups * blocks.perGroup * s.chunks() * sums, all = s.batch * s.channels;
    Arena arena(pool.shared(2 * padded(shared) + padded(all * s.stateSize) + padded(all)));
    blockDb = arena.take(shared);
    blockDc = arena.take(shared);
    sequenceDa = arena.take(all * s.stateSize);
    sequenceDd = arena.take(all);
  }
};

// Working memory of one block: its states, rows of b and c in a chunk, one vector's steps of it, what one tile of states keeps of its way
// up, sums of a chunk [tiles,steps,WIDTH], and dd.
struct Workspace {
  float *rates, *G, *da, *b, *c, *dt, *u, *dy, *du, *through, *decays, *kept, *db, *dc, *dd;
  static int64_t floats(const Gradient& f) {
    const int64_t chunk = f.s.chunk;
    return 3 * BLOCK * f.rows + 2 * padded(chunk * f.rows) + 5 * padded(chunk * WIDTH) + 2 * (chunk * TILE * WIDTH + APART)
        + 2 * (f.sums * QUARTER + APART) + BLOCK;
  }
  Workspace(float* scratch, const Gradient& f) {
    const int64_t chunk = f.s.chunk;
    Arena arena(scratch);
    for (float** states : {&rates, &G, &da}) *states = arena.take(BLOCK * f.rows);
    for (float** shared : {&b, &c}) *shared = arena.take(chunk * f.rows);
    for (float** steps : {&dt, &u, &dy, &du, &through}) *steps = arena.take(chunk * WIDTH);
    for (float** tile : {&decays, &kept}) *tile = arena.take(chunk * TILE * WIDTH + APART);
    for (float** vectors : {&db, &dc}) *vectors = arena.take(f.sums * QUARTER + APART);
    dd = arena.take(BLOCK);
  }

 private:
  // Sizes are powers of 2: without it all would begin at the same places of the first cache, which has room for a few such.
  static constexpr int64_t APART = 7 * 16;
};

// One tile of one vector in one chunk: where its numbers are. Steps of b and c are `rows` apart; `there` of its states exist.
struct Tile {
  int64_t length, rows, lanes, there;
  const float *rates, *start, *b, *c, *dt, *u, *dy;
  float *G, *da, *du, *through, *decays, *kept, *db, *dc;
};

// Lanes of a, or of b where their number has D in it; to each is added the one whose number differs in D.
template <int D, int... I>
LENGGEN_INLINE vf fold(vf a, vf b, std::integer_sequence<int, I...>) {
  const vf own = select(vi{(I & D ? -1 : 0)...}, b, a);
#if defined(__clang__)
  return own + __builtin_shufflevector(a, b, (I & D ? WIDTH + I - D : I + D)...);
#else
  return own + __builtin_shuffle(a, b, vi{(I & D ? WIDTH + I - D : I + D)...});
#endif
}
template <int D>
LENGGEN_INLINE vf fold(vf a, vf b) { return fold<D>(a, b, std::make_integer_sequence<int, WIDTH>{}); }

// Quarter j of the lanes has those of rows[j] added up.
LENGGEN_INLINE vf quarters(const vf (&rows)[TILE]) {
  return fold<WIDTH / 4>(fold<WIDTH / 2>(rows[0], rows[2]), fold<WIDTH / 2>(rows[1], rows[3]));
}

// Tiles are copied, since what is stored could else change them for all that the compiler knows.
__attribute__((noinline)) void walkUp(const Tile tile, const Ahead ahead) {
  vf rate[TILE], S[TILE];
#pragma GCC unroll 4
  for (int j = 0; j < TILE; j++) {
    rate[j] = load(tile.rates + j * WIDTH);
    S[j] = j < tile.there ? loadFirst(tile.start + j * tile.lanes, tile.lanes) : zero();
  }
  for (int64_t t = 0; t < tile.length; t++) {
    ahead.at(t);
    const vf step = load(tile.dt + t * WIDTH), input = load(tile.u + t * WIDTH), dy = load(tile.dy + t * WIDTH);
    const float* b = tile.b + t * tile.rows;
    float *decays = tile.decays + t * TILE * WIDTH, *kept = tile.kept + t * TILE * WIDTH, *dc = tile.dc + t * WIDTH;
    vf decay[TILE], sums[TILE];
#pragma GCC unroll 4
    for (int j = 0; j < TILE; j++) decay[j] = exp2(unfused(step, rate[j]));
#pragma GCC unroll 4
    for (int j = 0; j < TILE; j++) {
      S[j] *= decay[j];
      store(decays + j * WIDTH, decay[j]);
      store(kept + j * WIDTH, S[j]);
      S[j] = fma(input, broadcast(b[j]), S[j]);
      sums[j] = dy * S[j];
    }
    store(dc, load(dc) + quarters(sums));
  }
}

// FIRST: of the vector's tiles, where sums over its states begin.
template <bool FIRST>
__attribute__((noinline)) void walkDown(const Tile tile, const Ahead ahead) {
  vf rate[TILE], G[TILE], da[TILE];
#pragma GCC unroll 4
  for (int j = 0; j < TILE; j++) {
    rate[j] = load(tile.rates + j * WIDTH);
    G[j] = load(tile.G + j * WIDTH);
    da[j] = zero();
  }
  for (int64_t t = tile.length - 1; t >= 0; t--) {
    ahead.at(t);
    const float *b = tile.b + t * tile.rows, *c = tile.c + t * tile.rows;
    const float *decays = tile.decays + t * TILE * WIDTH, *kept = tile.kept + t * TILE * WIDTH;
    const vf step = load(tile.dt + t * WIDTH), input = load(tile.u + t * WIDTH), dy = load(tile.dy + t * WIDTH);
    vf du = FIRST ? zero() : load(tile.du + t * WIDTH), through = FIRST ? zero() : load(tile.through + t * WIDTH), sums[TILE];
#pragma GCC unroll 4
    for (int j = 0; j < TILE; j++) {
      G[j] = fma(dy, broadcast(c[j]), G[j]);
      du = fma(G[j], broadcast(b[j]), du);
      sums[j] = input * G[j];
      const vf w = G[j] * load(kept + j * WIDTH);
      through = fma(w, rate[j], through);
      da[j] = fma(w, step, da[j]);
      G[j] *= load(decays + j * WIDTH);
    }
    store(tile.du + t * WIDTH, du);
    store(tile.through + t * WIDTH, through);
    float* db = tile.db + t * WIDTH;
    store(db, load(db) + quarters(sums));
  }
#pragma GCC unroll 4
  for (int j = 0; j < TILE; j++) {
    store(tile.G + j * WIDTH, G[j]);
    store(tile.da + j * WIDTH, load(tile.da + j * WIDTH) + da[j]);
  }
}

// Rows of b and c in a chunk, zeros behind them; and sums of none.
void beginChunk(const Gradient& f, const Place& p, int64_t from, int64_t length, Workspace& w) {
  const int64_t N = f.s.stateSize;
  for (int64_t t = 0; t < length; t++) {
    const int64_t shared = f.s.shared(p.batch, from + t, p.group);
    for (int64_t n = 0; n < f.rows; n += WIDTH) {
      const int64_t there = std::min<int64_t>(WIDTH, N - n), all = std::min<int64_t>(WIDTH, f.rows - n);
      storeFirst(w.b + t * f.rows + n, loadFirst(f.b + shared + n, there), all);
      storeFirst(w.c + t * f.rows + n, loadFirst(f.c + shared + n, there), all);
    }
  }
  for (float* sums : {w.db, w.dc}) std::fill(sums, sums + f.sums * QUARTER, 0.0f);
}

void readSteps(const Gradient& f, const Place& p, int64_t v, int64_t from, int64_t length, Workspace& w) {
  const int64_t lanes = p.lanes(v);
  for (int64_t t = 0; t < length; t++) {
    const int64_t at = f.s.scalar(p.batch, from + t, p.first + v * WIDTH);
    const vf x = loadFirst(f.x + at, lanes), dt = loadFirst(f.dt + at, lanes);
    store(w.dt + t * WIDTH, dt);
    store(w.u + t * WIDTH, dt * x);
    store(w.dy + t * WIDTH, loadFirst(f.dy + at, lanes));
  }
}

void writeSteps(const Gradient& f, const Place& p, int64_t v, int64_t from, int64_t length, Workspace& w) {
  const int64_t lanes = p.lanes(v), first = p.first + v * WIDTH;
  const vf d = f.d ? loadFirst(f.d + first, lanes) : zero();
  vf dd = zero();
  for (int64_t t = 0; t < length; t++) {
    const int64_t at = f.s.scalar(p.batch, from + t, first);
    const vf x = loadFirst(f.x + at, lanes), dt = load(w.dt + t * WIDTH), dy = load(w.dy + t * WIDTH), du = load(w.du + t * WIDTH);
    storeFirst(f.dx + at, fma(d, dy, dt * du), lanes);
    storeFirst(f.ddt + at, fma(x, du, load(w.through + t * WIDTH) * LN2), lanes);
    dd = fma(dy, x, dd);
  }
  store(w.dd + v * WIDTH, load(w.dd + v * WIDTH) + dd);
}

// The lanes of each quarter added up.
void sumQuarters(const Gradient& f, const float* vectors, float* to) {
  for (int64_t i = 0; i < f.sums; i += WIDTH, vectors += QUARTER * WIDTH) {
    vf rows[QUARTER];
#pragma GCC unroll 4
    for (int j = 0; j < QUARTER; j++) rows[j] = load(vectors + j * WIDTH);
    if constexpr (QUARTER == 4) {
      rows[0] = fold<2>(rows[0], rows[2]);
      rows[1] = fold<2>(rows[1], rows[3]);
    }
    if constexpr (QUARTER >= 2) rows[0] = fold<1>(rows[0], rows[1]);
    store(to + i, rows[0]);
  }
}

void gradientChunk(const Gradient& f, const Place& p, int64_t k, Workspace& w) {
  const ScanSizes& s = f.s;
  const int64_t N = s.stateSize, from = k * s.chunk, length = s.length(k);
  beginChunk(f, p, from, length, w);
  const int64_t sums = (((p.batch * s.groups + p.group) * f.blocks.perGroup + p.block) * s.chunks() + k) * f.sums;
  // What the chunk before needs: all rows that there are, since it is whole; then its states that were kept, and where its sums go.
  const int64_t steps = k > 0 ? 1 : 0, next = s.scalar(p.batch, from - steps * s.chunk, p.first);
  const float* rows[] = {f.x + next, f.dt + next, f.dy + next, f.dx + next, f.ddt + next};
  const int64_t before = sums - steps * f.sums;
  const struct { const float* from; int64_t floats; } pieces[] = {
      {f.starts + p.start(s, k - steps, 0), p.count * N}, {f.blockDb + before, f.sums}, {f.blockDc + before, f.sums}};
  int64_t asked = 0;
  const auto ahead = [&] {
    int64_t i = asked++;
    if (i < 5 * p.vectors) return Ahead{rows[i % 5] + i / 5 * WIDTH, s.channels};
    i -= 5 * p.vectors;
    for (const auto& piece : pieces) {
      const int64_t walks = (piece.floats + length * LINE - 1) / (length * LINE);
      if (i < walks) return Ahead{piece.from + i * length * LINE, LINE};
      i -= walks;
    }
    return Ahead{w.dt, 0};
  };
  for (int64_t v = 0; v < p.vectors; v++) {
    readSteps(f, p, v, from, length, w);
    for (int64_t n = 0; n < N; n += TILE) {
      const int64_t own = (v * f.rows + n) * WIDTH, tileSums = n * f.steps * QUARTER;
      const Tile tile{length, f.rows, p.lanes(v), N - n,
                      w.rates + own, f.starts + p.start(s, k, v) + n * p.lanes(v), w.b + n, w.c + n, w.dt, w.u, w.dy,
                      w.G + own, w.da + own, w.du, w.through, w.decays, w.kept, w.db + tileSums, w.dc + tileSums};
      walkUp(tile, ahead());
      n == 0 ? walkDown<true>(tile, ahead()) : walkDown<false>(tile, ahead());
    }
    writeSteps(f, p, v, from, length, w);
  }
  sumQuarters(f, w.db, f.blockDb + sums);
  sumQuarters(f, w.dc, f.blockDc + sums);
}

void gradientBlock(const Gradient& f, const Place& p, float* scratch) {
  const ScanSizes& s = f.s;
  const int64_t N = s.stateSize, own = p.batch * s.channels + p.first;
  Workspace w(scratch, f);
  gatherStates(f.a + p.first * N, p, N, f.rows, LOG2E, w.rates);
  gatherStates(f.dfinal ? f.dfinal + own * N : nullptr, p, N, f.rows, 1.0f, w.G);
  std::fill(w.da, w.da + p.vectors * f.rows * WIDTH, 0.0f);
  std::fill(w.dd, w.dd + p.vectors * WIDTH, 0.0f);
  for (int64_t k = s.chunks() - 1; k >= 0; k--) gradientChunk(f, p, k, w);
  scatterStates(w.da, p, N, f.rows, f.sequenceDa + own * N);
  if (f.dstate) scatterStates(w.G, p, N, f.rows, f.dstate + own * N);
  for (int64_t v = 0; v < p.vectors; v++) storeFirst(f.sequenceDd + own + v * WIDTH, load(w.dd + v * WIDTH), p.lanes(v));
}

// to = Σ_i from[i], i < count, each `stride` apart; n floats.
void addUp(const float* from, int64_t count, int64_t stride, int64_t n, float* to) {
  for (int64_t j = 0; j < n; j += WIDTH) {
    const int64_t lanes = std::min<int64_t>(WIDTH, n - j);
    vf total = zero();
    for (int64_t i = 0; i < count; i++) total += loadFirst(from + i * stride + j, lanes);
    storeFirst(to + j, total, lanes);
  }
}

// Sums over the blocks of one chunk, to rows of states.
void addBlocks(const Gradient& f, const float* sums, int64_t length, float* total, float* to) {
  addUp(sums, f.blocks.perGroup, f.s.chunks() * f.sums, f.sums, total);
  for (int64_t n = 0; n < f.s.stateSize; n++) {
    const float* from = total + n / TILE * TILE * f.steps + n % TILE * QUARTER;
    for (int64_t t = 0; t < length; t++) to[t * f.s.sharedRow() + n] = from[t / QUARTER * WIDTH + t % QUARTER];
  }
}

void runGradient(const SelectiveScanGradientArgs& args, Pool& pool) {
  const Gradient f(args, pool);
  const ScanSizes& s = f.s;
  const int64_t N = s.stateSize;
  pool.parallel(s.batch * s.groups * f.blocks.perGroup, [&](int64_t item, int worker) {
    gradientBlock(f, Place(s, f.blocks, item), pool.scratch(worker, Workspace::floats(f)));
  });
  pool.parallel(s.batch * s.groups * s.chunks(), [&](int64_t item, int worker) {
    const int64_t k = item % s.chunks(), sequence = item / s.chunks();
    const int64_t to = s.shared(sequence / s.groups, k * s.chunk, sequence % s.groups);
    const int64_t own = (sequence * f.blocks.perGroup * s.chunks() + k) * f.sums;
    float* total = pool.scratch(worker, f.sums);
    addBlocks(f, f.blockDb + own, s.length(k), total, f.db + to);
    addBlocks(f, f.blockDc + own, s.length(k), total, f.dc + to);
  });
  pool.parallel((s.channels + BLOCK - 1) / BLOCK, [&](int64_t item, int) {
    const int64_t first = item * BLOCK, count = std::min(BLOCK, s.channels - first);
    addUp(f.sequenceDa + first * N, s.batch, s.channels * N, count * N, f.da + first * N);
    if (f.dd) addUp(f.sequenceDd + first, s.batch, s.channels, count, f.dd + first);
  });
}

}  // namespace

extern const Kernel selectiveScanGradientKernels[] = {
    kernel<SelectiveScanGradientArgs, runGradient, checkScan>(),
    {nullptr, nullptr, nullptr},
};

}  // namespace lenggen::LENGGEN_ISA
