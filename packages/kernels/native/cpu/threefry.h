// Threefry-2x32-20, the counter-based generator of src/random.ts, on vectors of counters.
#pragma once
#include "vector.h"

namespace lenggen::LENGGEN_ISA {

typedef uint32_t vu __attribute__((vector_size(WIDTH * 4)));

struct Key {
  uint32_t low, high;
};

template <int BITS>
LENGGEN_INLINE vu rotated(vu x) {
  return (x << BITS) | (x >> (32 - BITS));
}

template <int A, int B, int C, int D>
LENGGEN_INLINE void fourRounds(vu& x0, vu& x1) {
  x0 += x1;
  x1 = rotated<A>(x1) ^ x0;
  x0 += x1;
  x1 = rotated<B>(x1) ^ x0;
  x0 += x1;
  x1 = rotated<C>(x1) ^ x0;
  x0 += x1;
  x1 = rotated<D>(x1) ^ x0;
}

// Encrypts the counters in place.
LENGGEN_INLINE void threefry(Key key, vu& x0, vu& x1) {
  const uint32_t k0 = key.low, k1 = key.high, k2 = key.low ^ key.high ^ 0x1bd11bda;
  x0 += k0;
  x1 += k1;
  fourRounds<13, 15, 26, 6>(x0, x1);
  x0 += k1;
  x1 += k2 + 1;
  fourRounds<17, 29, 16, 24>(x0, x1);
  x0 += k2;
  x1 += k0 + 2;
  fourRounds<13, 15, 26, 6>(x0, x1);
  x0 += k0;
  x1 += k1 + 3;
  fourRounds<17, 29, 16, 24>(x0, x1);
  x0 += k1;
  x1 += k2 + 4;
  fourRounds<13, 15, 26, 6>(x0, x1);
  x0 += k2;
  x1 += k0 + 5;
}

}  // namespace lenggen::LENGGEN_ISA
