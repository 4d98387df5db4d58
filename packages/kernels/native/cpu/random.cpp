// Uniform and normal numbers by Threefry-2x32-20: src/random.ts and src/ops/random.ts say how, number by number.
//
// The same bits as the reference, which rounds to float32 after each operation: so no product may fuse with a sum here.
// (GCC takes the pragma for what follows it in the file, hence it stands before the includes.)
#if defined(__clang__)
#pragma clang fp contract(off)
#else
#pragma GCC optimize("fp-contract=off")
#endif
#include <algorithm>

#include "families.h"
#include "signatures/random.h"
#include "subnormals.h"
#include "threefry.h"

namespace lenggen::LENGGEN_ISA {
namespace {

constexpr int64_t BLOCK = 8192;  // elements per item; even, and a divisor of 2^33: an item's counters share their high word

// The 2·WIDTH words from element `start` (even) on, in order.
LENGGEN_INLINE void words(Key key, int64_t start, int32_t* out) {
  const uint64_t counter = static_cast<uint64_t>(start) / 2;
  vu x0 = (vu)lanes() + static_cast<uint32_t>(counter);
  vu x1 = vu{} + static_cast<uint32_t>(counter >> 32);
  threefry(key, x0, x1);
  for (int i = 0; i < WIDTH; i++) {
    out[2 * i] = static_cast<int32_t>(x0[i]);
    out[2 * i + 1] = static_cast<int32_t>(x1[i]);
  }
}

LENGGEN_INLINE vf unitUniform(vi word) { return toFloat((word >> 8) & 0xffffff) * 0x1p-24f; }

// -ln(n · 2^-25) for whole n in 1 ... 2^24 - 1
LENGGEN_INLINE vf minusLog(vf n) {
  const vi bits = bitsOf(n);
  const vf m = floatOf((bits & 0x7fffff) | 0x3f800000);
  const vi big = m > 1.41421356f;  // a mask: -1 where true
  const vf e = toFloat((bits >> 23) - 127 - big);
  const vf halved = select(big, m * 0.5f, m);
  const vf s = (halved - 1.0f) / (halved + 1.0f);
  const vf t = s * s;
  const vf series = (((t * (2.0f / 9) + 2.0f / 7) * t + 2.0f / 5) * t + 2.0f / 3) * t + 2.0f;
  return (25.0f - e) * 0.693147181f - s * series;
}

LENGGEN_INLINE vf standardNormal(vi word) {
  const vf n = toFloat(((word >> 7) & 0xfffffe) | 1);
  const vf q = (16777216.0f - n) * 0x1p-25f;
  const vf r = 0.180625f - q * q;
  const vf center = q * (((r * 59.10937472f + 159.29113202f) * r + 50.434271938f) * r + 3.3871327179f) /
                    (((r * 67.1875636f + 78.757757664f) * r + 17.895169469f) * r + 1.0f);
  const vf u = sqrt(minusLog(n)) - 1.6f;
  const vf tail = (((u * 0.17023821103f + 1.3067284816f) * u + 2.75681539f) * u + 1.4234372777f) /
                  ((u * 0.12021132975f + 0.7370016425f) * u + 1.0f);
  const vf z = select(q <= 0.425f, center, tail);
  return select(word < 0, z, -z);
}

// out[i] = shift + scale · value(word i)
template <typename Value>
void generate(Span<float> target, const Numbers& keyWords, double shiftBy, double scaleBy, Pool& pool, const Value& value) {
  const ExactSubnormals here;  // and of each worker below
  const float shift = static_cast<float>(shiftBy), scale = static_cast<float>(scaleBy);
  float* out = target.data;
  const int64_t size = target.size;
  const Key key = {keyWords.word(0), keyWords.word(1)};
  pool.parallel((size + BLOCK - 1) / BLOCK, [&](int64_t item, int) {
    const ExactSubnormals exact;
    const int64_t end = std::min(size, (item + 1) * BLOCK);
    int32_t word[2 * WIDTH];
    for (int64_t i = item * BLOCK; i < end; i += 2 * WIDTH) {
      words(key, i, word);
      for (int half = 0; half < 2; half++) {
        const int64_t at = i + half * WIDTH;
        const vf v = shift + scale * value(load(word + half * WIDTH));
        if (at < end) storeFirst(out + at, v, std::min<int64_t>(end - at, WIDTH));
      }
    }
  });
}

template <typename Args>
void checkKey(const Args& args) {
  require(args.key.count == 2, "a key has two words");
}

void uniform(const RandomUniformArgs& args, Pool& pool) {
  generate(args.out, args.key, args.low, args.range, pool, [](vi word) { return unitUniform(word); });
}

void normal(const RandomNormalArgs& args, Pool& pool) {
  generate(args.out, args.key, args.mean, args.std, pool, [](vi word) { return standardNormal(word); });
}

}  // namespace

extern const Kernel randomKernels[] = {
    kernel<RandomUniformArgs, uniform, checkKey>(),
    kernel<RandomNormalArgs, normal, checkKey>(),
    {nullptr, nullptr, nullptr},
};

}  // namespace lenggen::LENGGEN_ISA
