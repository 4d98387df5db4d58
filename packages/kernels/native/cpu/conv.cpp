// Causal depthwise convolution with state: src/ops/conv.ts. u is the state followed by x, z_t = bias + Σ_j w_j u_{t+j}.
//
// Memory binds here, so vectors run over channels and rows are walked in the order in which they lie. Work is split
// into tiles of ROWS steps by at most COLUMNS channels of one output block.
#include <algorithm>
#include <vector>

#include "check.h"
#include "families.h"
#include "vector.h"

namespace lenggen::LENGGEN_ISA {
namespace {

constexpr int64_t ROWS = 128;
constexpr int64_t COLUMNS = 512;
constexpr int64_t MAX_WIDTH = 256;

// numbers: batch, steps, channels, width, silu, and the sizes of the output blocks
constexpr int CONV_NUMBERS = 5;

struct ConvSizes {
  int64_t batch, steps, channels, width;
  bool silu;
  explicit ConvSizes(const Launch& launch)
      : batch(launch.integer(0)), steps(launch.integer(1)), channels(launch.integer(2)), width(launch.integer(3)), silu(launch.integer(4) != 0) {}
  int64_t past() const { return width - 1; }  // rows of state
  int64_t tileRows() const { return (steps + ROWS - 1) / ROWS; }
};

// Some neighbouring channels of one output block.
struct Columns {
  int block;
  int64_t inside;    // first channel, counted in the block
  int64_t channel;   // first channel, counted in x
  int64_t count;
  int64_t blockSize;
};

std::vector<Columns> columnsOf(const Launch& launch) {
  std::vector<Columns> result;
  int64_t channel = 0;
  for (int block = 0; block < launch.numberCount - CONV_NUMBERS; block++) {
    const int64_t size = launch.integer(CONV_NUMBERS + block);
    for (int64_t inside = 0; inside < size; inside += COLUMNS) {
      const int64_t count = std::min(COLUMNS, size - inside);
      result.push_back({block, inside, channel, count, size});
      channel += count;
    }
  }
  return result;
}

// Checks the numbers; buffers 0 ... 3 are x, weight, bias?, state? in both kernels. Returns the number of output blocks.
int checkConvInputs(const Launch& launch) {
  require(launch.numberCount > CONV_NUMBERS, "needs at least one output block");
  int64_t channels = 0;
  for (int i = 0; i < launch.numberCount; i++) {
    const int64_t size = requireSize(launch, i);
    if (i >= CONV_NUMBERS) channels += size;
  }
  const ConvSizes s(launch);
  require(s.width >= 2 && s.width <= MAX_WIDTH, "the kernel must be 2 ... 256 wide");
  require(s.steps >= 1, "needs at least one step");
  require(channels == s.channels, "output blocks must add up to the channels");
  require(launch.bufferCount >= 4, "needs x, weight, bias and state");
  requireElements(launch, 0, product({s.batch, s.steps, s.channels}));
  requireElements(launch, 1, product({s.channels, s.width}));
  requireOptional(launch, 2, s.channels);
  requireOptional(launch, 3, product({s.batch, s.past(), s.channels}));
  return launch.numberCount - CONV_NUMBERS;
}

// What a tile reads: the rows of u, and the weights as [K,C] so that they load as vectors.
struct Inputs {
  const ConvSizes& s;
  const float *x, *bias, *state;
  const float *weight, *zeros;  // [K,C]; [C]

  // Takes (K + 1) · C floats for the turned weights and the zero row.
  Inputs(const Launch& launch, const ConvSizes& sizes, float* memory)
      : s(sizes), x(launch.buffers[0].f32()), bias(launch.buffers[2].f32()), state(launch.buffers[3].f32()), weight(memory),
        zeros(memory + sizes.width * sizes.channels) {
    const float* from = launch.buffers[1].f32();
    for (int64_t c = 0; c < s.channels; c++)
      for (int64_t j = 0; j < s.width; j++) memory[j * s.channels + c] = from[c * s.width + j];
    std::fill(memory + s.width * s.channels, memory + (s.width + 1) * s.channels, 0.0f);
    if (!bias) bias = zeros;
  }
  static size_t floats(const ConvSizes& s) { return (s.width + 1) * s.channels; }

