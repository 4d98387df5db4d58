// Norms, clipping and AdamW over many tensors in one launch: src/ops/optimizer.ts.
#include <algorithm>
#include <cmath>
#include <vector>

#include "families.h"
#include "signatures/optimizer.h"
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

// Cuts `count` tensors into blocks; sizeOf(i) is the size of tensor i.
template <typename SizeOf>
std::vector<Block> blocksOf(int64_t count, const SizeOf& sizeOf) {
  std::vector<Block> blocks;
  for (int64_t tensor = 0; tensor < count; tensor++) {
    const int64_t size = sizeOf(tensor);
    for (int64_t from = 0; from < size; from += BLOCK) blocks.push_back({static_cast<int>(tensor), from, std::min(size, from + BLOCK)});
  }
  return blocks;
}

// Σ over all blocks of body(x, n), each block's sum at its own place, then all of them in order.
template <typename Sum, typename Body>
Sum sumOverTensors(const List<Span<const float>>& tensors, Pool& pool, const Body& body) {
  const std::vector<Block> blocks = blocksOf(tensors.count, [&](int64_t i) { return tensors[i].size; });
  std::vector<Sum> sums(blocks.size());
  pool.parallel(static_cast<int64_t>(blocks.size()), [&](int64_t item, int) {
    const Block& block = blocks[item];
    sums[item] = body(tensors[block.tensor].data + block.from, block.to - block.from);
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

void globalNorm(const GlobalNormArgs& args, Pool& pool) {
  const ExactSubnormals exact;
  *args.norm = static_cast<float>(std::sqrt(sumOverTensors<double>(args.tensors, pool, squares)));
}

void countNonFinite(const CountNonFiniteArgs& args, Pool& pool) {
  const int64_t total = sumOverTensors<int64_t>(args.tensors, pool, nonFinite);
  *args.count = static_cast<int32_t>(std::min<int64_t>(total, INT32_MAX));
}

void clipFactor(const ClipFactorArgs& args, Pool&) {
  const ExactSubnormals exact;
  const double ratio = args.maxNorm / *args.norm;
  *args.factor = ratio >= 1 ? 1.0f : static_cast<float>(ratio);  // NaN stays NaN
}

void checkUnlessCounted(const UnlessCountedArgs& args) {
  require(args.out.bytes >= args.x.bytes && (args.otherwise.data == nullptr || args.otherwise.bytes >= args.x.bytes),
      "all must be as long as x");
}

void unlessCounted(const UnlessCountedArgs& args, Pool& pool) {
  const Buffer& from = *args.count == 0 ? args.x : args.otherwise;
  const std::vector<Block> blocks = blocksOf(1, [&](int64_t) { return static_cast<int64_t>(args.x.bytes / 4); });
  pool.parallel(static_cast<int64_t>(blocks.size()), [&](int64_t item, int) {
    const Block& block = blocks[item];
    float* out = args.out.f32();
    if (from.data) std::copy(from.f32() + block.from, from.f32() + block.to, out + block.from);
    else std::fill(out + block.from, out + block.to, 0.0f);
  });
}

void checkAdamW(const AdamWArgs& args) {
  require(args.weightDecays.count == args.parameters.count, "takes a weight decay for each tensor");
  for (int64_t i = 0; i < args.parameters.count; i++) {
    const int64_t size = args.parameters[i].size;
    require(args.gradients[i].size >= size && args.m[i].size >= size && args.v[i].size >= size,
        "gradient and moments must be as long as their parameter");
  }
}

struct AdamW {
  float factor, beta1, beta2, rest1, rest2, eps, inverse2, rate, decay;

  void update(vf& p, vf g, vf& m, vf& v) const {
    g *= factor;
    m = beta1 * m + rest1 * g;
    v = beta2 * v + rest2 * (g * g);
    const vf step = rate * m / (sqrt(v * inverse2) + eps);
    p -= fma(broadcast(decay), p, step);  // the compiler may or may not fuse what is written as one sum
  }
};

void adamW(const AdamWArgs& args, Pool& pool) {
  if (args.skip && *args.skip > 0) return;
  const double rate = args.learningRate;
  AdamW shared;
  shared.factor = args.factor ? *args.factor : 1.0f;
  shared.beta1 = static_cast<float>(args.beta1);
  shared.beta2 = static_cast<float>(args.beta2);
  shared.rest1 = static_cast<float>(1 - args.beta1);
  shared.rest2 = static_cast<float>(1 - args.beta2);
  shared.eps = static_cast<float>(args.eps);
  shared.rate = static_cast<float>(rate / args.correction1);
  shared.inverse2 = static_cast<float>(1 / args.correction2);
  const std::vector<Block> blocks = blocksOf(args.parameters.count, [&](int64_t i) { return args.parameters[i].size; });
  pool.parallel(static_cast<int64_t>(blocks.size()), [&](int64_t item, int) {
    const Block& block = blocks[item];
    float *parameter = args.parameters[block.tensor].data, *m = args.m[block.tensor].data, *v = args.v[block.tensor].data;
    const float* gradient = args.gradients[block.tensor].data;
    AdamW rule = shared;
    rule.decay = static_cast<float>(rate * args.weightDecays[block.tensor]);
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
    kernel<GlobalNormArgs, globalNorm>(),
    kernel<CountNonFiniteArgs, countNonFinite>(),
    kernel<ClipFactorArgs, clipFactor>(),
    kernel<UnlessCountedArgs, unlessCounted, checkUnlessCounted>(),
    kernel<AdamWArgs, adamW, checkAdamW>(),
    {nullptr, nullptr, nullptr},
};

}  // namespace lenggen::LENGGEN_ISA
