// Norms, clipping and AdamW over many tensors in one launch: src/ops/optimizer.ts.
#include <algorithm>
#include <cmath>
#include <vector>

#include "check.h"
#include "families.h"
#include "subnormals.h"
#include "vector.h"

namespace lenggen::LENGGEN_ISA {
namespace {

constexpr int64_t BLOCK = 16384;  // elements per item

typedef double vd __attribute__((vector_size(WIDTH * 8)));

// A run of elements of one tensor.
struct Block {
  int tensor;
  int64_t from, to;
};

// Cuts `count` tensors into blocks; tensor i has the size of buffer first + i · stride.
std::vector<Block> blocksOf(const Launch& launch, int first, int count, int stride) {
  std::vector<Block> blocks;
  for (int tensor = 0; tensor < count; tensor++) {
    const int64_t size = static_cast<int64_t>(launch.buffers[first + tensor * stride].bytes / 4);
    for (int64_t from = 0; from < size; from += BLOCK) blocks.push_back({tensor, from, std::min(size, from + BLOCK)});
  }
  return blocks;
}

// Σ over all blocks of body(x, n), each block's sum at its own place, then all of them in order.
template <typename Sum, typename Body>
Sum sumOverTensors(const Launch& launch, Pool& pool, const Body& body) {
  const std::vector<Block> blocks = blocksOf(launch, 0, launch.bufferCount - 1, 1);
  std::vector<Sum> sums(blocks.size());
  pool.parallel(static_cast<int64_t>(blocks.size()), [&](int64_t item, int) {
    const Block& block = blocks[item];
    sums[item] = body(launch.buffers[block.tensor].f32() + block.from, block.to - block.from);
  });
  Sum total = 0;
  for (const Sum sum : sums) total += sum;
  return total;
}

// The norm and the factor have the same bits on every device, so that small numbers count too.
double squares(const float* x, int64_t n) {
  const ExactSubnormals exact;
  vd sums[2] = {};
  int64_t i = 0;
  for (; i + 2 * WIDTH <= n; i += 2 * WIDTH) {
    const vd a = __builtin_convertvector(load(x + i), vd), b = __builtin_convertvector(load(x + i + WIDTH), vd);
    sums[0] += a * a;
    sums[1] += b * b;
  }
  double total = 0;
  for (int lane = 0; lane < WIDTH; lane++) total += sums[0][lane] + sums[1][lane];
  for (; i < n; i++) total += static_cast<double>(x[i]) * x[i];
  return total;
}

int64_t nonFinite(const float* x, int64_t n) {
  int64_t count = 0;
  for (int64_t i = 0; i < n; i++) count += !(std::fabs(x[i]) <= std::numeric_limits<float>::max());
  return count;
}

// buffers: tensors ..., result [1]
void checkSum(const Launch& launch) {
  require(launch.bufferCount >= 1 && launch.numberCount == 0, "takes at least one buffer and no numbers");
  requireElements(launch, launch.bufferCount - 1, 1);
}

void globalNorm(const Launch& launch, Pool& pool) {
  const ExactSubnormals exact;
  const double total = sumOverTensors<double>(launch, pool, squares);
  launch.buffers[launch.bufferCount - 1].f32()[0] = static_cast<float>(std::sqrt(total));
}

void countNonFinite(const Launch& launch, Pool& pool) {
  const int64_t total = sumOverTensors<int64_t>(launch, pool, nonFinite);
  launch.buffers[launch.bufferCount - 1].i32()[0] = static_cast<int32_t>(std::min<int64_t>(total, INT32_MAX));
}

// buffers: norm [1], factor [1]; numbers: maxNorm
void checkClipFactor(const Launch& launch) {
  requireCounts(launch, 2, 1);
  requireElements(launch, 0, 1);
  requireElements(launch, 1, 1);
}

void clipFactor(const Launch& launch, Pool&) {
  const ExactSubnormals exact;
  const double ratio = launch.numbers[0] / launch.buffers[0].f32()[0];
  launch.buffers[1].f32()[0] = ratio >= 1 ? 1.0f : static_cast<float>(ratio);  // NaN stays NaN
}

// buffers: count [1] i32, x, otherwise or none, out
void checkUnlessCounted(const Launch& launch) {
  requireCounts(launch, 4, 0);
  const int64_t size = static_cast<int64_t>(launch.buffers[1].bytes / 4);
  requireElements(launch, 0, 1);
  requireOptional(launch, 2, size);
  requireElements(launch, 3, size);
}

void unlessCounted(const Launch& launch, Pool& pool) {
  const Buffer& from = launch.buffers[launch.buffers[0].i32()[0] == 0 ? 1 : 2];
  const std::vector<Block> blocks = blocksOf(launch, 3, 1, 1);
  pool.parallel(static_cast<int64_t>(blocks.size()), [&](int64_t item, int) {
    const Block& block = blocks[item];
    float* out = launch.buffers[3].f32();
    if (from.data) std::copy(from.f32() + block.from, from.f32() + block.to, out + block.from);
    else std::fill(out + block.from, out + block.to, 0.0f);
  });
}

// buffers: factor or none, skip [1] i32 or none, then parameter, gradient, m, v of each tensor
// numbers: learning rate, beta1, beta2, eps, correction1, correction2, then the weight decay of each tensor
constexpr int ADAMW_NUMBERS = 6;
constexpr int ADAMW_TENSORS = 2;  // the first buffer of the first tensor

void checkAdamW(const Launch& launch) {
  const int tensors = launch.numberCount - ADAMW_NUMBERS;
  require(tensors >= 0 && launch.bufferCount == ADAMW_TENSORS + 4 * tensors, "takes a factor, a skip, 6 numbers, and 4 buffers and 1 number per tensor");
  requireOptional(launch, 0, 1);
  requireOptional(launch, 1, 1);
  for (int i = ADAMW_TENSORS; i < launch.bufferCount; i++) {
    requireElements(launch, i, static_cast<int64_t>(launch.buffers[i - (i - ADAMW_TENSORS) % 4].bytes / 4));
  }
}

struct AdamW {
  float factor, beta1, beta2, rest1, rest2, eps, inverse2, rate, decay;

