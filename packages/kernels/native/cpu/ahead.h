// Memory that a thread will read or write soon: rows that lie far apart, so that the processor does not foresee them. Products ask for
// them one by one while they work (gemmTile.h), which costs nothing; all at once they would keep other reads waiting.
#pragma once
#include <algorithm>
#include <cstdint>

namespace lenggen {
namespace LENGGEN_ISA {

// What one tile of a product asks for: a row of `floats` every `steps` steps, `stride` apart. A tile that has nothing else to prefetch
// names its own operand, so that the part is never empty.
struct AheadPart {
  const float* data;
  int64_t floats, stride, steps;
};

class Ahead {
 public:
  // `count` rows of `floats`, `stride` apart; first come, first asked for. What finds no room is not asked for.
  void add(const float* data, int64_t floats, int64_t stride, int64_t count) {
    if (floats == stride) return add(data, floats * count);
    for (int64_t i = 0; i < floats; i += ROW) put(data + i, std::min(floats - i, ROW), stride, count);
  }
  // As many as `floats` in one piece.
  void add(const float* data, int64_t floats) { put(data, ROW, ROW, (floats + ROW - 1) / ROW); }

  // Products of `steps` steps (of one tile) follow. All is asked for within the first half of them, so that it is there in time.
  void spread(int64_t steps) { every_ = std::clamp<int64_t>(steps / (2 * std::max<int64_t>(1, waiting_)), 1, SLOWEST); }

  // For a tile of k steps whose operand is at `own`.
  AheadPart next(int64_t k, const float* own) {
    if (empty()) return {own, 1, 0, k};
    Rows& rows = rows_[first_];
    const AheadPart part{rows.data, rows.floats, rows.stride, every_};
    const int64_t asked = (k + every_ - 1) / every_;
    waiting_ -= std::min(asked, rows.count);
    rows.data += asked * rows.stride;
    rows.count -= asked;
    if (rows.count <= 0) first_++;
    return part;
  }
  bool empty() const { return first_ == end_; }

  // One piece is asked for in rows so long.
  static constexpr int64_t ROW = 64;

 private:
  static constexpr int MOST = 32;
  static constexpr int64_t SLOWEST = 8;
  struct Rows {
    const float* data;
    int64_t floats, stride, count;
  };
  void put(const float* data, int64_t floats, int64_t stride, int64_t count) {
    if (count <= 0 || end_ == MOST) return;
    rows_[end_++] = {data, floats, stride, count};
    waiting_ += count;
  }

  Rows rows_[MOST];
  int first_ = 0, end_ = 0;
  int64_t waiting_ = 0, every_ = SLOWEST;
};

// What a tile of k steps prefetches by default.
static inline AheadPart nextOf(Ahead* ahead, int64_t k, const float* own) { return ahead ? ahead->next(k, own) : AheadPart{own, 1, 0, k}; }

}  // namespace LENGGEN_ISA
}  // namespace lenggen
