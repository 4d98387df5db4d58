// Embedding: src/ops/embedding.ts.
#include <cstring>

#include "check.h"
#include "families.h"
#include "gemm.h"
#include "split.h"
#include "sweep.h"

namespace lenggen::LENGGEN_ISA {
namespace {

// The gradient is split by rows of the matrix: item k has the rows v with v mod STRANDS == k, since common tokens
// lie side by side in most vocabularies.
constexpr int64_t STRANDS = 16;

int64_t clamped(int32_t token, int64_t vocabulary) {
  return std::min<int64_t>(std::max<int64_t>(token, 0), vocabulary - 1);
}

struct Sizes {
  int64_t count, width, vocabulary;
};

Sizes requireSizes(const Launch& launch) {
  requireCounts(launch, 3, 3);
  const Sizes sizes = {requireSize(launch, 0), requireSize(launch, 1), requireSize(launch, 2)};
  require(sizes.vocabulary >= 1 || sizes.count == 0, "the vocabulary is empty");
  return sizes;
}

void copyRow(const float* from, int64_t width, float* to) { std::memcpy(to, from, static_cast<size_t>(width) * sizeof *to); }
void copyRow(const uint16_t* from, int64_t width, float* to) { widen(from, width, to); }

// buffers: weight (of Weight: float, or uint16_t for half precision), tokens, out; numbers: count, width, vocabulary
template <typename Weight>
void checkEmbedding(const Launch& launch) {
  const Sizes n = requireSizes(launch);
  requireWeights<Weight>(launch, 0, product({n.vocabulary, n.width}));
  requireElements(launch, 1, n.count);
  requireElements(launch, 2, product({n.count, n.width}));
}

template <typename Weight>
void runEmbedding(const Launch& launch, Pool& pool) {
  const Weight* weight = static_cast<const Weight*>(launch.buffers[0].data);
  const int32_t* tokens = launch.buffers[1].i32();
  float* out = launch.buffers[2].f32();
  const int64_t count = launch.integer(0), width = launch.integer(1), vocabulary = launch.integer(2);
  inRanges(pool, count, width, [=](int64_t from, int64_t to) {
    for (int64_t i = from; i < to; i++) copyRow(weight + clamped(tokens[i], vocabulary) * width, width, out + i * width);
  });
}

// buffers: tokens, dy, dweight; numbers: count, width, vocabulary
void checkEmbeddingGradient(const Launch& launch) {
  const Sizes n = requireSizes(launch);
  requireElements(launch, 0, n.count);
  requireElements(launch, 1, product({n.count, n.width}));
  requireElements(launch, 2, product({n.vocabulary, n.width}));
}

void runEmbeddingGradient(const Launch& launch, Pool& pool) {
  const int32_t* tokens = launch.buffers[0].i32();
  const float* dy = launch.buffers[1].f32();
  float* dweight = launch.buffers[2].f32();
  const int64_t count = launch.integer(0), width = launch.integer(1), vocabulary = launch.integer(2);
  pool.parallel(STRANDS, [=](int64_t strand, int) {
    for (int64_t v = strand; v < vocabulary; v += STRANDS) std::fill(dweight + v * width, dweight + (v + 1) * width, 0.0f);
    for (int64_t i = 0; i < count; i++) {
      const int64_t v = clamped(tokens[i], vocabulary);
      if (v % STRANDS != strand) continue;
      const float* from = dy + i * width;
      float* to = dweight + v * width;
      sweep(width, [=](int64_t j, auto at) { at.put(to + j, at.get(to + j) + at.get(from + j)); });
    }
  });
}

}  // namespace

extern const Kernel embeddingKernels[] = {
    {"embedding", checkEmbedding<float>, runEmbedding<float>},
    {"embedding.f16", checkEmbedding<uint16_t>, runEmbedding<uint16_t>},
    {"embeddingGradient", checkEmbeddingGradient, runEmbeddingGradient},
    {nullptr, nullptr, nullptr},
};

}  // namespace lenggen::LENGGEN_ISA
