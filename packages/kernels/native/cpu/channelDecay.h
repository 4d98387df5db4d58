// Decays by channel inside of a chunk of steps: what scans share whose state forgets each row of [K,V] at a rate of its own
// (gatedLinearAttention.cpp, deltaRule.cpp).
//
// With D(t,u) = exp(a_{u+1} + ... + a_t), a vector over the K channels, such a scan needs the scores of rows x that read and rows z that
// were written: A[t,u] = Σ_i x_t[i] D(t,u)[i] z_u[i] for u <= t ("inclusive": the state is read behind step t), or D(t-1,u) for u < t
// ("before": it is read before step t). A decay between two steps can't be taken apart into a factor of each, since the one of u would
// be exp(+...), which overflows. So a chunk is cut into sub-chunks of SUB steps (Yang et al. 2024, section 4.3):
//  * between two of them the decay is taken apart at the border of the later one, D(t,u) = D(t,border) D(border,u), both at most 1.
//    Rows z are carried from border to border, multiplied by what a sub-chunk forgets; with them the scores are a matrix product;
//  * inside of one, z_u is taken from step to step and meets each x_t on its way.
// No exponent is above 0, none is the difference of two, and no quotient is taken: what underflows is 0 anyway, and weak steps after a
// strong one are as precise as without it. Sums over more than a sub-chunk are taken of logarithms, so that thousands of chunks of weak
// decay do not add up the rounding of exp(a).
//
// All matrices are scratch memory, rows of one step padded to whole vectors of any instruction set and zero there.
#pragma once
#include <algorithm>

#include "ahead.h"
#include "arena.h"
#include "gemm.h"

namespace lenggen {
namespace LENGGEN_ISA {
namespace {

// Steps of a sub-chunk.
constexpr int64_t SUB = 16;

enum class Reads { inclusive, before };

// The decays of one head in one chunk of up to `chunk` steps.
struct ChannelDecays {
  const int64_t channels, row;  // K, and floats between steps
  int64_t length = 0;
  float* step;   // [chunk,row]: exp(a_t)
  float* start;  // [subs,row]: D(border, 0), the border before each sub-chunk
  float* block;  // [subs,row]: what each sub-chunk forgets
  float* total;  // [row]: what the chunk does

  static int64_t subsOf(int64_t chunk) { return (chunk + SUB - 1) / SUB; }
  static int64_t floats(int64_t channels, int64_t chunk) { return (chunk + 2 * subsOf(chunk) + 1) * padded(channels); }
  ChannelDecays(Arena& arena, int64_t channels, int64_t chunk)
      : channels(channels), row(padded(channels)), step(arena.take(chunk * row)), start(arena.take(subsOf(chunk) * row)),
        block(arena.take(subsOf(chunk) * row)), total(arena.take(row)) {}

  int64_t subs() const { return subsOf(length); }
  int64_t first(int64_t sub) const { return sub * SUB; }
  int64_t count(int64_t sub) const { return std::min(SUB, length - sub * SUB); }

