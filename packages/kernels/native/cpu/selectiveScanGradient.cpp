// The gradient of the selective scan, as src/ops/selectiveScan.ts derives it. Each block of channels walks its chunks from the last to the
// first. In a chunk, a few states at a time go up (their decays and states again, from the state that the forward pass kept, and dc) and
// down (G, and all else). db and dc are sums over channels: lane by lane while the block's vectors pass, then over the lanes, then over the
// blocks in their order. They lie as tiles come, [steps,COUNT] of the first COUNT states, then of the next.
#include "families.h"
#include "selectiveScan.h"

namespace lenggen::LENGGEN_ISA {
namespace {

struct Gradient : SelectiveScanGradientArgs {
  ScanSizes s;
  Blocks blocks;
  // Sums of one block [batch,groups,blocks,steps,N], and of one sequence [batch,channels,N], [batch,channels].
  float *blockDb, *blockDc, *sequenceDa, *sequenceDd;
  Gradient(const SelectiveScanGradientArgs& args, Pool& pool) : SelectiveScanGradientArgs(args), s(args), blocks(s) {
    const int64_t shared = s.batch * s.groups * blocks.perGroup * s.steps * s.stateSize, all = s.batch * s.channels;
    Arena arena(pool.shared(2 * padded(shared) + padded(all * s.stateSize) + padded(all)));
    blockDb = arena.take(shared);
    blockDc = arena.take(shared);
    sequenceDa = arena.take(all * s.stateSize);
    sequenceDd = arena.take(all);
  }
};

// Working memory of one block: as in the forward pass, what one tile of states keeps of its way up, and sums.
struct Workspace {
  float *rates, *G, *da, *dt, *u, *dy, *du, *through, *decays, *before, *db, *dc, *dd;
  static int64_t floats(const ScanSizes& s) {
    return 3 * (BLOCK * s.stateSize + APART) + 5 * (BLOCK * s.chunk + APART) + 2 * (TILE * WIDTH * s.chunk + APART)
        + 2 * (s.chunk * s.stateSize * WIDTH + APART) + BLOCK;
  }
  Workspace(float* scratch, const ScanSizes& s) {
    Arena arena(scratch);
    for (float** states : {&rates, &G, &da}) *states = arena.take(BLOCK * s.stateSize + APART);
    for (float** steps : {&dt, &u, &dy, &du, &through}) *steps = arena.take(BLOCK * s.chunk + APART);
    for (float** tile : {&decays, &before}) *tile = arena.take(TILE * WIDTH * s.chunk + APART);
    for (float** sums : {&db, &dc}) *sums = arena.take(s.chunk * s.stateSize * WIDTH + APART);
    dd = arena.take(BLOCK);
  }

