// The gradient of linear attention with a decay per channel (gatedLinearAttention.cpp). Names: D(t,u) and scores A as in channelDecay.h;
// S the state at the chunk's start, E the gradient by the state at its end; q holds the scale.
//
// E walks from the last chunk to the first:   E <- D(last,0) E + Σ_t (q_t D(t,0)) dy_tᵀ.
// With S and E at hand, chunks are independent. S of the first chunk is zero when no state comes in, E of the last when the loss does not
// see the final state, as in most training: what they would give is left out. With dA[t,u] = dy_t · v_u:
//   dv_u = Σ_{t>=u} A[t,u] dy_t + Eᵀ (D(last,u) k_u)
//   dq_t = Σ_{u<=t} dA[t,u] D(t,u) k_u + D(t,0) S dy_t
//   dk_u = Σ_{t>=u} dA[t,u] D(t,u) q_t + D(last,u) E v_u
// dq is made from the first sub-chunk to the last, since k is carried that way, and dk from the last to the first: what stands in the
// brackets of
//   dq_t = D(t,border) [ D(border,0) S dy_t + Σ_{u<=border} dA[t,u] D(border,u) k_u ] + inside
//   dk_u = D(border,u) [ D(last,border) E v_u + Σ_{t>border} dA[t,u] D(t,border) q_t ] + inside
// is S_border dy_t and G_border v_u, of the state and its gradient at the borders of the sub-chunk, which nobody has to compute.
//
// The log decay a_j stands in all D(t,u) with u < j <= t, so that da_j = Σ over those pairs of what they give to q_t∘dq_t. Of a
// sub-chunk that j lies in, from which t and u are inside or not:
//   neither   D(last,0) rowsum(E∘S) + Σ_{t behind} q_t∘D(t,0) S dy_t + D(end,start) Σ_{u before} (D(start,u) k_u)∘(G_end v_u)
//   only t    Σ_{t>=j} q_t∘D(t,start) S_start dy_t         only u    Σ_{u<j} k_u∘D(end,u) G_end v_u
//   both      Σ_{u<j<=t} q_t∘dA[t,u] D(t,u) k_u
// Every term holds the decay of step j, and none is subtracted from another: da is as precise where a channel forgets fast as
// where it does not. With a bonus the state is read before the step: D(t-1,u), u < j < t, and what a step gives itself holds no decay.
#include "families.h"
#include "gatedLinearAttention.h"

namespace lenggen::LENGGEN_ISA {
namespace {

struct Gradient : GatedLinearAttentionGradientArgs {
  Sizes s;
  explicit Gradient(const GatedLinearAttentionGradientArgs& args) : GatedLinearAttentionGradientArgs(args), s(args) {}
  Reads reads() const { return bonus ? Reads::before : Reads::inclusive; }
  bool hasStart(int64_t c) const { return c > 0 || state; }
  bool hasEnd(int64_t c) const { return c < s.chunks() - 1 || dfinal; }
};

int64_t walkScratch(const Sizes& s) {
  return ChannelDecays::floats(s.keySize, s.chunk) + s.chunk * (s.keyRow() + s.valueRow());
}

// Walks E of one head, columns [from, to), over the chunks [first, end), backwards. carry [K,V]: E at the end of chunk end - 1 (unset where
// that is zero), which becomes that before chunk `first`, unless nobody asks for it. ends [segment,K,V]: gets E at the end of chunk c at
// c - first.
void walkHead(const Gradient& f, int64_t row, int64_t from, int64_t to, int64_t first, int64_t end, float* carry, float* ends,
              float* scratch) {
  const Sizes& s = f.s;
  const int64_t V = s.valueSize, columns = to - from;
  Arena arena(scratch);
  ChannelDecays decays(arena, s.keySize, s.chunk);
  float *queries = arena.take(s.chunk * s.keyRow()), *values = arena.take(s.chunk * s.valueRow());
  const auto endAt = [&](int64_t c) { return (c < first ? carry : ends + (c - first) * s.state()) + from; };
  for (int64_t i = 0; f.hasEnd(end - 1) && i < s.keySize; i++) std::copy_n(carry + from + i * V, columns, endAt(end - 1) + i * V);
  for (int64_t c = end - 1; c >= first && (c > 0 || f.dstate); c--) {
    const int64_t at = s.key(row, c), length = s.length(c);
    Ahead ahead;
    if (c > first) {
      for (const float* keys : {f.a, f.q}) ahead.add(keys + s.key(row, c - 1), s.keySize, s.keyStride(), s.length(c - 1));
      ahead.add(f.dy + s.value(row, c - 1) + from, columns, s.valueStride(), s.length(c - 1));
    }
    ahead.spread(stepsOf(s.keySize, columns, length));
    decays.set(f.a + at, s.keyStride(), length);
    copyRows(f.q + at, s.keyStride(), length, s.keySize, f.scale, queries);
    fromBorder(decays, queries, f.reads(), queries);
    fromStart(decays, queries);
    copyRows(f.dy + s.value(row, c) + from, s.valueStride(), length, columns, 1.0f, values);
    productThen(s.keySize, columns, length, {queries, 1, s.keyRow()}, values, padded(columns),
                AddDecayed{decays.total, f.hasEnd(c) ? endAt(c) : nullptr, endAt(c - 1), V}, &ahead);
  }
}

// Working memory for one chunk of one head.
struct Workspace {
  KeyRows rows;
  float *dq, *dk, *da;                        // [chunk,keyRow]
  float *values, *dy, *valuesT, *dyT;         // [chunk,valueRow], and turned [V,chunkRow]
  float *scoresT, *dscores;                   // [chunk,chunkRow]: A turned, dA
  float *product;                             // [K,chunkRow]: products with states, turned; and other scratch
  float *throughStart, *across, *behind;      // [subs,keyRow], [subs,keyRow], [keyRow]

