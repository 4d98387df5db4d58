// Causal depthwise convolution with state: src/ops/conv.ts. u is the state followed by x, z_t = bias + Σ_j w_j u_{t+j}.
//
// Memory binds here, so vectors run over channels and rows are walked in the order in which they lie. Work is split
// into tiles of ROWS steps by at most COLUMNS channels of one output block.
#include <algorithm>
#include <vector>

#include "families.h"
#include "signatures/conv.h"
#include "vector.h"

namespace lenggen::LENGGEN_ISA {
namespace {

constexpr int64_t ROWS = 128;
constexpr int64_t COLUMNS = 512;
constexpr int64_t MAX_WIDTH = 256;

struct ConvSizes {
  int64_t batch, time, channels, width;
  bool silu;
  template <typename Args>
  explicit ConvSizes(const Args& args)
      : batch(args.batch), time(args.time), channels(args.channels), width(args.width), silu(args.silu) {}
  int64_t past() const { return width - 1; }  // rows of state
  int64_t tileRows() const { return (time + ROWS - 1) / ROWS; }
};

// Some neighbouring channels of one output block.
struct Columns {
  int block;
  int64_t inside;    // first channel, counted in the block
  int64_t channel;   // first channel, counted in x
  int64_t count;
  int64_t blockSize;
};

std::vector<Columns> columnsOf(const Numbers& split) {
  std::vector<Columns> result;
  int64_t channel = 0;
  for (int block = 0; block < split.count; block++) {
    const int64_t size = split.size(block);
    for (int64_t inside = 0; inside < size; inside += COLUMNS) {
      const int64_t count = std::min(COLUMNS, size - inside);
      result.push_back({block, inside, channel, count, size});
      channel += count;
    }
  }
  return result;
}

template <typename Args>
void checkConv(const Args& args) {
  require(args.width >= 2 && args.width <= MAX_WIDTH, "the kernel must be 2 ... 256 wide");
  require(args.time >= 1, "needs at least one step");
  int64_t channels = 0;
  for (int64_t i = 0; i < args.split.count; i++) channels += args.split.size(i);
  require(args.split.count >= 1 && channels == args.channels, "output blocks must add up to the channels");
}

// What a tile reads: the rows of u, and the weights as [K,C] so that they load as vectors.
struct Inputs {
  const ConvSizes& s;
  const float *x, *bias, *state;
  const float *weight, *zeros;  // [K,C]; [C]

  // Takes (K + 1) · C floats for the turned weights and the zero row.
  template <typename Args>
  Inputs(const Args& args, const ConvSizes& sizes, float* memory)
      : s(sizes), x(args.x), bias(args.bias), state(args.state), weight(memory), zeros(memory + sizes.width * sizes.channels) {
    const float* from = args.weight;
    for (int64_t c = 0; c < s.channels; c++)
      for (int64_t j = 0; j < s.width; j++) memory[j * s.channels + c] = from[c * s.width + j];
    std::fill(memory + s.width * s.channels, memory + (s.width + 1) * s.channels, 0.0f);
    if (!bias) bias = zeros;
  }
  static size_t floats(const ConvSizes& s) { return (s.width + 1) * s.channels; }

