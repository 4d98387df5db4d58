// Retrieval of landmarks: src/ops/retrieve.ts has the mathematics.
//
// An item of work takes a block of queries and a stretch of landmarks. Scores come tile by tile as landmarks · queriesᵀ, so that
// landmarks are read in place, once, and a vector holds the scores of many queries with one landmark. A query keeps its
// candidates in a heap of numbers that is cut down to the k best whenever it is full; what does not beat the k-th best is not
// even looked at, which soon is nearly everything. In the end the stretches' candidates are joined.
//
// Ranks are totally ordered (the lower landmark wins a tie) and a score is summed along the width in order, whatever the tile:
// neither threads nor the way in which landmarks are cut, nor what else is asked for, change a bit.
#include <algorithm>

#include "ahead.h"
#include "families.h"
#include "gemm.h"
#include "signatures/retrieve.h"
#include "split.h"
#include "threefry.h"

namespace lenggen::LENGGEN_ISA {
namespace {

// Queries and landmarks of a tile: the scores fit the L1 cache, the queries the L2 cache.
constexpr int64_t QUERY_BLOCK = 64;
constexpr int64_t LANDMARK_TILE = 128;
// Where there are few queries, landmarks are cut into stretches until each thread has so many items, none shorter than this.
constexpr int64_t ITEMS_PER_THREAD = 4;
constexpr int64_t LEAST_STRETCH = 1024;

int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

struct Candidate {
  float rank, score;
  int32_t index;
};
constexpr size_t CANDIDATE_FLOATS = sizeof(Candidate) / sizeof(float);

// A type of its own, since calls of a function are not compiled away.
struct Before {
  bool operator()(const Candidate& a, const Candidate& b) const { return a.rank > b.rank || (a.rank == b.rank && a.index < b.index); }
};

// Bit i says whether lane i of a mask is set.
LENGGEN_INLINE uint32_t lanesOf(vi mask) {
#if defined(__AVX512F__)
  return _mm512_test_epi32_mask((__m512i)mask, (__m512i)mask);
#elif defined(__AVX2__)
  return static_cast<uint32_t>(_mm256_movemask_ps((__m256)mask));
#elif defined(__x86_64__)
  return static_cast<uint32_t>(_mm_movemask_ps((__m128)mask));
#else
  uint32_t bits = 0;
  for (int i = 0; i < WIDTH; i++) bits |= static_cast<uint32_t>(mask[i] & 1) << i;
  return bits;
#endif
}

struct Sizes {
  int64_t batch, queries, landmarks, width, k;
  template <typename Args>
  explicit Sizes(const Args& args)
      : batch(args.batch), queries(args.queryCount), landmarks(args.landmarkCount), width(args.width), k(args.k) {}
  int64_t rows() const { return batch * queries; }
};

template <typename Args>
void checkSizes(const Args& args) {
  require(args.width >= 1 && args.k >= 1, "width and k must be at least 1");
  require(args.landmarkCount <= INT32_MAX && product({args.queryCount, args.k}) <= INT32_MAX, "there are too many landmarks or queries");
}

// The best candidates of one query so far, in room for `capacity`.
struct Best {
  Candidate* list;
  int64_t count;

  static int64_t capacity(int64_t k) { return k + std::max<int64_t>(k, 32); }
  // Keeps the k best, and returns what a further one must exceed. Later landmarks lose ties, so that equality is not enough.
  float cut(int64_t k) {
    if (count < k) return -std::numeric_limits<float>::infinity();
    std::nth_element(list, list + (k - 1), list + count, Before());
    count = k;
    return list[k - 1].rank;
  }
};

// Gumbel noise of one landmark after the other for a vector of queries, whose words start at `base`.
class Noise {
 public:
  Noise(Key key, const int64_t (&base)[WIDTH], bool paired) : key_(key), paired_(paired) {
    uint32_t low[WIDTH], high[WIDTH], odd[WIDTH];
    for (int i = 0; i < WIDTH; i++) {
      low[i] = static_cast<uint32_t>(base[i] >> 1);
      high[i] = static_cast<uint32_t>(base[i] >> 33);
      odd[i] = static_cast<uint32_t>(base[i] & 1);
    }
    std::memcpy(&low_, low, sizeof low_);
    std::memcpy(&high_, high, sizeof high_);
    std::memcpy(&odd_, odd, sizeof odd_);
  }

