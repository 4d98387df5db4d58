// Embedding: src/ops/embedding.ts.
#include <cstring>

#include "families.h"
#include "gemm.h"
#include "signatures/embedding.h"
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

template <typename Args>
void checkVocabulary(const Args& args) {
  require(args.vocabulary >= 1 || args.count == 0, "the vocabulary is empty");
}

void copyRow(const float* from, int64_t width, float* to) { std::memcpy(to, from, static_cast<size_t>(width) * sizeof *to); }
void copyRow(const uint16_t* from, int64_t width, float* to) { widen(from, width, to); }

template <typename Weight>
void embedRows(const EmbeddingArgs& args, Pool& pool) {
  const Weight* weight = static_cast<const Weight*>(args.weight.data);
  const int32_t* tokens = args.tokens;
  float* out = args.out;
  const int64_t count = args.count, width = args.width, vocabulary = args.vocabulary;
  inRanges(pool, count, width, [=](int64_t from, int64_t to) {
    for (int64_t i = from; i < to; i++) copyRow(weight + clamped(tokens[i], vocabulary) * width, width, out + i * width);
  });
}

void runEmbedding(const EmbeddingArgs& args, Pool& pool) {
  if (args.weight.type == BufferType::f16) embedRows<uint16_t>(args, pool);
  else embedRows<float>(args, pool);
}

void runEmbeddingGradient(const EmbeddingGradientArgs& args, Pool& pool) {
  const int32_t* tokens = args.tokens;
  const float* dy = args.dy;
  float* dweight = args.dweight;
  const int64_t count = args.count, width = args.width, vocabulary = args.vocabulary;
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
    kernel<EmbeddingArgs, runEmbedding, checkVocabulary>(),
    kernel<EmbeddingGradientArgs, runEmbeddingGradient, checkVocabulary>(),
    {nullptr, nullptr, nullptr},
};

}  // namespace lenggen::LENGGEN_ISA