  // Row i of u of one sequence, 0 <= i < K - 1 + T.
  const float* row(int64_t batch, int64_t i) const {
    if (i >= s.past()) return x + (batch * s.time + i - s.past()) * s.channels;
    return state ? state + (batch * s.past() + i) * s.channels : zeros;
  }
};

// z at the vector of channels from c on; rows: K rows of u. WIDE: the kernel's width where it is known, else 0.
template <int WIDE>
LENGGEN_INLINE vf preActivation(const Inputs& in, const float* const* rows, int64_t c, int64_t n) {
  vf z = loadFirst(in.bias + c, n);
  const int64_t width = WIDE ? WIDE : in.s.width;
#pragma GCC unroll 4
  for (int64_t j = 0; j < width; j++) z += loadFirst(in.weight + j * in.s.channels + c, n) * loadFirst(rows[j] + c, n);
  return z;
}

// Kernels of width 4, the usual one, take four steps at a time: then weights and rows of u are loaded once for all four.
constexpr int STEPS = 4;

// Weights, bias and seven rows of u at one vector of channels.
struct Window {
  vf weight[4], bias, u[STEPS + 3];
  template <bool WHOLE>
  LENGGEN_INLINE vf take(const float* p, int64_t n) { return WHOLE ? load(p) : loadFirst(p, n); }
  template <bool WHOLE>
  LENGGEN_INLINE Window at(const Inputs& in, const float* const* rows, int64_t c, int64_t n) {
    Window w;
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) w.weight[j] = take<WHOLE>(in.weight + j * in.s.channels + c, n);
    w.bias = take<WHOLE>(in.bias + c, n);
#pragma GCC unroll 8
    for (int r = 0; r < STEPS + 3; r++) w.u[r] = take<WHOLE>(rows[r] + c, n);
    return w;
  }
  vf z(int r) const { return bias + weight[0] * u[r] + weight[1] * u[r + 1] + weight[2] * u[r + 2] + weight[3] * u[r + 3]; }
};

// Four steps from t on; rows: seven rows of u from row t on; to: the outputs of step t.
template <bool WHOLE>
LENGGEN_INLINE void forwardSteps(const Inputs& in, const float* const* rows, int64_t c, int64_t n, float* to, int64_t toRow) {
  const Window w = Window::at<WHOLE>(in, rows, c, n);
#pragma GCC unroll 4
  for (int r = 0; r < STEPS; r++) {
    const vf y = in.s.silu ? silu(w.z(r)) : w.z(r);
    if (WHOLE) store(to + r * toRow, y);
    else storeFirst(to + r * toRow, y, n);
  }
}

template <int WIDE>
void forwardTile(const Inputs& in, int64_t batch, int64_t firstRow, const Columns& columns, float* out) {
  const ConvSizes& s = in.s;
  const float* rows[MAX_WIDTH];
  int64_t t = firstRow;
  const int64_t endRow = std::min(s.time, firstRow + ROWS), count = columns.count;
  const auto outputs = [&](int64_t step) { return out + (batch * s.time + step) * columns.blockSize + columns.inside; };
  for (; WIDE == 4 && t + STEPS <= endRow; t += STEPS) {
    for (int64_t r = 0; r < STEPS + 3; r++) rows[r] = in.row(batch, t + r);
    int64_t c = 0;
    for (; c + WIDTH <= count; c += WIDTH) forwardSteps<true>(in, rows, columns.channel + c, WIDTH, outputs(t) + c, columns.blockSize);
    if (c < count) forwardSteps<false>(in, rows, columns.channel + c, count - c, outputs(t) + c, columns.blockSize);
  }
  for (; t < endRow; t++) {
    for (int64_t j = 0; j < s.width; j++) rows[j] = in.row(batch, t + j);
    for (int64_t c = 0; c < count; c += WIDTH) {
      const int64_t n = std::min<int64_t>(WIDTH, count - c);
      const vf z = preActivation<WIDE>(in, rows, columns.channel + c, n);
      storeFirst(outputs(t) + c, s.silu ? silu(z) : z, n);
    }
  }
}

void runForward(const CausalConvArgs& args, Pool& pool) {
  const ConvSizes s(args);
  const std::vector<Columns> columns = columnsOf(args.split);
  const Inputs in(args, s, pool.shared(Inputs::floats(s)));
  const auto tile = s.width == 4 ? forwardTile<4> : forwardTile<0>;
  const int64_t across = static_cast<int64_t>(columns.size());
  pool.parallel(s.batch * s.tileRows() * across, [&](int64_t item, int) {
    const Columns& part = columns[item % across];
    tile(in, item / across / s.tileRows(), item / across % s.tileRows() * ROWS, part, args.outputs[part.block]);
  });
  for (int64_t b = 0; b < s.batch; b++)
    for (int64_t j = 0; j < s.past(); j++) std::copy_n(in.row(b, s.time + j), s.channels, args.final + (b * s.past() + j) * s.channels);
}

struct Gradients {
  const float* dfinal;
  float *dx, *dstate;
};

// Derivative of z·sigmoid(z).
LENGGEN_INLINE vf siluSlope(vf z) {
  const vf s = sigmoid(z);
  return s + z * s * (1.0f - s);
}

size_t tileScratch(const ConvSizes& s) { return s.width * COLUMNS; }

// One tile of the gradient owns dx of its rows (and dstate, if it is the first), and the part of its rows in dweight and
// dbias, which it writes to `sums` [K+1,C]. Walking t upwards, du_t (row t - (K-1) of x) is ready once dz_t is: so the
// walk runs K-1 rows on into the next tile. The last K rows of dz wait in `ring`, row t at t mod K.
struct GradientTile {
  const Inputs& in;
  const Gradients& g;
  const int64_t batch, firstRow, endRow, past;
  const Columns& columns;
  const float* dout;
  float *sums, *ring;