 private:
  // Sizes are powers of 2: without it all would begin at the same places of the first cache, which has room for a few such.
  static constexpr int64_t APART = 7 * 16;
};

// One tile of one vector in one chunk: where its numbers are. Steps of b and c are `row` apart.
struct Tile {
  int64_t length, row;
  const float *rates, *start, *b, *c, *dt, *u, *dy;
  int64_t lanes;
  float *G, *da, *du, *through, *decays, *before, *db, *dc;
};

// FIRST: of the block's vectors, where sums over them begin.
template <int COUNT, bool FIRST>
void walkUp(const Tile& tile, const Ahead& ahead) {
  vf rate[COUNT], S[COUNT];
#pragma GCC unroll 4
  for (int j = 0; j < COUNT; j++) {
    rate[j] = load(tile.rates + j * WIDTH);
    S[j] = loadFirst(tile.start + j * tile.lanes, tile.lanes);
  }
  for (int64_t t = 0; t < tile.length; t++) {
    ahead.at(t);
    const vf step = load(tile.dt + t * WIDTH), input = load(tile.u + t * WIDTH), dy = load(tile.dy + t * WIDTH);
    const float* b = tile.b + t * tile.row;
    float* dc = tile.dc + t * COUNT * WIDTH;
#pragma GCC unroll 4
    for (int j = 0; j < COUNT; j++) {
      const vf decay = exp2(step * rate[j]);
      store(tile.decays + (t * COUNT + j) * WIDTH, decay);
      store(tile.before + (t * COUNT + j) * WIDTH, S[j]);
      S[j] = decay * S[j] + input * b[j];
      store(dc + j * WIDTH, FIRST ? dy * S[j] : load(dc + j * WIDTH) + dy * S[j]);
    }
  }
}

template <int COUNT, bool FIRST>
void walkDown(const Tile& tile, const Ahead& ahead) {
  vf rate[COUNT], G[COUNT], da[COUNT];
#pragma GCC unroll 4
  for (int j = 0; j < COUNT; j++) {
    rate[j] = load(tile.rates + j * WIDTH);
    G[j] = load(tile.G + j * WIDTH);
    da[j] = zero();
  }
  for (int64_t t = tile.length - 1; t >= 0; t--) {
    ahead.at(t);
    const vf step = load(tile.dt + t * WIDTH), input = load(tile.u + t * WIDTH), dy = load(tile.dy + t * WIDTH);
    const float *b = tile.b + t * tile.row, *c = tile.c + t * tile.row;
    float* db = tile.db + t * COUNT * WIDTH;
    vf du = load(tile.du + t * WIDTH), through = load(tile.through + t * WIDTH);
#pragma GCC unroll 4
    for (int j = 0; j < COUNT; j++) {
      G[j] += dy * c[j];
      du += G[j] * b[j];
      store(db + j * WIDTH, FIRST ? input * G[j] : load(db + j * WIDTH) + input * G[j]);
      G[j] *= load(tile.decays + (t * COUNT + j) * WIDTH);
      const vf w = G[j] * load(tile.before + (t * COUNT + j) * WIDTH);
      through += w * rate[j];
      da[j] += step * w;
    }
    store(tile.du + t * WIDTH, du);
    store(tile.through + t * WIDTH, through);
  }
#pragma GCC unroll 4
  for (int j = 0; j < COUNT; j++) {
    store(tile.G + j * WIDTH, G[j]);
    store(tile.da + j * WIDTH, load(tile.da + j * WIDTH) + da[j]);
  }
}

// Halves of the vectors i and i + D change places where they are added, so that lane j ends up with the sum of rows[j].
template <int D>
LENGGEN_INLINE void addHalves(vf (&rows)[WIDTH]) {
  if constexpr (D < WIDTH) {
    swapBlocks<D>(rows, std::make_integer_sequence<int, WIDTH>{});
#pragma GCC unroll 8
    for (int i = 0; i < D; i++) rows[i] += rows[i + D];
  }
}

// Sums over the lanes of `count` vectors.
void sumLanes(const float* vectors, int64_t count, float* to) {
  for (int64_t i = 0; i < count; i += WIDTH) {
    const int64_t n = std::min<int64_t>(WIDTH, count - i);
    vf rows[WIDTH];
#pragma GCC unroll 16
    for (int64_t j = 0; j < WIDTH; j++) rows[j] = j < n ? load(vectors + (i + j) * WIDTH) : zero();
    addHalves<8>(rows);
    addHalves<4>(rows);
    addHalves<2>(rows);
    addHalves<1>(rows);
    storeFirst(to + i, rows[0], n);
  }
}

void readChunk(const Gradient& f, const Place& p, int64_t from, int64_t length, Workspace& w) {
  for (int64_t t = 0; t < length; t++) {
    const int64_t at = f.s.scalar(p.batch, from + t, p.first);
    for (int64_t v = 0; v < p.vectors; v++) {
      const int64_t n = p.lanes(v), here = at + v * WIDTH, to = (v * f.s.chunk + t) * WIDTH;
      const vf x = loadFirst(f.x + here, n), dt = loadFirst(f.dt + here, n);
      store(w.dt + to, dt);
      store(w.u + to, dt * x);
      store(w.dy + to, loadFirst(f.dy + here, n));
      store(w.du + to, zero());
      store(w.through + to, zero());
    }
  }
}

void writeChunk(const Gradient& f, const Place& p, int64_t from, int64_t length, Workspace& w) {
  vf dd[BLOCK / WIDTH];
  for (int64_t v = 0; v < p.vectors; v++) dd[v] = zero();
  for (int64_t t = 0; t < length; t++) {
    const int64_t at = f.s.scalar(p.batch, from + t, p.first);
    for (int64_t v = 0; v < p.vectors; v++) {
      const int64_t n = p.lanes(v), here = at + v * WIDTH, own = (v * f.s.chunk + t) * WIDTH;
      const vf x = loadFirst(f.x + here, n), dy = load(w.dy + own), du = load(w.du + own);
      const vf d = f.d ? loadFirst(f.d + p.first + v * WIDTH, n) : zero();
      storeFirst(f.dx + here, load(w.dt + own) * du + d * dy, n);
      storeFirst(f.ddt + here, x * du + load(w.through + own) * LN2, n);
      dd[v] += dy * x;
    }
  }
  for (int64_t v = 0; v < p.vectors; v++) store(w.dd + v * WIDTH, load(w.dd + v * WIDTH) + dd[v]);
}

template <int COUNT>
void walkTile(const Tile& tile, bool first, const Ahead& up, const Ahead& down) {
  if (first) {
    walkUp<COUNT, true>(tile, up);
    walkDown<COUNT, true>(tile, down);
  } else {
    walkUp<COUNT, false>(tile, up);
    walkDown<COUNT, false>(tile, down);
  }
}

void gradientChunk(const Gradient& f, const Place& p, int64_t k, Workspace& w) {
  const ScanSizes& s = f.s;
  const int64_t N = s.stateSize, from = k * s.chunk, length = s.length(k);
  readChunk(f, p, from, length, w);
  // What the chunk before needs: all rows that there are, since it is whole.
  const int64_t next = s.scalar(p.batch, std::max<int64_t>(0, from - s.chunk), p.first);
  const float* wanted[] = {f.x + next, f.dt + next, f.dy + next, f.dx + next, f.ddt + next};
  for (int64_t v = 0; v < p.vectors; v++) {
    const int64_t at = v * s.chunk * WIDTH;
    int asked = 0;
    const auto ahead = [&] { return asked < 5 ? Ahead{wanted[asked++] + v * WIDTH, s.channels} : Ahead{w.dt, 0}; };
    for (int64_t n = 0; n < N;) {
      const int64_t own = (v * N + n) * WIDTH, shared = s.shared(p.batch, from, p.group) + n;
      const Tile tile{
          length, s.sharedRow(),
          w.rates + own, f.starts + p.start(s, k, v) + n * p.lanes(v), f.b + shared, f.c + shared, w.dt + at, w.u + at, w.dy + at,
          p.lanes(v),
          w.G + own, w.da + own, w.du + at, w.through + at, w.decays, w.before, w.db + n * length * WIDTH, w.dc + n * length * WIDTH};
      const Ahead up = ahead(), down = ahead();
      if (n + TILE <= N) {
        walkTile<TILE>(tile, v == 0, up, down);
        n += TILE;
      } else {
        walkTile<1>(tile, v == 0, up, down);
        n++;
      }
    }
  }
  writeChunk(f, p, from, length, w);
  const int64_t sums = (((p.batch * s.groups + p.group) * f.blocks.perGroup + p.block) * s.steps + from) * N;
  sumLanes(w.db, length * N, f.blockDb + sums);
  sumLanes(w.dc, length * N, f.blockDc + sums);
}

void gradientBlock(const Gradient& f, const Place& p, float* scratch) {
  const ScanSizes& s = f.s;
  const int64_t N = s.stateSize, own = p.batch * s.channels + p.first;
  Workspace w(scratch, s);
  gatherStates(f.a + p.first * N, p, N, LOG2E, w.rates);
  gatherStates(f.dfinal ? f.dfinal + own * N : nullptr, p, N, 1.0f, w.G);
  std::fill(w.da, w.da + p.vectors * N * WIDTH, 0.0f);
  std::fill(w.dd, w.dd + p.vectors * WIDTH, 0.0f);
  for (int64_t k = s.chunks() - 1; k >= 0; k--) gradientChunk(f, p, k, w);
  scatterStates(w.da, p, N, f.sequenceDa + own * N);
  if (f.dstate) scatterStates(w.G, p, N, f.dstate + own * N);
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
  const int64_t N = f.s.stateSize;
  addUp(sums, f.blocks.perGroup, f.s.steps * N, length * N, total);
  for (int64_t n = 0; n < N;) {
    const int64_t count = n + TILE <= N ? TILE : 1;
    for (int64_t t = 0; t < length; t++) std::copy_n(total + n * length + t * count, count, to + t * f.s.sharedRow() + n);
    n += count;
  }
}

void runGradient(const SelectiveScanGradientArgs& args, Pool& pool) {
  const Gradient f(args, pool);
  const ScanSizes& s = f.s;
  const int64_t N = s.stateSize;
  pool.parallel(s.batch * s.groups * f.blocks.perGroup, [&](int64_t item, int worker) {
    gradientBlock(f, Place(s, f.blocks, item), pool.scratch(worker, Workspace::floats(s)));
  });
  pool.parallel(s.batch * s.groups * s.chunks(), [&](int64_t item, int worker) {
    const int64_t k = item % s.chunks(), sequence = item / s.chunks(), from = k * s.chunk;
    const int64_t to = s.shared(sequence / s.groups, from, sequence % s.groups), own = (sequence * f.blocks.perGroup * s.steps + from) * N;
    float* total = pool.scratch(worker, s.chunk * N);
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
