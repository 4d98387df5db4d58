// Rotary position embedding: src/ops/rope.ts says what it computes, and what the table holds.
#include <algorithm>

#include "check.h"
#include "families.h"
#include "split.h"
#include "sweep.h"

namespace lenggen::LENGGEN_ISA {
namespace {

// Positions from one coarse row to the next.
constexpr int64_t FINE = 64;

struct RopeSizes {
  int64_t batch, steps, heads, headSize;
  bool back;
  explicit RopeSizes(const Launch& launch)
      : batch(launch.integer(0)), steps(launch.integer(1)), heads(launch.integer(2)), headSize(launch.integer(3)), back(launch.integer(4) != 0) {}
  int64_t fineRows() const { return std::min(steps, FINE); }
  int64_t coarseRows() const { return (steps + FINE - 1) / FINE; }
};

// buffers: x, table, out; numbers: those of RopeSizes
void checkRope(const Launch& launch) {
  requireCounts(launch, 3, 5);
  for (int i = 0; i < 5; i++) requireSize(launch, i);
  const RopeSizes s(launch);
  require(s.headSize % 2 == 0, "heads must have an even size");
  const int64_t elements = product({s.batch, s.steps, s.heads, s.headSize});
  requireElements(launch, 0, elements);
  requireElements(launch, 1, product({s.fineRows() + s.coarseRows(), s.headSize}));
  requireElements(launch, 2, elements);
}

void runRope(const Launch& launch, Pool& pool) {
  const RopeSizes s(launch);
  const float *x = launch.buffers[0].f32(), *table = launch.buffers[1].f32();
  float* out = launch.buffers[2].f32();
  const int64_t half = s.headSize / 2, width = s.heads * s.headSize;
  const float sign = s.back ? -1.0f : 1.0f;
  inRanges(pool, s.batch * s.steps, width, [&](int64_t from, int64_t to) {
    for (int64_t row = from; row < to; row++) {
      const int64_t t = row % s.steps;
      const float* fine = table + t % FINE * s.headSize;
      const float* coarse = table + (s.fineRows() + t / FINE) * s.headSize;
      sweep(half, [&](int64_t i, auto at) {
        const vf c1 = at.get(fine + i), s1 = at.get(fine + half + i), c2 = at.get(coarse + i), s2 = at.get(coarse + half + i);
        const vf cosine = c1 * c2 - s1 * s2, sine = (s1 * c2 + c1 * s2) * sign;
        for (int64_t head = row * width; head < (row + 1) * width; head += s.headSize) {
          const vf a = at.get(x + head + i), b = at.get(x + head + half + i);
          at.put(out + head + i, a * cosine - b * sine);
          at.put(out + head + half + i, b * cosine + a * sine);
        }
      });
    }
  });
}

}  // namespace

extern const Kernel ropeKernels[] = {
    {"rope", checkRope, runRope},
    {nullptr, nullptr, nullptr},
};

}  // namespace lenggen::LENGGEN_ISA