  void update(vf& p, vf g, vf& m, vf& v) const {
    g *= factor;
    m = beta1 * m + rest1 * g;
    v = beta2 * v + rest2 * (g * g);
    p -= decay * p + rate * m / (sqrt(v * inverse2) + eps);
  }
};

void adamW(const Launch& launch, Pool& pool) {
  if (launch.buffers[1].data && launch.buffers[1].i32()[0] > 0) return;
  const double rate = launch.numbers[0], beta1 = launch.numbers[1], beta2 = launch.numbers[2];
  AdamW shared;
  shared.factor = launch.buffers[0].data ? launch.buffers[0].f32()[0] : 1.0f;
  shared.beta1 = static_cast<float>(beta1);
  shared.beta2 = static_cast<float>(beta2);
  shared.rest1 = static_cast<float>(1 - beta1);
  shared.rest2 = static_cast<float>(1 - beta2);
  shared.eps = launch.real(3);
  shared.rate = static_cast<float>(rate / launch.numbers[4]);
  shared.inverse2 = static_cast<float>(1 / launch.numbers[5]);
  const std::vector<Block> blocks = blocksOf(launch, ADAMW_TENSORS, launch.numberCount - ADAMW_NUMBERS, 4);
  pool.parallel(static_cast<int64_t>(blocks.size()), [&](int64_t item, int) {
    const Block& block = blocks[item];
    const Buffer* buffers = launch.buffers + ADAMW_TENSORS + 4 * block.tensor;
    float *parameter = buffers[0].f32(), *m = buffers[2].f32(), *v = buffers[3].f32();
    const float* gradient = buffers[1].f32();
    AdamW rule = shared;
    rule.decay = static_cast<float>(rate * launch.numbers[ADAMW_NUMBERS + block.tensor]);
    for (int64_t i = block.from; i < block.to; i += WIDTH) {
      const int64_t n = std::min<int64_t>(WIDTH, block.to - i);
      vf p = loadFirst(parameter + i, n), mi = loadFirst(m + i, n), vi = loadFirst(v + i, n);
      rule.update(p, loadFirst(gradient + i, n), mi, vi);
      storeFirst(parameter + i, p, n);
      storeFirst(m + i, mi, n);
      storeFirst(v + i, vi, n);
    }
  });
}

}  // namespace

extern const Kernel optimizerKernels[] = {
    {"globalNorm", checkSum, globalNorm},
    {"countNonFinite", checkSum, countNonFinite},
    {"clipFactor", checkClipFactor, clipFactor},
    {"unlessCounted", checkUnlessCounted, unlessCounted},
    {"adamW", checkAdamW, adamW},
    {nullptr, nullptr, nullptr},
};

}  // namespace lenggen::LENGGEN_ISA
