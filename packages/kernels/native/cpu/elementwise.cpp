// Elementwise functions: src/ops/elementwise.ts. Each function is a type; a launch's code picks the instance once, and
// the loops hold no branches.
#include "check.h"
#include "families.h"
#include "nest.h"
#include "split.h"
#include "sweep.h"

namespace lenggen::LENGGEN_ISA {
namespace {

// ---- one operand: value(x), and derivative(x, y) with y = value(x). Codes count from 0 in this order. -----------

struct Neg {
  static vf value(vf x) { return -x; }
  static vf derivative(vf, vf) { return broadcast(-1.0f); }
};
struct Exp {
  static vf value(vf x) { return exp(x); }
  static vf derivative(vf, vf y) { return y; }
};
struct Log {
  static vf value(vf x) { return log(x); }
  static vf derivative(vf x, vf) { return 1.0f / x; }
};
struct Sqrt {
  static vf value(vf x) { return sqrt(x); }
  static vf derivative(vf, vf y) { return 0.5f / y; }
};
struct Square {
  static vf value(vf x) { return x * x; }
  static vf derivative(vf x, vf) { return 2.0f * x; }
};
struct Sigmoid {
  static vf value(vf x) { return sigmoid(x); }
  static vf derivative(vf, vf y) { return y * (1.0f - y); }
};
struct Silu {
  static vf value(vf x) { return silu(x); }
  static vf derivative(vf x, vf) {
    const vf s = sigmoid(x);
    return s + x * s * (1.0f - s);
  }
};
struct Softplus {
  static vf value(vf x) { return softplus(x); }
  static vf derivative(vf x, vf) { return sigmoid(x); }
};
struct Tanh {
  static vf value(vf x) { return tanh(x); }
  static vf derivative(vf, vf y) { return 1.0f - y * y; }
};

template <typename F>
void unaryAs(const Launch& launch, Pool& pool) {
  const float* x = launch.buffers[0].f32();
  float* y = launch.buffers[1].f32();
  inRanges(pool, static_cast<int64_t>(launch.buffers[1].bytes / 4), 1, [=](int64_t from, int64_t to) {
    sweep(to - from, [=](int64_t i, auto at) { at.put(y + from + i, F::value(at.get(x + from + i))); });
  });
}

template <typename F>
void unaryGradientAs(const Launch& launch, Pool& pool) {
  const float* x = launch.buffers[0].f32();
  const float* y = launch.buffers[1].f32();
  const float* dy = launch.buffers[2].f32();
  float* dx = launch.buffers[3].f32();
  inRanges(pool, static_cast<int64_t>(launch.buffers[3].bytes / 4), 1, [=](int64_t from, int64_t to) {
    sweep(to - from, [=](int64_t i, auto at) {
      at.put(dx + from + i, at.get(dy + from + i) * F::derivative(at.get(x + from + i), at.get(y + from + i)));
    });
  });
}

using Run = void (*)(const Launch&, Pool&);

template <typename... F>
struct Unary {
  static constexpr int COUNT = sizeof...(F);
  static constexpr Run value[] = {unaryAs<F>...};
  static constexpr Run gradient[] = {unaryGradientAs<F>...};
};
using UnaryTable = Unary<Neg, Exp, Log, Sqrt, Square, Sigmoid, Silu, Softplus, Tanh>;

// All buffers as long as the last one.
void requireSameSize(const Launch& launch) {
  const int last = launch.bufferCount - 1;
  for (int i = 0; i < last; i++) requireElements(launch, i, static_cast<int64_t>(launch.buffers[last].bytes / 4));
  requireElements(launch, last, 0);
}

// buffers: x, y; numbers: code
void checkUnary(const Launch& launch) {
  requireCounts(launch, 2, 1);
  requireSameSize(launch);
  require(requireSize(launch, 0) < UnaryTable::COUNT, "there is no function of that code");
}

void runUnary(const Launch& launch, Pool& pool) { UnaryTable::value[launch.integer(0)](launch, pool); }

// buffers: x, y, dy, dx; numbers: code
void checkUnaryGradient(const Launch& launch) {
  requireCounts(launch, 4, 1);
  requireSameSize(launch);
  require(requireSize(launch, 0) < UnaryTable::COUNT, "there is no function of that code");
}

void runUnaryGradient(const Launch& launch, Pool& pool) { UnaryTable::gradient[launch.integer(0)](launch, pool); }

// buffers: x, y; numbers: scale, shift
void checkAffine(const Launch& launch) {
  requireCounts(launch, 2, 2);
  requireSameSize(launch);
}

void runAffine(const Launch& launch, Pool& pool) {
  const float* x = launch.buffers[0].f32();
  float* y = launch.buffers[1].f32();
  const float scale = launch.real(0), shift = launch.real(1);
  inRanges(pool, static_cast<int64_t>(launch.buffers[1].bytes / 4), 1, [=](int64_t from, int64_t to) {
    sweep(to - from, [=](int64_t i, auto at) { at.put(y + from + i, at.get(x + from + i) * scale + shift); });
  });
}

// ---- two operands; `dy` is there for gradients and ignored by the others. Codes count from 0 in this order. ------------

struct Add {
  static vf value(vf a, vf b, vf) { return a + b; }
};
struct Sub {
  static vf value(vf a, vf b, vf) { return a - b; }
};
struct Mul {
  static vf value(vf a, vf b, vf) { return a * b; }
};
struct Div {
  static vf value(vf a, vf b, vf) { return a / b; }
};
struct Equal {
  static vf value(vf a, vf b, vf) { return select(a == b, broadcast(1.0f), zero()); }
};
struct MulA {
  static vf value(vf, vf b, vf dy) { return dy * b; }
};
struct MulB {
  static vf value(vf a, vf, vf dy) { return dy * a; }
};
struct DivA {
  static vf value(vf, vf b, vf dy) { return dy / b; }
};
struct DivB {
  static vf value(vf a, vf b, vf dy) { return -dy * (a / b) / b; }  // the square of b could overflow
};

// One stretch of n outputs. An operand either moves along with the output or stands still.
template <typename F, bool GRADIENT, bool A_MOVES, bool B_MOVES>
void stretch(const float* a, const float* b, const float* dy, float* out, int64_t n) {
  const vf fixedA = broadcast(A_MOVES ? 0.0f : *a), fixedB = broadcast(B_MOVES ? 0.0f : *b);
  sweep(n, [=](int64_t i, auto at) {
    at.put(out + i, F::value(A_MOVES ? at.get(a + i) : fixedA, B_MOVES ? at.get(b + i) : fixedB, GRADIENT ? at.get(dy + i) : zero()));
  });
}

template <typename F, bool GRADIENT>
void binaryAs(const Launch& launch, Pool& pool) {
  const float* a = launch.buffers[0].f32();
  const float* b = launch.buffers[1].f32();
  const float* dy = GRADIENT ? launch.buffers[2].f32() : nullptr;
  float* out = launch.buffers[GRADIENT ? 3 : 2].f32();
  const Nest nest = readNest(launch, 1);
  if (nest.total == 0) return;
  const int64_t inner = nest.inner();
  const bool aMoves = nest.strides[0][nest.rank - 1] == 1, bMoves = nest.strides[1][nest.rank - 1] == 1;
  const auto run = aMoves ? (bMoves ? stretch<F, GRADIENT, true, true> : stretch<F, GRADIENT, true, false>)
                          : (bMoves ? stretch<F, GRADIENT, false, true> : stretch<F, GRADIENT, false, false>);
  // Long rows are cut into pieces, short ones go several at a time.
  const int64_t pieces = (inner + ITEM - 1) / ITEM;
  inRanges(pool, nest.total / inner * pieces, std::min(inner, ITEM), [=](int64_t from, int64_t to) {
    for (int64_t part = from; part < to; part++) {
      const int64_t row = part / pieces, start = part % pieces * ITEM;
      int64_t position[2];
      nest.locate(row, 1, position);
      const int64_t at = row * inner + start;
      run(a + position[0] + (aMoves ? start : 0), b + position[1] + (bMoves ? start : 0), GRADIENT ? dy + at : nullptr, out + at,
          std::min(ITEM, inner - start));
    }
  });
}

constexpr Run BINARY[] = {binaryAs<Add, false>, binaryAs<Sub, false>, binaryAs<Mul, false>, binaryAs<Div, false>, binaryAs<Equal, false>};
constexpr Run BINARY_GRADIENT[] = {binaryAs<MulA, true>, binaryAs<MulB, true>, binaryAs<DivA, true>, binaryAs<DivB, true>};

void requireBinary(const Launch& launch, int buffers, int codes) {
  require(launch.bufferCount == buffers && launch.numberCount >= 2, "has too few or too many arguments");
  require(requireSize(launch, 0) < codes, "there is no function of that code");
  const Nest nest = requireNest(launch, 1);
  for (int k = 0; k < 2; k++) {
    require(nest.strides[k][nest.rank - 1] <= 1, "the last stride must be 0 or 1");
    requireReach(launch, k, nest, k, 0);
  }
  for (int i = 2; i < buffers; i++) requireElements(launch, i, nest.total);
}

// buffers: a, b, out; numbers: code, nest of a and b
void checkBinary(const Launch& launch) { requireBinary(launch, 3, 5); }
void runBinary(const Launch& launch, Pool& pool) { BINARY[launch.integer(0)](launch, pool); }

// buffers: a, b, dy, out; numbers: code, nest of a and b
void checkBinaryGradient(const Launch& launch) { requireBinary(launch, 4, 4); }
void runBinaryGradient(const Launch& launch, Pool& pool) { BINARY_GRADIENT[launch.integer(0)](launch, pool); }

}  // namespace

extern const Kernel elementwiseKernels[] = {
    {"unary", checkUnary, runUnary},
    {"unaryGradient", checkUnaryGradient, runUnaryGradient},
    {"affine", checkAffine, runAffine},
    {"binary", checkBinary, runBinary},
    {"binaryGradient", checkBinaryGradient, runBinaryGradient},
    {nullptr, nullptr, nullptr},
};

}  // namespace lenggen::LENGGEN_ISA