  // a: log decays, steps `stride` apart. Channels beyond the last forget nothing.
  void set(const float* a, int64_t stride, int64_t steps) {
    length = steps;
    for (int64_t i = 0; i < row; i += WIDTH) {
      const int64_t n = std::clamp<int64_t>(channels - i, 0, WIDTH);
      vf before = zero();
      for (int64_t sub = 0; sub < subs(); sub++) {
        vf sum = zero();
        for (int64_t t = first(sub); t < first(sub) + count(sub); t++) {
          const vf log = n == WIDTH ? load(a + t * stride + i) : loadFirst(a + t * stride + i, n);
          sum += log;
          store(step + t * row + i, exp(log));
        }
        store(start + sub * row + i, exp(before));
        store(block + sub * row + i, exp(sum));
        before += sum;
      }
      store(total + i, exp(before));
    }
  }
};

// to = factor · from, steps `stride` apart there, with zeros behind the last channel.
inline void copyRows(const float* from, int64_t stride, int64_t steps, int64_t channels, float factor, float* to) {
  const int64_t row = padded(channels);
  for (int64_t t = 0; t < steps; t++, from += stride, to += row) {
    int64_t i = 0;
    for (; i + WIDTH <= channels; i += WIDTH) store(to + i, load(from + i) * factor);
    if (i < row) store(to + i, loadFirst(from + i, channels - i) * factor);
    for (i += WIDTH; i < row; i += WIDTH) store(to + i, zero());
  }
}

// to_t = x_t∘D(t, border before t's sub-chunk), or D(t-1, ...) where the state is read before the step; `to` may be x.
inline void fromBorder(const ChannelDecays& d, const float* x, Reads reads, float* to) {
  for (int64_t i = 0; i < d.row; i += WIDTH) {
    for (int64_t sub = 0; sub < d.subs(); sub++) {
      vf decay = broadcast(1.0f);
      for (int64_t at = d.first(sub) * d.row + i, n = d.count(sub); n > 0; n--, at += d.row) {
        const vf after = decay * load(d.step + at);
        if (reads == Reads::inclusive) decay = after;
        store(to + at, load(x + at) * decay);
        decay = after;
      }
    }
  }
}

// to_u = z_u∘D(border behind u's sub-chunk, u); `to` may be z.
inline void toBorder(const ChannelDecays& d, const float* z, float* to) {
  for (int64_t i = 0; i < d.row; i += WIDTH) {
    for (int64_t sub = 0; sub < d.subs(); sub++) {
      vf decay = broadcast(1.0f);
      int64_t at = (d.first(sub) + d.count(sub) - 1) * d.row + i;
      for (int64_t n = d.count(sub); n > 0; n--, at -= d.row) {
        store(to + at, load(z + at) * decay);
        decay *= load(d.step + at);
      }
    }
  }
}

// x_t∘D(t, border) becomes x_t∘D(t, the chunk's start).
inline void fromStart(const ChannelDecays& d, float* x) {
  for (int64_t t = 0; t < d.length; t++)
    for (int64_t i = 0; i < d.row; i += WIDTH) store(x + t * d.row + i, load(x + t * d.row + i) * load(d.start + t / SUB * d.row + i));
}

// Takes rows z of all steps before a sub-chunk, which are decayed to its start, to its end.
inline void carryOver(const ChannelDecays& d, int64_t sub, float* z) {
  const float* block = d.block + sub * d.row;
  for (int64_t u = 0; u < d.first(sub); u++)
    for (int64_t i = 0; i < d.row; i += WIDTH) store(z + u * d.row + i, load(z + u * d.row + i) * load(block + i));
}

// scoresT[u,t] for t in the sub-chunk and u before it, from x as `fromBorder` leaves it and z decayed to the sub-chunk's start; and zeros
// for t before the sub-chunk and u inside. Rows of scoresT are padded(chunk) long. turned: scratch, SUB · row floats.
inline void scoresBefore(const ChannelDecays& d, int64_t sub, const float* x, const float* z, float* turned, float* scoresT,
                         int64_t scoresRow, Ahead* ahead = nullptr) {
  const int64_t first = d.first(sub), count = d.count(sub);
  for (int64_t u = first; u < first + count; u++) std::fill_n(scoresT + u * scoresRow, first, 0.0f);
  if (first == 0) return;
  transpose(count, d.channels, x + first * d.row, d.row, turned, SUB);
  gemmSmall(first, count, d.channels, {z, d.row, 1}, turned, SUB, scoresT + first, scoresRow, false, Skip::None, ahead);
}

// One step of sumsOf: the sums of D lanes of D rows each, and of the D rows behind them, in one vector a pair.
template <int D, int... I>
LENGGEN_INLINE void mergeHalves(vf (&rows)[WIDTH], std::integer_sequence<int, I...>) {
#pragma GCC unroll 8
  for (int i = 0; i < D; i++) {
    const vf a = rows[i], b = rows[i + D];
#if defined(__clang__)
    rows[i] = __builtin_shufflevector(a, b, (I & D ? WIDTH + I - D : I)...) + __builtin_shufflevector(a, b, (I & D ? WIDTH + I : I + D)...);
#else
    rows[i] = __builtin_shuffle(a, b, vi{(I & D ? WIDTH + I - D : I)...}) + __builtin_shuffle(a, b, vi{(I & D ? WIDTH + I : I + D)...});
#endif
  }
}

// Lane i is the sum over the lanes of rows[i].
LENGGEN_INLINE vf sumsOf(vf (&rows)[WIDTH]) {
  constexpr std::make_integer_sequence<int, WIDTH> all{};
  if constexpr (WIDTH >= 16) mergeHalves<8>(rows, all);
  if constexpr (WIDTH >= 8) mergeHalves<4>(rows, all);
  mergeHalves<2>(rows, all);
  mergeHalves<1>(rows, all);
  return rows[0];
}

// Σ over the channels of V vectors, for u < t inside of a sub-chunk: sums[u][t] (+)= x_t D z_u.
template <int V>
LENGGEN_INLINE void stepThrough(const float* step, int64_t row, int64_t count, const float* x, const float* z, Reads reads, bool more,
                                vf (&sums)[SUB][SUB]) {
  for (int64_t u = 0; u + 1 < count; u++) {
    vf w[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; v++) w[v] = load(z + u * row + v * WIDTH);
    for (int64_t t = u + 1; t < count; t++) {
      const int64_t decay = reads == Reads::inclusive ? t : t - 1;
      if (decay > u) {
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) w[v] *= load(step + decay * row + v * WIDTH);
      }
      vf sum = w[0] * load(x + t * row);
#pragma GCC unroll 4
      for (int v = 1; v < V; v++) sum += w[v] * load(x + t * row + v * WIDTH);
      sums[u][t] = more ? sums[u][t] + sum : sum;
    }
  }
}

// scoresT[u,t] for u < t inside of the sub-chunk, zeros on the diagonal and above; x and z without decay. Columns up to the next whole
// sub-chunk are written.
inline void scoresInside(const ChannelDecays& d, int64_t sub, const float* x, const float* z, Reads reads, float* scoresT,
                         int64_t scoresRow) {
  const int64_t first = d.first(sub), count = d.count(sub);
  vf sums[SUB][SUB];
  for (int64_t i = 0; i < d.row; i += 4 * WIDTH) {
    const int64_t at = first * d.row + i, vectors = std::min<int64_t>(4, (d.row - i) / WIDTH);
    const float *step = d.step + at, *rows = x + at, *columns = z + at;
    if (vectors == 4) stepThrough<4>(step, d.row, count, rows, columns, reads, i > 0, sums);
    else if (vectors == 3) stepThrough<3>(step, d.row, count, rows, columns, reads, i > 0, sums);
    else if (vectors == 2) stepThrough<2>(step, d.row, count, rows, columns, reads, i > 0, sums);
    else stepThrough<1>(step, d.row, count, rows, columns, reads, i > 0, sums);
  }
  // The sums of u and of its mirror image from the end, together SUB - 1, are taken at once: those of u in their places t > u, the others
  // in the places before.
  for (int64_t u = 0; u < SUB / 2; u++) {
    const int64_t mirror = SUB - 1 - u;
    float totals[SUB];
    for (int64_t t = 0; t < SUB; t += WIDTH) {
      vf rows[WIDTH];
      for (int64_t r = 0; r < WIDTH; r++) {
        const int64_t place = t + r, from = place > u ? u : mirror, to = place > u ? place : place + SUB - u;
        rows[r] = place != u && to < count ? sums[from][to] : zero();
      }
      store(totals + t, sumsOf(rows));
    }
    for (int64_t at : {u, mirror}) {
      if (at >= count) break;
      float* scores = scoresT + (first + at) * scoresRow + first;
      std::fill_n(scores, SUB, 0.0f);
      if (at == u) std::copy(totals + u + 1, totals + SUB, scores + u + 1);
      else std::copy_n(totals, u, scores + SUB - u);
    }
  }
}

// scoresT[t,t] = Σ_i x_t weight z_t (weight nullptr for ones): what a step gives itself.
inline void scoresOwn(const ChannelDecays& d, const float* x, const float* z, const float* weight, float* scoresT, int64_t scoresRow) {
  for (int64_t t = 0; t < d.length; t += WIDTH) {
    const int64_t count = std::min<int64_t>(WIDTH, d.length - t);
    vf rows[WIDTH] = {};
    for (int64_t r = 0; r < count; r++) {
      for (int64_t i = 0; i < d.channels; i += WIDTH) {
        const int64_t at = (t + r) * d.row + i;
        const vf product = load(x + at) * load(z + at);
        rows[r] += weight ? product * loadFirst(weight + i, std::min<int64_t>(WIDTH, d.channels - i)) : product;
      }
    }
    const vf totals = sumsOf(rows);
    for (int64_t r = 0; r < count; r++) scoresT[(t + r) * scoresRow + t + r] = totals[r];
  }
}

}  // namespace
}  // namespace LENGGEN_ISA
}  // namespace lenggen
