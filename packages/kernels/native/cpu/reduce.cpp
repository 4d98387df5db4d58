// Reductions: src/ops/reduce.ts. Long reductions are cut into blocks by the shapes alone, each block is reduced on its
// own, and the results of the blocks are joined in order, in float64.
#include <limits>

#include "families.h"
#include "signatures/reduce.h"
#include "split.h"
#include "sweep.h"

namespace lenggen::LENGGEN_ISA {
namespace {

// Elements that are added up in float32 before float64 takes over.
constexpr int64_t SHORT = 4096;
// Columns that one item reduces side by side.
constexpr int64_t COLUMNS = 4096;
// Rows that one item adds up at least.
constexpr int64_t LEAST_ROWS = 64;

struct Sum {
  static constexpr double EMPTY = 0.0;
  static vf join(vf a, vf b) { return a + b; }
  static double join(double a, double b) { return a + b; }
  static float across(vf v) { return sum(v); }
};

// NaN wins on either side.
struct Max {
  static constexpr double EMPTY = -std::numeric_limits<double>::infinity();
  static vf join(vf a, vf b) { return select((b > a) | (b != b), b, a); }
  static double join(double a, double b) { return b > a || b != b ? b : a; }
  static float across(vf v) { return largest(v); }
};

template <typename R>
float reduceShort(const float* x, int64_t n) {
  const vf empty = broadcast(static_cast<float>(R::EMPTY));
  vf a = empty, b = empty, c = empty, d = empty;
  int64_t i = 0;
  for (; i + 4 * WIDTH <= n; i += 4 * WIDTH) {
    a = R::join(a, load(x + i));
    b = R::join(b, load(x + i + WIDTH));
    c = R::join(c, load(x + i + 2 * WIDTH));
    d = R::join(d, load(x + i + 3 * WIDTH));
  }
  sweep(n - i, [&](int64_t j, auto at) { a = R::join(a, at.get(x + i + j, empty)); });
  return R::across(R::join(R::join(a, b), R::join(c, d)));
}

template <typename R>
double reduceRow(const float* x, int64_t n) {
  double total = R::EMPTY;
  for (int64_t i = 0; i < n; i += SHORT) total = R::join(total, static_cast<double>(reduceShort<R>(x + i, std::min(SHORT, n - i))));
  return total;
}

struct Sizes {
  int64_t outer, length, inner;
};

// Rows of neighbours: [outer, length] -> [outer].
template <typename R>
void reduceRows(const float* x, float* out, const Sizes& n, double scale, Pool& pool) {
  constexpr int64_t PIECE = 16 * SHORT;
  const int64_t pieces = std::max<int64_t>(1, (n.length + PIECE - 1) / PIECE);
  if (pieces == 1) {
    inRanges(pool, n.outer, n.length, [=](int64_t from, int64_t to) {
      for (int64_t i = from; i < to; i++) out[i] = static_cast<float>(reduceRow<R>(x + i * n.length, n.length) * scale);
    });
    return;
  }
  float* partials = pool.shared(static_cast<size_t>(n.outer * pieces));
  pool.parallel(n.outer * pieces, [=](int64_t item, int) {
    const int64_t start = item % pieces * PIECE;
    partials[item] = static_cast<float>(reduceRow<R>(x + item / pieces * n.length + start, std::min(PIECE, n.length - start)));
  });
  for (int64_t i = 0; i < n.outer; i++) {
    double total = R::EMPTY;
    for (int64_t piece = 0; piece < pieces; piece++) total = R::join(total, static_cast<double>(partials[i * pieces + piece]));
    out[i] = static_cast<float>(total * scale);
  }
}

// `count` rows of `width` columns, `step` apart, into one row; four rows at a time.
template <typename R>
void reduceColumns(const float* x, int64_t count, int64_t width, int64_t step, float* out) {
  std::fill(out, out + width, static_cast<float>(R::EMPTY));
  int64_t row = 0;
  for (; row + 4 <= count; row += 4) {
    const float* from = x + row * step;
    sweep(width, [=](int64_t i, auto at) {
      const vf pair = R::join(at.get(from + i), at.get(from + step + i));
      const vf next = R::join(at.get(from + 2 * step + i), at.get(from + 3 * step + i));
      at.put(out + i, R::join(at.get(out + i), R::join(pair, next)));
    });
  }
  for (; row < count; row++) {
    const float* from = x + row * step;
    sweep(width, [=](int64_t i, auto at) { at.put(out + i, R::join(at.get(out + i), at.get(from + i))); });
  }
}

// [outer, length, inner] -> [outer, inner].
template <typename R>
void reducePlanes(const float* x, float* out, const Sizes& n, double scale, Pool& pool) {
  const int64_t height = std::max(LEAST_ROWS, ITEM / n.inner);
  const int64_t blocks = std::max<int64_t>(1, (n.length + height - 1) / height), strips = (n.inner + COLUMNS - 1) / COLUMNS;
  // A single block leaves its results in place.
  float* partials = blocks == 1 ? out : pool.shared(static_cast<size_t>(n.outer * blocks * n.inner));
  pool.parallel(n.outer * blocks * strips, [=](int64_t item, int) {
    const int64_t left = item % strips * COLUMNS, block = item / strips % blocks, outer = item / strips / blocks;
    const int64_t top = block * height;
    reduceColumns<R>(x + (outer * n.length + top) * n.inner + left, std::min(height, n.length - top), std::min(COLUMNS, n.inner - left),
                     n.inner, partials + (outer * blocks + block) * n.inner + left);
  });
  if (blocks == 1 && scale == 1.0) return;
  inRanges(pool, n.outer * n.inner, blocks, [=](int64_t from, int64_t to) {
    for (int64_t i = from; i < to; i++) {
      const float* first = partials + i / n.inner * blocks * n.inner + i % n.inner;
      double total = R::EMPTY;
      for (int64_t block = 0; block < blocks; block++) total = R::join(total, static_cast<double>(first[block * n.inner]));
      out[i] = static_cast<float>(total * scale);
    }
  });
}

template <typename R, typename Args>
void runReduction(const Args& args, Pool& pool, double scale) {
  const Sizes n = {args.outer, args.length, args.inner};
  if (n.outer == 0 || n.inner == 0) return;
  if (n.inner == 1) reduceRows<R>(args.x, args.out, n, scale, pool);
  else reducePlanes<R>(args.x, args.out, n, scale, pool);
}

void runReduceSum(const ReduceSumArgs& args, Pool& pool) { runReduction<Sum>(args, pool, args.scale); }

void checkReduceMax(const ReduceMaxArgs& args) { require(args.length >= 1, "there is no largest of no elements"); }
void runReduceMax(const ReduceMaxArgs& args, Pool& pool) { runReduction<Max>(args, pool, 1.0); }

void runSoftmax(const SoftmaxArgs& args, Pool& pool) {
  const float* xs = args.x;
  float* ys = args.y;
  const int64_t width = args.width;
  const bool logarithm = args.logarithm;
  inRanges(pool, args.rows, width, [=](int64_t from, int64_t to) {
    for (int64_t row = from; row < to; row++) {
      const float* x = xs + row * width;
      float* y = ys + row * width;
      const float most = static_cast<float>(reduceRow<Max>(x, width));
      double total = 0;
      for (int64_t start = 0; start < width; start += SHORT) {
        total += sumOver(std::min(SHORT, width - start), [=](int64_t i, auto at) {
          const vf e = exp(at.get(x + start + i) - most);
          if (!logarithm) at.put(y + start + i, e);
          return at.keep(e);
        });
      }
      if (logarithm) {
        const float rest = static_cast<float>(std::log(total));
        sweep(width, [=](int64_t i, auto at) { at.put(y + i, at.get(x + i) - most - rest); });
      } else {
        const float share = static_cast<float>(1.0 / total);
        sweep(width, [=](int64_t i, auto at) { at.put(y + i, at.get(y + i) * share); });
      }
    }
  });
}

template <bool LOGARITHM>
void softmaxGradientAs(const SoftmaxGradientArgs& args, Pool& pool) {
  const float *ys = args.y, *dys = args.dy;
  float* dxs = args.dx;
  const int64_t width = args.width;
  inRanges(pool, args.rows, width, [=](int64_t from, int64_t to) {
    for (int64_t row = from; row < to; row++) {
      const float* y = ys + row * width;
      const float* dy = dys + row * width;
      float* dx = dxs + row * width;
      double exact = 0;
      for (int64_t start = 0; start < width; start += SHORT) {
        exact += sumOver(std::min(SHORT, width - start), [=](int64_t i, auto at) {
          const vf g = at.get(dy + start + i);
          return LOGARITHM ? g : g * at.get(y + start + i);
        });
      }
      const float total = static_cast<float>(exact);
      sweep(width, [=](int64_t i, auto at) {
        const vf g = at.get(dy + i), v = at.get(y + i);
        at.put(dx + i, LOGARITHM ? g - exp(v) * total : v * (g - total));
      });
    }
  });
}

void runSoftmaxGradient(const SoftmaxGradientArgs& args, Pool& pool) {
  if (args.logarithm) softmaxGradientAs<true>(args, pool);
  else softmaxGradientAs<false>(args, pool);
}

void checkArgmax(const ArgmaxArgs& args) { require(args.width >= 1 && args.width <= INT32_MAX, "the width must be in 1 ... 2147483647"); }

void runArgmax(const ArgmaxArgs& args, Pool& pool) {
  const float* xs = args.x;
  int32_t* out = args.out;
  const int64_t width = args.width;
  inRanges(pool, args.rows, width, [=](int64_t from, int64_t to) {
    for (int64_t row = from; row < to; row++) {
      const float* x = xs + row * width;
      const float most = static_cast<float>(reduceRow<Max>(x, width));
      int64_t i = 0;
      // The largest is there, as a number or as NaN, so the search ends.
      while (i < width - 1 && x[i] != most && !(x[i] != x[i])) i++;
      out[row] = static_cast<int32_t>(i);
    }
  });
}

}  // namespace

extern const Kernel reduceKernels[] = {
    kernel<ReduceSumArgs, runReduceSum>(),
    kernel<ReduceMaxArgs, runReduceMax, checkReduceMax>(),
    kernel<SoftmaxArgs, runSoftmax>(),
    kernel<SoftmaxGradientArgs, runSoftmaxGradient>(),
    kernel<ArgmaxArgs, runArgmax, checkArgmax>(),
    {nullptr, nullptr, nullptr},
};

}  // namespace lenggen::LENGGEN_ISA