  // Row i of u of one sequence, 0 <= i < K - 1 + T.
  const float* row(int64_t batch, int64_t i) const {
    if (i >= s.past()) return x + (batch * s.steps + i - s.past()) * s.channels;
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

template <int WIDE>
void forwardTile(const Inputs& in, int64_t batch, int64_t firstRow, const Columns& columns, float* out) {
  const ConvSizes& s = in.s;
  const float* rows[MAX_WIDTH];
  for (int64_t t = firstRow; t < std::min(s.steps, firstRow + ROWS); t++) {
    for (int64_t j = 0; j < s.width; j++) rows[j] = in.row(batch, t + j);
    float* to = out + (batch * s.steps + t) * columns.blockSize + columns.inside;
    for (int64_t c = 0; c < columns.count; c += WIDTH) {
      const int64_t n = std::min<int64_t>(WIDTH, columns.count - c);
      const vf z = preActivation<WIDE>(in, rows, columns.channel + c, n);
      storeFirst(to + c, s.silu ? silu(z) : z, n);
    }
  }
}

// buffers: x, weight, bias?, state?, final, then the outputs
void checkForward(const Launch& launch) {
  const int blocks = checkConvInputs(launch);
  require(launch.bufferCount == 5 + blocks, "needs one buffer for each output block");
  const ConvSizes s(launch);
  requireElements(launch, 4, product({s.batch, s.past(), s.channels}));
  for (int i = 0; i < blocks; i++) requireElements(launch, 5 + i, product({s.batch, s.steps, launch.integer(CONV_NUMBERS + i)}));
}

void runForward(const Launch& launch, Pool& pool) {
  const ConvSizes s(launch);
  const std::vector<Columns> columns = columnsOf(launch);
  const Inputs in(launch, s, pool.shared(Inputs::floats(s)));
  const auto tile = s.width == 4 ? forwardTile<4> : forwardTile<0>;
  const int64_t across = static_cast<int64_t>(columns.size());
  pool.parallel(s.batch * s.tileRows() * across, [&](int64_t item, int) {
    const Columns& part = columns[item % across];
    tile(in, item / across / s.tileRows(), item / across % s.tileRows() * ROWS, part, launch.buffers[5 + part.block].f32());
  });
  float* final = launch.buffers[4].f32();
  for (int64_t b = 0; b < s.batch; b++)
    for (int64_t j = 0; j < s.past(); j++) std::copy_n(in.row(b, s.steps + j), s.channels, final + (b * s.past() + j) * s.channels);
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

// One tile owns dx of its rows (and dstate, if it is the first), and the part of its rows in dweight and dbias, which it
// writes to `sums` [K+1,C]. Walking t upwards, du_t (row t - (K-1) of x) is ready once dz_t is: so the walk runs K-1
// rows on into the next tile. The last K rows of dz wait in `ring`, row t at t mod K.
template <int WIDE>
void gradientTile(const Inputs& in, const Gradients& g, int64_t batch, int64_t firstRow, const Columns& columns, const float* dout,
                  float* sums, float* ring) {
  const ConvSizes& s = in.s;
  const int64_t width = WIDE ? WIDE : s.width, past = width - 1, endRow = std::min(s.steps, firstRow + ROWS), channel = columns.channel;
  for (int64_t j = 0; j <= width; j++) std::fill_n(sums + j * s.channels + channel, columns.count, 0.0f);
  std::fill_n(ring, width * COLUMNS, 0.0f);
  const float *rows[MAX_WIDTH], *waiting[MAX_WIDTH];
  for (int64_t t = firstRow; t < endRow + past; t++) {
    const bool exists = t < s.steps && dout, own = t < endRow && exists;
    const bool emits = t >= firstRow + past || firstRow == 0;  // else du_t belongs to the tile before
    for (int64_t j = 0; j < width; j++) {
      rows[j] = exists ? in.row(batch, t + j) : nullptr;
      waiting[j] = ring + (t - j + width * ROWS) % width * COLUMNS;  // dz_{t-j}
    }
    float* newest = ring + t % width * COLUMNS;
    const float* dy = exists ? dout + (batch * s.steps + t) * columns.blockSize + columns.inside : nullptr;
    const float* last = g.dfinal && t >= s.steps ? g.dfinal + (batch * past + t - s.steps) * s.channels + channel : nullptr;
    float* du = t >= past ? g.dx + (batch * s.steps + t - past) * s.channels + channel
                          : g.dstate ? g.dstate + (batch * past + t) * s.channels + channel : nullptr;
    for (int64_t c = 0; c < columns.count; c += WIDTH) {
      const int64_t n = std::min<int64_t>(WIDTH, columns.count - c), at = channel + c;
      vf dz = zero();
      if (exists) {
        dz = loadFirst(dy + c, n);
        if (s.silu) dz *= siluSlope(preActivation<WIDE>(in, rows, at, n));
      }
      store(newest + c, dz);
      if (own) {
#pragma GCC unroll 4
        for (int64_t j = 0; j < width; j++) {
          float* sum = sums + j * s.channels + at;
          storeFirst(sum, loadFirst(sum, n) + dz * loadFirst(rows[j] + at, n), n);
        }
        float* sum = sums + width * s.channels + at;
        storeFirst(sum, loadFirst(sum, n) + dz, n);
      }
      if (emits && du) {
        vf total = last ? loadFirst(last + c, n) : zero();
#pragma GCC unroll 4
        for (int64_t j = 0; j < width; j++) total += loadFirst(in.weight + j * s.channels + at, n) * load(waiting[j] + c);
        storeFirst(du + c, total, n);
      }
    }
  }
}

// buffers: x, weight, bias?, state?, dfinal?, dx, dweight, dbias?, dstate?, then the outputs' gradients (each may be absent)
void checkGradient(const Launch& launch) {
  const int blocks = checkConvInputs(launch);
  require(launch.bufferCount == 9 + blocks, "needs one gradient for each output block");
  const ConvSizes s(launch);
  const int64_t states = product({s.batch, s.past(), s.channels});
  requireOptional(launch, 4, states);
  requireElements(launch, 5, product({s.batch, s.steps, s.channels}));
  requireElements(launch, 6, product({s.channels, s.width}));
  requireOptional(launch, 7, s.channels);
  requireOptional(launch, 8, states);
  for (int i = 0; i < blocks; i++) requireOptional(launch, 9 + i, product({s.batch, s.steps, launch.integer(CONV_NUMBERS + i)}));
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

void runGradient(const Launch& launch, Pool& pool) {
  const ConvSizes s(launch);
  const Buffer* buffers = launch.buffers;
  const std::vector<Columns> columns = columnsOf(launch);
  const int64_t tiles = s.batch * s.tileRows(), tileFloats = (s.width + 1) * s.channels;
  float* memory = pool.shared(Inputs::floats(s) + tiles * tileFloats);
  const Inputs in(launch, s, memory);
  float* sums = memory + Inputs::floats(s);  // [tiles, K+1, C]
  const Gradients gradients{buffers[4].f32(), buffers[5].f32(), buffers[8].f32()};
  const auto tile = s.width == 4 ? gradientTile<4> : gradientTile<0>;
  const int64_t across = static_cast<int64_t>(columns.size());
  pool.parallel(tiles * across, [&](int64_t item, int worker) {
    const Columns& part = columns[item % across];
    const int64_t row = item / across;
    tile(in, gradients, row / s.tileRows(), row % s.tileRows() * ROWS, part, buffers[9 + part.block].f32(), sums + row * tileFloats,
         pool.scratch(worker, tileScratch(s)));
  });
  pool.parallel((s.channels + WIDTH - 1) / WIDTH, [&](int64_t item, int) {
    const int64_t c = item * WIDTH;
    addTiles(s, sums, tiles, c, std::min<int64_t>(WIDTH, s.channels - c), buffers[6].f32(), buffers[7].f32());
  });
}

}  // namespace

extern const Kernel convKernels[] = {
    {"causalConv", checkForward, runForward},
    {"causalConvGradient", checkGradient, runGradient},
    {nullptr, nullptr, nullptr},
};

}  // namespace lenggen::LENGGEN_ISA
