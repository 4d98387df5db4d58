// Rotation of pairs by given angles: src/ops/turn.ts says what it computes.
#include <algorithm>
#include <cmath>

#include "families.h"
#include "signatures/turn.h"
#include "split.h"
#include "sweep.h"

namespace lenggen::LENGGEN_ISA {
namespace {

// Angles whose cosines and sines are held at once.
constexpr int64_t BLOCK = 64;
// Angles from here on are taken apart in double precision: their quarter turns would be more than turnOf counts exactly.
constexpr float LARGEST = 65536.0f;

struct Turns {
  float cosines[BLOCK], sines[BLOCK];

  // Those of angles from `first` on; beyond the last, of the angle 0.
  void of(const float* angle, int64_t angles, int64_t first, int64_t count) {
    const int64_t given = std::max<int64_t>(0, std::min(count, angles - first));
    sweep(given, [&](int64_t i, auto at) {
      vf cosine, sine;
      turnOf(at.get(angle + first + i), cosine, sine);
      at.put(cosines + i, cosine);
      at.put(sines + i, sine);
    });
    for (int64_t i = 0; i < given; i++) {
      const float large = angle[first + i];
      if (std::fabs(large) < LARGEST) continue;
      cosines[i] = static_cast<float>(std::cos(static_cast<double>(large)));
      sines[i] = static_cast<float>(std::sin(static_cast<double>(large)));
    }
    for (int64_t i = given; i < count; i++) cosines[i] = 1.0f, sines[i] = 0.0f;
  }
};

template <typename Args>
void checkSizes(const Args& args) {
  require(args.size % 2 == 0 && 2 * args.angles <= args.size, "the size must be even, and hold two numbers for each angle");
  require(args.groups >= 1 && args.heads % args.groups == 0, "heads must divide into groups");
}

// body(row, head, first, count): blocks of pairs of each row's heads.
template <typename Args, typename Body>
void overPairs(const Args& args, Pool& pool, const Body& body) {
  const int64_t heads = args.heads, half = args.size / 2;
  inRanges(pool, args.rows, args.ranks * heads * args.size, [&](int64_t from, int64_t to) {
    Turns turns;
    for (int64_t row = from; row < to; row++)
      for (int64_t head = 0; head < heads; head++)
        for (int64_t first = 0; first < half; first += BLOCK) {
          const int64_t count = std::min(BLOCK, half - first);
          turns.of(args.angle + (row * heads + head) * args.angles, args.angles, first, count);
          body(row, head, first, count, turns);
        }
  });
}

// Numbers `STRIDE * i` and `STRIDE * i + other` are a pair. Nothing is written to what is read.
template <int STRIDE>
LENGGEN_INLINE void turnPairs(const float* __restrict x, const float* __restrict bias, float* __restrict y, int64_t other,
    const Turns& turns, int64_t count) {
  const float *__restrict cosines = turns.cosines, *__restrict sines = turns.sines;
  const auto turned = [&](int64_t i, float a, float b) {
    y[STRIDE * i] = a * cosines[i] - b * sines[i];
    y[STRIDE * i + other] = a * sines[i] + b * cosines[i];
  };
  if (bias)
    for (int64_t i = 0; i < count; i++)
      turned(i, x[STRIDE * i] + bias[STRIDE * i], x[STRIDE * i + other] + bias[STRIDE * i + other]);
  else
    for (int64_t i = 0; i < count; i++) turned(i, x[STRIDE * i], x[STRIDE * i + other]);
}

template <int STRIDE>
LENGGEN_INLINE void turnBack(const float* __restrict y, const float* __restrict dy, float* __restrict back, int64_t other,
    const Turns& turns, float* __restrict sums, int64_t count) {
  const float *__restrict cosines = turns.cosines, *__restrict sines = turns.sines;
  for (int64_t i = 0; i < count; i++) {
    const float da = dy[STRIDE * i], db = dy[STRIDE * i + other];
    back[STRIDE * i] = da * cosines[i] + db * sines[i];
    back[STRIDE * i + other] = db * cosines[i] - da * sines[i];
    sums[i] += db * y[STRIDE * i] - da * y[STRIDE * i + other];
  }
}

void runTurn(const TurnArgs& args, Pool& pool) {
  const int64_t ranks = args.ranks, groups = args.groups, heads = args.heads, size = args.size, half = size / 2;
  const bool halves = args.halves;
  overPairs(args, pool, [&](int64_t row, int64_t head, int64_t first, int64_t count, const Turns& turns) {
    for (int64_t r = 0; r < ranks; r++) {
      const int64_t offset = halves ? first : 2 * first;
      const float* x = args.x + ((row * ranks + r) * groups + head * groups / heads) * size + offset;
      const float* bias = args.bias ? args.bias + (r * heads + head) * size + offset : nullptr;
      float* y = args.y + ((row * ranks + r) * heads + head) * size + offset;
      const int64_t other = halves ? half : 1;
      if (halves) turnPairs<1>(x, bias, y, other, turns, count);
      else turnPairs<2>(x, bias, y, other, turns, count);
    }
  });
}

void runTurnGradient(const TurnGradientArgs& args, Pool& pool) {
  const int64_t ranks = args.ranks, heads = args.heads, size = args.size, half = size / 2, angles = args.angles;
  const bool halves = args.halves;
  overPairs(args, pool, [&](int64_t row, int64_t head, int64_t first, int64_t count, const Turns& turns) {
    float sums[BLOCK] = {};
    for (int64_t r = 0; r < ranks; r++) {
      const int64_t at = ((row * ranks + r) * heads + head) * size + (halves ? first : 2 * first);
      const float *y = args.y + at, *dy = args.dy + at;
      float* back = args.back + at;
      const int64_t other = halves ? half : 1;
      if (halves) turnBack<1>(y, dy, back, other, turns, sums, count);
      else turnBack<2>(y, dy, back, other, turns, sums, count);
    }
    const int64_t given = std::max<int64_t>(0, std::min(count, angles - first));
    std::copy(sums, sums + given, args.dangle + (row * heads + head) * angles + first);
  });
}

}  // namespace

extern const Kernel turnKernels[] = {
    kernel<TurnArgs, runTurn, checkSizes<TurnArgs>>(),
    kernel<TurnGradientArgs, runTurnGradient, checkSizes<TurnGradientArgs>>(),
    {nullptr, nullptr, nullptr},
};

}  // namespace lenggen::LENGGEN_ISA