  __attribute__((always_inline)) vf of(int64_t landmark) {
    const vu place = odd_ + static_cast<uint32_t>(landmark);
    // Where all bases are even, a block of two words serves two landmarks.
    if (!(paired_ && (landmark & 1) && landmark == last_ + 1)) {
      x0_ = low_ + (place >> 1);
      x1_ = high_ - (vu)(x0_ < low_);  // a carry; masks are -1
      threefry(key_, x0_, x1_);
    }
    last_ = landmark;
    const vi word = select((vi)((place & 1) != 0), (vi)x1_, (vi)x0_);
    return -log(-log(toFloat(((word >> 8) & 0xfffffe) | 1) * 0x1p-24f));
  }

 private:
  Key key_;
  bool paired_;
  int64_t last_ = -2;
  vu low_, high_, odd_, x0_{}, x1_{};
};

// What a block of queries needs while landmarks pass.
struct Block {
  int64_t count, padded;    // queries, and the same in whole vectors
  float* queries;           // [width, padded]
  float* scores;            // [LANDMARK_TILE, padded], times √width
  float* thresholds;        // [padded]
  int32_t* limits;          // [padded]: how many landmarks a query sees
  Candidate* candidates;    // [count, capacity]
  Best best[QUERY_BLOCK];

  static size_t floats(const Sizes& sizes) {
    return static_cast<size_t>(QUERY_BLOCK * (sizes.width + LANDMARK_TILE + 2)) +
           static_cast<size_t>(QUERY_BLOCK * Best::capacity(sizes.k)) * CANDIDATE_FLOATS;
  }
};

// Looks through a tile's scores for those that count.
template <bool NOISY>
void scan(Block& block, const Sizes& sizes, int64_t row, int64_t from, int64_t count, Key key) {
  const int64_t capacity = Best::capacity(sizes.k);
  const float scale = 1 / std::sqrt(static_cast<float>(sizes.width));
  for (int64_t v = 0; v < block.padded; v += WIDTH) {
    int64_t base[WIDTH];
    for (int i = 0; i < WIDTH; i++) base[i] = (row + v + i) * sizes.landmarks;
    Noise noise(key, base, sizes.landmarks % 2 == 0);
    vf threshold = load(block.thresholds + v);
    const vi limit = load(block.limits + v);
    for (int64_t j = 0; j < count; j++) {
      const vf score = scale * load(block.scores + j * block.padded + v);
      vf rank = score;
      if constexpr (NOISY) rank += noise.of(from + j);
      const vi passing = (rank > threshold) & (limit > static_cast<int32_t>(from + j)) & (
          abs(score) < std::numeric_limits<float>::infinity());
      for (uint32_t bits = lanesOf(passing); bits != 0; bits &= bits - 1) {
        const int lane = __builtin_ctz(bits);
        Best& best = block.best[v + lane];
        best.list[best.count++] = {rank[lane], score[lane], static_cast<int32_t>(from + j)};
        if (best.count == capacity) threshold[lane] = best.cut(sizes.k);
      }
    }
    store(block.thresholds + v, threshold);
  }
}

struct Cut {
  int64_t blocks, stretches, stretch;
  Cut(const Sizes& sizes, int64_t visible, int64_t threads) : blocks(ceilDiv(sizes.queries, QUERY_BLOCK)) {
    const int64_t items = std::max<int64_t>(1, sizes.batch * blocks);
    const int64_t wanted = threads == 1
        ? 1 : std::max<int64_t>(1, std::min(ceilDiv(ITEMS_PER_THREAD * threads, items), visible / LEAST_STRETCH));
    stretch = std::max<int64_t>(1, ceilDiv(ceilDiv(visible, wanted), LANDMARK_TILE) * LANDMARK_TILE);
    stretches = std::max<int64_t>(1, ceilDiv(visible, stretch));
  }
};

// The candidates of all stretches of a query, and what it makes of them.
void finish(Candidate* list, int64_t count, int64_t k, int32_t* indices, float* weights) {
  const int64_t kept = std::min(count, k);
  std::partial_sort(list, list + kept, list + count, Before());
  float largest = -std::numeric_limits<float>::infinity(), total = 0;
  for (int64_t i = 0; i < kept; i++) {
    indices[i] = list[i].index;
    weights[i] = list[i].score;
    largest = std::max(largest, list[i].score);
  }
  for (int64_t i = 0; i < kept; i += WIDTH) {
    const int64_t lanes = std::min<int64_t>(WIDTH, kept - i);
    storeFirst(weights + i, exp(loadFirst(weights + i, lanes) - largest), lanes);
  }
  for (int64_t i = 0; i < kept; i++) total += weights[i];
  for (int64_t i = 0; i < kept; i++) weights[i] /= total;
  std::fill(indices + kept, indices + k, -1);
  std::fill(weights + kept, weights + k, 0.0f);
}

void checkForward(const RetrieveArgs& args) {
  checkSizes(args);
  require(args.noise.count == 0 || args.noise.count == 2, "a key has two words");
  product({args.batch, args.queryCount, args.landmarkCount});
}

void forward(const RetrieveArgs& args, Pool& pool) {
  const Sizes sizes(args);
  const int64_t first = args.first, k = sizes.k, width = sizes.width;
  const bool noisy = args.noise.count > 0;
  const Key key = noisy ? Key{args.noise.word(0), args.noise.word(1)} : Key{0, 0};
  const float *queries = args.queries, *landmarks = args.landmarks;
  const auto visible = [&](int64_t query) { return std::min(sizes.landmarks, first + query); };
  const Cut cut(sizes, sizes.queries == 0 ? 0 : visible(sizes.queries - 1), pool.threads());
  // Per query and stretch up to k candidates, and how many there are.
  const int64_t lists = sizes.rows() * cut.stretches;
  Candidate* const found = reinterpret_cast<Candidate*>(pool.shared(static_cast<size_t>(lists * k) * CANDIDATE_FLOATS
      + static_cast<size_t>(lists)));
  int32_t* const counts = reinterpret_cast<int32_t*>(found + lists * k);
  pool.parallel(sizes.batch * cut.blocks * cut.stretches, [&](int64_t item, int worker) {
    // Later queries see more: they come first.
    const int64_t query = (cut.blocks - 1 - item / cut.stretches % cut.blocks) * QUERY_BLOCK;
    const int64_t batch = item / cut.stretches / cut.blocks, stretch = item % cut.stretches, row = batch * sizes.queries + query;
    Block block;
    block.count = std::min(QUERY_BLOCK, sizes.queries - query);
    block.padded = ceilDiv(block.count, WIDTH) * WIDTH;
    block.queries = pool.scratch(worker, Block::floats(sizes));
    block.scores = block.queries + QUERY_BLOCK * width;
    block.thresholds = block.scores + QUERY_BLOCK * LANDMARK_TILE;
    block.limits = reinterpret_cast<int32_t*>(block.thresholds + QUERY_BLOCK);
    block.candidates = reinterpret_cast<Candidate*>(block.limits + QUERY_BLOCK);
    if (block.count < block.padded) std::fill(block.queries, block.queries + width * block.padded, 0.0f);
    transpose(block.count, width, queries + row * width, width, block.queries, block.padded);
    for (int64_t i = 0; i < block.padded; i++) {
      block.thresholds[i] = -std::numeric_limits<float>::infinity();
      block.limits[i] = i < block.count ? static_cast<int32_t>(visible(query + i)) : 0;
      block.best[i] = {block.candidates + i * Best::capacity(k), 0};
    }
    const int64_t end = std::min((stretch + 1) * cut.stretch, visible(query + block.count - 1));
    for (int64_t j = stretch * cut.stretch; j < end; j += LANDMARK_TILE) {
      const int64_t count = std::min(LANDMARK_TILE, end - j), next = std::min(LANDMARK_TILE, end - j - count);
      const float* own = landmarks + (batch * sizes.landmarks + j) * width;
      Ahead ahead;
      ahead.add(own + count * width, next * width);
      ahead.spread(ceilDiv(count, TILE_ROWS) * ceilDiv(block.padded, TILE_COLUMNS) * width);
      gemmSmall(count, block.padded, width, {own, width, 1}, block.queries, block.padded, block.scores, block.padded, false,
          Skip::None, &ahead);
      (noisy ? scan<true> : scan<false>)(block, sizes, row, j, count, key);
    }
    for (int64_t i = 0; i < block.count; i++) {
      block.best[i].cut(k);
      const int64_t list = (row + i) * cut.stretches + stretch;
      counts[list] = static_cast<int32_t>(block.best[i].count);
      std::copy(block.best[i].list, block.best[i].list + block.best[i].count, found + list * k);
    }
  });
  int32_t* const indices = args.indices;
  float* const weights = args.weights;
  inRanges(pool, sizes.rows(), cut.stretches * k * 8, [&](int64_t from, int64_t to) {
    for (int64_t row = from; row < to; row++) {
      Candidate* const list = found + row * cut.stretches * k;
      int64_t count = 0;
      for (int64_t s = 0; s < cut.stretches; s++) {
        const int64_t more = counts[row * cut.stretches + s];
        std::copy(list + s * k, list + s * k + more, list + count);
        count += more;
      }
      finish(list, count, k, indices + row * k, weights + row * k);
    }
  });
}

// out = Σ_i factor(i) · row(i), for i < count in order; factors of nullptr rows are not looked at.
template <typename Row, typename Factor>
void weightedSum(float* out, int64_t width, int64_t count, const Row& row, const Factor& factor) {
  for (int64_t d = 0; d < width; d += WIDTH) {
    const int64_t lanes = std::min<int64_t>(WIDTH, width - d);
    vf sum = zero();
    for (int64_t i = 0; i < count; i++)
      if (const float* from = row(i)) sum += factor(i) * loadFirst(from + d, lanes);
    storeFirst(out + d, sum, lanes);
  }
}

void gradient(const RetrieveGradientArgs& args, Pool& pool) {
  const Sizes sizes(args);
  const int64_t k = sizes.k, width = sizes.width, entries = sizes.queries * k;
  const float *queries = args.queries, *landmarks = args.landmarks;
  const int32_t* indices = args.indices;
  const float *weights = args.weights, *dweights = args.dweights;
  float *dqueries = args.dqueries, *dlandmarks = args.dlandmarks;
  const float scale = 1 / std::sqrt(static_cast<float>(width));
  const auto present = [&](int32_t index) { return index >= 0 && index < sizes.landmarks; };
  // The scores' gradient; then per sequence where each landmark's list starts, and the lists of who kept it.
  const int64_t starts = sizes.landmarks + 1;
  float* const ds = pool.shared(static_cast<size_t>(sizes.batch * (2 * entries + starts)));
  int32_t* const listStarts = reinterpret_cast<int32_t*>(ds + sizes.batch * entries);
  int32_t* const lists = listStarts + sizes.batch * starts;
  inRanges(pool, sizes.rows(), k * (width + 4), [&](int64_t from, int64_t to) {
    for (int64_t row = from; row < to; row++) {
      const int32_t* index = indices + row * k;
      const float *w = weights + row * k, *dw = dweights + row * k;
      float* const own = ds + row * k;
      float inner = 0;
      for (int64_t i = 0; i < k; i++)
        if (present(index[i])) inner += w[i] * dw[i];
      for (int64_t i = 0; i < k; i++) own[i] = present(index[i]) ? scale * w[i] * (dw[i] - inner) : 0.0f;
      if (!dqueries) continue;
      const float* from_ = landmarks + row / sizes.queries * sizes.landmarks * width;
      weightedSum(dqueries + row * width, width, k, [&](int64_t i) { return present(index[i]) ? from_ + index[i] * width : nullptr; },
                  [&](int64_t i) { return own[i]; });
    }
  });
  if (!dlandmarks) return;
  pool.parallel(sizes.batch, [&](int64_t b, int) {
    const int32_t* index = indices + b * entries;
    int32_t *start = listStarts + b * starts, *list = lists + b * entries;
    std::fill(start, start + starts, 0);
    for (int64_t e = 0; e < entries; e++)
      if (present(index[e])) start[index[e] + 1]++;
    for (int64_t j = 0; j < sizes.landmarks; j++) start[j + 1] += start[j];
    for (int64_t e = 0; e < entries; e++)
      if (present(index[e])) list[start[index[e]]++] = static_cast<int32_t>(e);
    // Each start is now where its list ends, which is where the next one starts.
  });
  inRanges(pool, sizes.batch * sizes.landmarks, width, [&](int64_t from, int64_t to) {
    for (int64_t row = from; row < to; row++) {
      const int64_t b = row / sizes.landmarks, j = row % sizes.landmarks;
      const int32_t* end = listStarts + b * starts + j;
      const int32_t begin = j == 0 ? 0 : end[-1];
      const int32_t* list = lists + b * entries + begin;
      weightedSum(dlandmarks + row * width, width, *end - begin,
          [&](int64_t i) { return queries + (b * sizes.queries + list[i] / k) * width; },
                  [&](int64_t i) { return ds[b * entries + list[i]]; });
    }
  });
}

}  // namespace

extern const Kernel retrieveKernels[] = {
    kernel<RetrieveArgs, forward, checkForward>(),
    kernel<RetrieveGradientArgs, gradient, checkSizes>(),
    {nullptr, nullptr, nullptr},
};

}  // namespace lenggen::LENGGEN_ISA