  static int64_t productFloats(const Sizes& s) { return std::max(s.keySize * s.chunkRow(), SUB * s.keyRow()); }
  static int64_t floats(const Sizes& s) {
    return KeyRows::floats(s) + 3 * s.chunk * s.keyRow() + 2 * (s.chunk * s.valueRow() + s.valueSize * s.chunkRow()) +
           2 * s.chunk * s.chunkRow() + padded(productFloats(s)) + (2 * ChannelDecays::subsOf(s.chunk) + 1) * s.keyRow();
  }
  Workspace(Arena& arena, const Sizes& s) : rows(arena, s) {
    for (float** p : {&dq, &dk, &da}) *p = arena.take(s.chunk * s.keyRow());
    for (float** p : {&values, &dy}) *p = arena.take(s.chunk * s.valueRow());
    for (float** p : {&valuesT, &dyT}) *p = arena.take(s.valueSize * s.chunkRow());
    for (float** p : {&scoresT, &dscores}) *p = arena.take(s.chunk * s.chunkRow());
    product = arena.take(productFloats(s));
    for (float** p : {&throughStart, &across}) *p = arena.take(ChannelDecays::subsOf(s.chunk) * s.keyRow());
    behind = arena.take(s.keyRow());
  }
};

// rows[t,i] = Σ_j state[i,j] columns[j,t], the product of a state [K,V] with all steps; zeros where there is no state.
void timesState(const Sizes& s, const float* state, const float* columns, int64_t length, float* product, float* rows, Ahead& ahead) {
  std::fill_n(rows, length * s.keyRow(), 0.0f);
  if (!state) return;
  gemmSmall(s.keySize, length, s.valueSize, {state, s.valueSize, 1}, columns, s.chunkRow(), product, s.chunkRow(), false,
            Skip::None, &ahead);
  transpose(s.keySize, length, product, s.chunkRow(), rows, s.keyRow());
}

// From dq = S dy_t: dq of a sub-chunk as it comes from before it, D(t,start) S_start dy_t, with k carried to its start; and what of it
// comes through S, times q.
void queriesBefore(const Gradient& f, Workspace& w, int64_t sub, Ahead& ahead) {
  const Sizes& s = f.s;
  const ChannelDecays& d = w.rows.decays;
  const int64_t first = d.first(sub), count = d.count(sub);
  float* dq = w.dq + first * d.row;
  for (int64_t i = 0; i < d.row; i += WIDTH) {
    const vf start = load(d.start + sub * d.row + i);
    vf through = zero();
    for (int64_t at = i, n = count; n > 0; n--, at += d.row) {
      const vf value = load(dq + at) * start;
      store(dq + at, value);
      through += load(w.rows.fromBorder + first * d.row + at) * value;
    }
    store(w.throughStart + sub * d.row + i, through);
  }
  if (first > 0) {
    gemmSmall(count, d.channels, first, {w.dscores + first * s.chunkRow(), s.chunkRow(), 1}, w.rows.kept, d.row, dq, d.row, true,
              Skip::None, &ahead);
  }
  for (int64_t i = 0; i < d.row; i += WIDTH) {
    vf decay = broadcast(1.0f);
    for (int64_t at = i, n = count; n > 0; n--, at += d.row) {
      const vf after = decay * load(d.step + first * d.row + at);
      if (f.reads() == Reads::inclusive) decay = after;
      store(dq + at, load(dq + at) * decay);
      decay = after;
    }
  }
}

// From dk_u = G_end v_u for all u up to the end of a sub-chunk: dk of the sub-chunk as it comes from behind it, D(end,u) G_end v_u, and
// G_start v_u for the steps before it; and Σ_{u before} k_u D(start,u)∘(G_end v_u), times what the sub-chunk forgets.
void keysBehind(const Gradient& f, Workspace& w, int64_t sub, Ahead& ahead) {
  const Sizes& s = f.s;
  const ChannelDecays& d = w.rows.decays;
  const int64_t first = d.first(sub), count = d.count(sub);
  for (int64_t i = 0; i < d.row; i += WIDTH) {
    vf decay = broadcast(1.0f), across = zero();
    for (int64_t u = first + count - 1; u >= first; u--) {
      store(w.dk + u * d.row + i, load(w.dk + u * d.row + i) * decay);
      decay *= load(d.step + u * d.row + i);
    }
    vf between = broadcast(1.0f);
    const vf block = load(d.block + sub * d.row + i);
    for (int64_t before = sub - 1; before >= 0; before--) {
      decay = between;
      for (int64_t u = d.first(before) + SUB - 1; u >= d.first(before); u--) {
        const int64_t at = u * d.row + i;
        const vf behind = load(w.dk + at);
        across += load(w.rows.k + at) * decay * behind;
        store(w.dk + at, behind * block);
        decay *= load(d.step + at);
      }
      between *= load(d.block + before * d.row + i);
    }
    store(w.across + sub * d.row + i, across * block);
  }
  if (first > 0) {
    gemmSmall(first, d.channels, count, {w.dscores + first * s.chunkRow(), 1, s.chunkRow()}, w.rows.fromBorder + first * d.row, d.row, w.dk,
              d.row, true, Skip::None, &ahead);
  }
}

// What pairs inside of a sub-chunk give to dq, dk and the bonus, and da of it, from dq and dk of all other pairs. bonus and dbonus are
// padded to keyRow; nullptr where there is none.
void inside(const Gradient& f, Workspace& w, int64_t sub, const float* bonus, float* dbonus) {
  const Sizes& s = f.s;
  const ChannelDecays& d = w.rows.decays;
  const bool before = bonus != nullptr;
  const int64_t first = d.first(sub), count = d.count(sub), base = first * d.row;
  const float* dscores = w.dscores + first * s.chunkRow() + first;
  for (int64_t i = 0; i < d.row; i += WIDTH) {
    const float *q = w.rows.q + base + i, *k = w.rows.k + base + i, *step = d.step + base + i;
    float *dq = w.dq + base + i, *dk = w.dk + base + i, *da = w.da + base + i;
    const vf own = before ? load(bonus + i) : broadcast(1.0f);
    const vf neither = load(w.across + sub * d.row + i) + load(w.behind + i);
    vf ofBonus = zero(), onlyT = zero(), onlyU = zero();
    for (int64_t t = before ? 1 : 0; t < count; t++) onlyT += load(q + t * d.row) * load(dq + t * d.row);
    store(da, neither + onlyT);
    for (int64_t u = 0; u < count; u++) {
      const vf key = load(k + u * d.row), query = load(q + u * d.row), ownGradient = broadcast(dscores[u * s.chunkRow() + u]);
      vf keyGradient = load(dk + u * d.row), withT = zero(), decay = broadcast(1.0f);
      onlyU += key * keyGradient;
      keyGradient += ownGradient * own * query;
      store(dq + u * d.row, load(dq + u * d.row) + ownGradient * own * key);
      ofBonus += ownGradient * query * key;
      for (int64_t t = u + 1; t < count; t++) {
        if (!before) decay *= load(step + t * d.row);
        else if (t > u + 1) decay *= load(step + (t - 1) * d.row);
        const vf weight = decay * dscores[t * s.chunkRow() + u], row = load(q + t * d.row);
        const vf gradient = load(dq + t * d.row) + weight * key;
        store(dq + t * d.row, gradient);
        keyGradient += weight * row;
        if (!before || t > u + 1) withT += row * gradient;
      }
      store(dk + u * d.row, keyGradient);
      if (u + 1 < count) store(da + (u + 1) * d.row, neither + onlyU + withT);
    }
    if (dbonus) store(dbonus + i, load(dbonus + i) + ofBonus);
  }
}

// D(last,0) rowsum(E∘S): what goes through the whole chunk.
void throughChunk(const Sizes& s, const ChannelDecays& d, const float* S, const float* E, float* to) {
  std::fill_n(to, d.row, 0.0f);
  if (!S || !E) return;
  for (int64_t i = 0; i < s.keySize; i++, S += s.valueSize, E += s.valueSize) {
    vf sums[4] = {};
    int64_t j = 0;
    for (; j + 4 * WIDTH <= s.valueSize; j += 4 * WIDTH)
      for (int v = 0; v < 4; v++) sums[v] += load(S + j + v * WIDTH) * load(E + j + v * WIDTH);
    for (; j < s.valueSize; j += WIDTH) {
      const int64_t n = std::min<int64_t>(WIDTH, s.valueSize - j);
      sums[0] += loadFirst(S + j, n) * loadFirst(E + j, n);
    }
    to[i] = d.total[i] * sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
  }
}

// Rows of scratch to where they belong, times `factor`.
void writeRows(const float* rows, int64_t length, int64_t channels, float factor, float* to, int64_t stride) {
  for (int64_t t = 0; t < length; t++, rows += padded(channels), to += stride) {
    int64_t i = 0;
    for (; i + WIDTH <= channels; i += WIDTH) store(to + i, load(rows + i) * factor);
    if (i < channels) storeFirst(to + i, load(rows + i) * factor, channels - i);
  }
}

// What comes after a chunk on the same thread, as far as one can tell: of which head and chunk; none where head is negative.
struct Next {
  int64_t row, c;
};

Ahead askedFor(const Gradient& f, int64_t row, int64_t c, const float* S, const float* E, Next next) {
  const Sizes& s = f.s;
  const int64_t K = s.keySize, V = s.valueSize, length = s.length(c);
  Ahead ahead;
  if (S) ahead.add(S, s.state());
  if (E) ahead.add(E, s.state());
  for (const float* keys : {f.dq, f.dk, f.da}) ahead.add(keys + s.key(row, c), K, s.keyStride(), length);
  ahead.add(f.dv + s.value(row, c), V, s.valueStride(), length);
  if (next.row >= 0) {
    for (const float* keys : {f.a, f.q, f.k}) ahead.add(keys + s.key(next.row, next.c), K, s.keyStride(), s.length(next.c));
    for (const float* values : {f.v, f.dy}) ahead.add(values + s.value(next.row, next.c), V, s.valueStride(), s.length(next.c));
  }
  ahead.spread((stepsOf(length, length, V) + 3 * stepsOf(length, length, K)) / 2 + ((S ? 1 : 0) + (E ? 1 : 0)) * stepsOf(K, length, V));
  return ahead;
}

// One chunk of one head. S and E as in the header; nullptr for zeros. dbonus [keyRow]: this chunk's part of it, or nullptr.
void chunkGradient(const Gradient& f, int64_t row, int64_t c, const float* S, const float* E, float* dbonus, Next next, float* scratch) {
  const Sizes& s = f.s;
  const int64_t length = s.length(c), key = s.key(row, c), value = s.value(row, c);
  Ahead ahead = askedFor(f, row, c, S, E, next);
  Arena arena(scratch);
  Workspace w(arena, s);
  const ChannelDecays& d = w.rows.decays;
  w.rows.set(f, s, row, c, f.reads());
  copyRows(f.v + value, s.valueStride(), length, s.valueSize, 1.0f, w.values);
  copyRows(f.dy + value, s.valueStride(), length, s.valueSize, 1.0f, w.dy);
  transpose(length, s.valueSize, w.values, s.valueRow(), w.valuesT, s.chunkRow());
  transpose(length, s.valueSize, w.dy, s.valueRow(), w.dyT, s.chunkRow());
  gemmSmall(length, length, s.valueSize, {w.dy, s.valueRow(), 1}, w.valuesT, s.chunkRow(), w.dscores, s.chunkRow(), false, Skip::LowerC,
            &ahead);
  timesState(s, S, w.dyT, length, w.product, w.dq, ahead);
  timesState(s, E, w.valuesT, length, w.product, w.dk, ahead);

  for (int64_t sub = 0; sub < d.subs(); sub++) {
    scoresBefore(d, sub, w.rows.fromBorder, w.rows.kept, w.product, w.scoresT, s.chunkRow(), &ahead);
    scoresInside(d, sub, w.rows.q, w.rows.k, f.reads(), w.scoresT, s.chunkRow());
    queriesBefore(f, w, sub, ahead);
    carryOver(d, sub, w.rows.kept);
  }
  const float* bonus = f.bonus ? f.bonus + row % s.heads * s.keySize : nullptr;
  scoresOwn(d, w.rows.q, w.rows.k, bonus, w.scoresT, s.chunkRow());
  if (bonus) copyRows(bonus, s.keySize, 1, s.keySize, 1.0f, w.product), bonus = w.product;
  throughChunk(s, d, S, E, w.behind);
  for (int64_t sub = d.subs() - 1; sub >= 0; sub--) {
    keysBehind(f, w, sub, ahead);
    inside(f, w, sub, bonus, dbonus);
    for (int64_t i = 0; i < d.row; i += WIDTH) store(w.behind + i, load(w.behind + i) + load(w.throughStart + sub * d.row + i));
  }
  writeRows(w.dq, length, s.keySize, f.scale, f.dq + key, s.keyStride());
  writeRows(w.dk, length, s.keySize, 1.0f, f.dk + key, s.keyStride());
  writeRows(w.da, length, s.keySize, 1.0f, f.da + key, s.keyStride());

  float* dv = f.dv + value;
  if (E) gemmSmall(length, s.valueSize, s.keySize, {w.rows.kept, s.keyRow(), 1}, E, s.valueSize, dv, s.valueStride(), false);
  gemmSmall(length, s.valueSize, length, {w.scoresT, s.chunkRow(), 1}, w.dy, s.valueRow(), dv, s.valueStride(), E != nullptr, Skip::UpperA);
}

void runGradient(const GatedLinearAttentionGradientArgs& args, Pool& pool) {
  const Gradient f(args);
  const Sizes& s = f.s;
  const int64_t chunks = s.chunks(), heads = s.batch * s.heads;
  // As many chunks at a time as keep all threads busy: their ends should stay in cache. Changes no number.
  const int64_t segment = std::min(chunks, (8 * pool.threads() + heads - 1) / std::max<int64_t>(1, heads));
  Arena arena(pool.shared(static_cast<size_t>(2 * 16 + heads * (1 + segment) * s.state() + heads * chunks * s.keyRow())));
  float* carry = arena.take(heads * s.state());           // [B,H,K,V]
  float* ends = arena.take(heads * segment * s.state());  // [B,H,segment,K,V]
  float* dbonus = arena.take(heads * chunks * s.keyRow());  // [B,H,chunks,keyRow]
  if (f.dfinal) std::copy_n(f.dfinal, heads * s.state(), carry);
  if (f.dbonus) std::fill_n(dbonus, heads * chunks * s.keyRow(), 0.0f);
  const Slices slices(s, pool.threads());
  for (int64_t end = chunks; end > 0; end -= segment) {
    const int64_t first = std::max<int64_t>(0, end - segment), count = end - first;
    pool.parallel(heads * slices.count, [&](int64_t item, int worker) {
      const int64_t row = item / slices.count, from = item % slices.count * slices.columns;
      walkHead(f, row, from, std::min(s.valueSize, from + slices.columns), first, end, carry + row * s.state(),
               ends + row * segment * s.state(), pool.scratch(worker, walkScratch(s)));
    });
    pool.parallel(heads * count, [&](int64_t item, int worker) {
      const int64_t row = item / count, c = first + item % count, after = item + pool.threads();
      const Next next = after < heads * count ? Next{after / count, first + after % count} : Next{-1, 0};
      chunkGradient(f, row, c, f.hasStart(c) ? f.starts + s.start(row, c) : nullptr,
                    f.hasEnd(c) ? ends + (row * segment + c - first) * s.state() : nullptr,
                    f.dbonus ? dbonus + (row * chunks + c) * s.keyRow() : nullptr, next, pool.scratch(worker, Workspace::floats(s)));
    });
  }
  if (f.dstate) std::copy_n(carry, heads * s.state(), f.dstate);
  for (int64_t at = 0; f.dbonus && at < s.heads * s.keySize; at++) {
    double sum = 0;
    for (int64_t b = 0; b < s.batch; b++)
      for (int64_t c = 0; c < chunks; c++) sum += dbonus[((b * s.heads + at / s.keySize) * chunks + c) * s.keyRow() + at % s.keySize];
    f.dbonus[at] = static_cast<float>(sum);
  }
}

}  // namespace

extern const Kernel gatedLinearAttentionGradientKernels[] = {
    kernel<GatedLinearAttentionGradientArgs, runGradient, checkSizes>(),
    {nullptr, nullptr, nullptr},
};

}  // namespace lenggen::LENGGEN_ISA