  float* waiting(int64_t t) const { return ring + (t + (past + 1) * ROWS) % (past + 1) * COLUMNS; }
  const float* dy(int64_t t) const { return dout + (batch * in.s.time + t) * columns.blockSize + columns.inside; }
  float* dx(int64_t t) const { return g.dx + (batch * in.s.time + t) * in.s.channels + columns.channel; }

  template <int WIDE>
  void step(int64_t t) const {
    const ConvSizes& s = in.s;
    const int64_t width = WIDE ? WIDE : s.width, channel = columns.channel;
    const bool exists = t < s.time && dout, own = t < endRow && exists;
    const bool emits = t >= firstRow + past || firstRow == 0;  // else du_t belongs to the tile before
    const float *rows[MAX_WIDTH], *history[MAX_WIDTH];
    for (int64_t j = 0; j < width; j++) {
      rows[j] = exists ? in.row(batch, t + j) : nullptr;
      history[j] = waiting(t - j);
    }
    const float* last = g.dfinal && t >= s.time ? g.dfinal + (batch * past + t - s.time) * s.channels + channel : nullptr;
    float* du = t >= past ? dx(t - past) : g.dstate ? g.dstate + (batch * past + t) * s.channels + channel : nullptr;
    for (int64_t c = 0; c < columns.count; c += WIDTH) {
      const int64_t n = std::min<int64_t>(WIDTH, columns.count - c), at = channel + c;
      vf dz = zero();
      if (exists) {
        dz = loadFirst(dy(t) + c, n);
        if (s.silu) dz *= siluSlope(preActivation<WIDE>(in, rows, at, n));
      }
      store(waiting(t) + c, dz);
      if (own) {
        for (int64_t j = 0; j < width; j++) addTo(sums + j * s.channels + at, dz * loadFirst(rows[j] + at, n), n);
        addTo(sums + width * s.channels + at, dz, n);
      }
      if (emits && du) {
        vf total = last ? loadFirst(last + c, n) : zero();
        for (int64_t j = 0; j < width; j++) total += loadFirst(in.weight + j * s.channels + at, n) * load(history[j] + c);
        storeFirst(du + c, total, n);
      }
    }
  }

  // The same for four steps at once of a kernel of width 4, where all of them exist, are owned and emit rows of dx.
  template <bool WHOLE>
  void steps(int64_t t, const float* const* rows, int64_t c, int64_t n) const {
    const ConvSizes& s = in.s;
    const int64_t at = columns.channel + c;
    const Window w = Window::at<WHOLE>(in, rows, at, n);
    vf dz[STEPS + 3];  // of steps t - 3 ... t + 3
#pragma GCC unroll 3
    for (int r = 0; r < 3; r++) dz[r] = load(waiting(t - 3 + r) + c);
#pragma GCC unroll 4
    for (int r = 0; r < STEPS; r++) {
      const vf slope = s.silu ? siluSlope(w.z(r)) : broadcast(1.0f);
      dz[r + 3] = Window::take<WHOLE>(dy(t + r) + c, n) * slope;
    }
#pragma GCC unroll 3
    for (int r = 1; r < STEPS; r++) store(waiting(t + r) + c, dz[r + 3]);
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++)
      addTo(sums + j * s.channels + at, (dz[3] * w.u[j] + dz[4] * w.u[j + 1]) + (dz[5] * w.u[j + 2] + dz[6] * w.u[j + 3]), n);
    addTo(sums + 4 * s.channels + at, (dz[3] + dz[4]) + (dz[5] + dz[6]), n);
#pragma GCC unroll 4
    for (int r = 0; r < STEPS; r++) {
      const vf du = (w.weight[0] * dz[r + 3] + w.weight[1] * dz[r + 2]) + (w.weight[2] * dz[r + 1] + w.weight[3] * dz[r]);
      if (WHOLE) store(dx(t + r - 3) + c, du);
      else storeFirst(dx(t + r - 3) + c, du, n);
    }
  }

