// Elementwise functions: src/ops/elementwise.ts. Each function is a type; a launch's name of one picks the instance once, and
// the loops hold no branches.
#include "families.h"
#include "nest.h"
#include "signatures/elementwise.h"
#include "split.h"
#include "sweep.h"

namespace lenggen::LENGGEN_ISA {
namespace {

// ---- one operand: value(x), and derivative(x, y) with y = value(x). -----------

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
struct Relu {
  static vf value(vf x) { return select(x > zero(), x, select(x == x, zero(), x)); }  // what is not a number stays so
  static vf derivative(vf x, vf) { return select(x > zero(), broadcast(1.0f), select(x == x, zero(), x)); }
};

// run(F()) for the function of a name.
template <typename Name, typename Run>
void withUnary(Name name, const Run& run) {
  switch (name) {
    case Name::neg: return run(Neg());
    case Name::exp: return run(Exp());
    case Name::log: return run(Log());
    case Name::sqrt: return run(Sqrt());
    case Name::square: return run(Square());
    case Name::sigmoid: return run(Sigmoid());
    case Name::silu: return run(Silu());
    case Name::softplus: return run(Softplus());
    case Name::tanh: return run(Tanh());
    case Name::relu: return run(Relu());
  }
}

template <typename F>
void unaryAs(const UnaryArgs& args, Pool& pool) {
  const float* x = args.x.data;
  float* y = args.y.data;
  inRanges(pool, args.y.size, 1, [=](int64_t from, int64_t to) {
    sweep(to - from, [=](int64_t i, auto at) { at.put(y + from + i, F::value(at.get(x + from + i))); });
  });
}

void checkUnary(const UnaryArgs& args) { requireElements("x", args.x.size, args.y.size); }

void runUnary(const UnaryArgs& args, Pool& pool) {
  withUnary(args.op, [&](auto f) { unaryAs<decltype(f)>(args, pool); });
}

template <typename F>
void unaryGradientAs(const UnaryGradientArgs& args, Pool& pool) {
  const float *x = args.x.data, *y = args.y.data, *dy = args.dy.data;
  float* dx = args.dx.data;
  inRanges(pool, args.dx.size, 1, [=](int64_t from, int64_t to) {
    sweep(to - from, [=](int64_t i, auto at) {
      at.put(dx + from + i, at.get(dy + from + i) * F::derivative(at.get(x + from + i), at.get(y + from + i)));
    });
  });
}

void checkUnaryGradient(const UnaryGradientArgs& args) {
  requireElements("x", args.x.size, args.dx.size);
  requireElements("y", args.y.size, args.dx.size);
  requireElements("dy", args.dy.size, args.dx.size);
}

void runUnaryGradient(const UnaryGradientArgs& args, Pool& pool) {
  withUnary(args.op, [&](auto f) { unaryGradientAs<decltype(f)>(args, pool); });
}

void checkAffine(const AffineArgs& args) { requireElements("x", args.x.size, args.y.size); }

void runAffine(const AffineArgs& args, Pool& pool) {
  const float* x = args.x.data;
  float* y = args.y.data;
  const float scale = args.scale, shift = args.shift;
  inRanges(pool, args.y.size, 1, [=](int64_t from, int64_t to) {
    sweep(to - from, [=](int64_t i, auto at) { at.put(y + from + i, at.get(x + from + i) * scale + shift); });
  });
}

// ---- two operands; `dy` is there for gradients and ignored by the others. ------------

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
struct Less {
  static vf value(vf a, vf b, vf) { return select(a < b, broadcast(1.0f), zero()); }
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

// dy: null unless F is for a gradient.
template <typename F, bool GRADIENT>
void binaryAs(const float* a, const float* b, const float* dy, float* out, const Numbers& layout, Pool& pool) {
  const Nest nest = readNest(layout);
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

template <typename Args>
Nest requireOperands(const Args& args) {
  const Nest nest = requireNest(args.layout);
  for (int k = 0; k < 2; k++) require(nest.strides[k][nest.rank - 1] <= 1, "the last stride must be 0 or 1");
  requireReach("a", args.a.size, nest, 0, 0);
  requireReach("b", args.b.size, nest, 1, 0);
  requireElements("out", args.out.size, nest.total);
  return nest;
}

void checkBinary(const BinaryArgs& args) { requireOperands(args); }

void runBinary(const BinaryArgs& args, Pool& pool) {
  const auto run = [&](auto f) { binaryAs<decltype(f), false>(args.a.data, args.b.data, nullptr, args.out.data, args.layout, pool); };
  switch (args.op) {
    case BinaryArgs::Op::add: return run(Add());
    case BinaryArgs::Op::sub: return run(Sub());
    case BinaryArgs::Op::mul: return run(Mul());
    case BinaryArgs::Op::div: return run(Div());
    case BinaryArgs::Op::equal: return run(Equal());
    case BinaryArgs::Op::less: return run(Less());
  }
}

void checkBinaryGradient(const BinaryGradientArgs& args) { requireElements("dy", args.dy.size, requireOperands(args).total); }

void runBinaryGradient(const BinaryGradientArgs& args, Pool& pool) {
  const bool ofA = args.operand == BinaryGradientArgs::Operand::a;
  const auto run = [&](auto f) { binaryAs<decltype(f), true>(args.a.data, args.b.data, args.dy.data, args.out.data, args.layout, pool); };
  switch (args.op) {
    case BinaryGradientArgs::Op::mul: return ofA ? run(MulA()) : run(MulB());
    case BinaryGradientArgs::Op::div: return ofA ? run(DivA()) : run(DivB());
  }
}

}  // namespace

extern const Kernel elementwiseKernels[] = {
    kernel<UnaryArgs, runUnary, checkUnary>(),
    kernel<UnaryGradientArgs, runUnaryGradient, checkUnaryGradient>(),
    kernel<AffineArgs, runAffine, checkAffine>(),
    kernel<BinaryArgs, runBinary, checkBinary>(),
    kernel<BinaryGradientArgs, runBinaryGradient, checkBinaryGradient>(),
    {nullptr, nullptr, nullptr},
};

}  // namespace lenggen::LENGGEN_ISA
