// Rotary position embedding: src/ops/rope.ts says what it computes, and what the table holds.
#include <algorithm>

#include "families.h"
#include "signatures/rope.h"
#include "split.h"
#include "sweep.h"

namespace lenggen::LENGGEN_ISA {
namespace {

// Positions from one coarse row to the next.
constexpr int64_t FINE = 64;

int64_t fineRows(const RopeArgs& args) { return std::min(args.time, FINE); }

void checkRope(const RopeArgs& args) {
  require(args.headSize % 2 == 0, "heads must have an even size");
  const int64_t rows = fineRows(args) + (args.time + FINE - 1) / FINE;
  require(args.table.size >= product({rows, args.headSize}),
      "table must have a row for each of the first positions, and for each block of them");
}

void runRope(const RopeArgs& args, Pool& pool) {
  const float *x = args.x, *table = args.table.data;
  float* out = args.out;
  const int64_t time = args.time, headSize = args.headSize, fines = fineRows(args);
  const int64_t half = headSize / 2, width = args.heads * headSize;
  const float sign = args.back ? -1.0f : 1.0f;
  inRanges(pool, args.batch * time, width, [&](int64_t from, int64_t to) {
    for (int64_t row = from; row < to; row++) {
      const int64_t t = row % time;
      const float* fine = table + t % FINE * headSize;
      const float* coarse = table + (fines + t / FINE) * headSize;
      sweep(half, [&](int64_t i, auto at) {
        const vf c1 = at.get(fine + i), s1 = at.get(fine + half + i), c2 = at.get(coarse + i), s2 = at.get(coarse + half + i);
        const vf cosine = c1 * c2 - s1 * s2, sine = (s1 * c2 + c1 * s2) * sign;
        for (int64_t head = row * width; head < (row + 1) * width; head += headSize) {
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
    kernel<RopeArgs, runRope, checkRope>(),
    {nullptr, nullptr, nullptr},
};

}  // namespace lenggen::LENGGEN_ISA