  LENGGEN_INLINE void addTo(float* sum, vf value, int64_t n) {
    if (n == WIDTH) store(sum, load(sum) + value);
    else storeFirst(sum, loadFirst(sum, n) + value, n);
  }
};

template <int WIDE>
void gradientTile(const GradientTile& tile) {
  const ConvSizes& s = tile.in.s;
  const Columns& columns = tile.columns;
  for (int64_t j = 0; j <= s.width; j++) std::fill_n(tile.sums + j * s.channels + columns.channel, columns.count, 0.0f);
  std::fill_n(tile.ring, s.width * COLUMNS, 0.0f);
  int64_t t = tile.firstRow;
  while (t < tile.endRow + tile.past) {
    if (WIDE != 4 || !tile.dout || t < tile.firstRow + 3 || t + STEPS > tile.endRow) {
      tile.template step<WIDE>(t++);
      continue;
    }
    const float* rows[STEPS + 3];
    for (int64_t r = 0; r < STEPS + 3; r++) rows[r] = tile.in.row(tile.batch, t + r);
    int64_t c = 0;
    for (; c + WIDTH <= columns.count; c += WIDTH) tile.template steps<true>(t, rows, c, WIDTH);
    if (c < columns.count) tile.template steps<false>(t, rows, c, columns.count - c);
    t += STEPS;
  }
}

// dweight and dbias from the tiles' sums, in the tiles' order.
void addTiles(const ConvSizes& s, const float* sums, int64_t tiles, int64_t c, int64_t n, float* dweight, float* dbias) {
  for (int64_t j = 0; j <= s.width; j++) {
    vf total = zero();
    for (int64_t i = 0; i < tiles; i++) total += loadFirst(sums + (i * (s.width + 1) + j) * s.channels + c, n);
    for (int64_t lane = 0; lane < n; lane++) {
      if (j < s.width) dweight[(c + lane) * s.width + j] = total[lane];
      else if (dbias) dbias[c + lane] = total[lane];
    }
  }
}

void runGradient(const CausalConvGradientArgs& args, Pool& pool) {
  const ConvSizes s(args);
  const std::vector<Columns> columns = columnsOf(args.split);
  const int64_t tiles = s.batch * s.tileRows(), tileFloats = (s.width + 1) * s.channels;
  float* memory = pool.shared(Inputs::floats(s) + tiles * tileFloats);
  const Inputs in(args, s, memory);
  float* sums = memory + Inputs::floats(s);  // [tiles, K+1, C]
  const Gradients gradients{args.dfinal, args.dx, args.dstate};
  const auto tile = s.width == 4 ? gradientTile<4> : gradientTile<0>;
  const int64_t across = static_cast<int64_t>(columns.size());
  pool.parallel(tiles * across, [&](int64_t item, int worker) {
    const Columns& part = columns[item % across];
    const int64_t row = item / across;
    const int64_t firstRow = row % s.tileRows() * ROWS;
    tile({in, gradients, row / s.tileRows(), firstRow, std::min(s.time, firstRow + ROWS), s.past(), part, args.douts[part.block],
          sums + row * tileFloats, pool.scratch(worker, tileScratch(s))});
  });
  pool.parallel((s.channels + WIDTH - 1) / WIDTH, [&](int64_t item, int) {
    const int64_t c = item * WIDTH;
    addTiles(s, sums, tiles, c, std::min<int64_t>(WIDTH, s.channels - c), args.dweight, args.dbias);
  });
}

}  // namespace

extern const Kernel convKernels[] = {
    kernel<CausalConvArgs, runForward, checkConv>(),
    kernel<CausalConvGradientArgs, runGradient, checkConv>(),
    {nullptr, nullptr, nullptr},
};

}  // namespace lenggen::LENGGEN_ISA
