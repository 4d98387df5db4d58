import type { randomKernels } from "../../ops/random";
import { type Key, threefry2x32 } from "../../random";
import type { KernelsOf } from "../../signature";
import { data } from "./data";

const f = Math.fround;
const TWO_32 = 2 ** 32;

/** Calls `put` with each element's index and random word. */
function words(key: Key, count: number, put: (i: number, word: number) => void): void {
  for (let block = 0; 2 * block < count; block++) {
    const [even, odd] = threefry2x32(key, block >>> 0, Math.floor(block / TWO_32));
    put(2 * block, even);
    if (2 * block + 1 < count) put(2 * block + 1, odd);
  }
}

/** Σ coefficients[k] · x^k by Horner's rule, rounded to float32 after each operation. */
function polynomial(x: number, coefficients: readonly number[]): number {
  let sum = f(coefficients.at(-1)!);
  for (let k = coefficients.length - 2; k >= 0; k--) sum = f(f(sum * x) + f(coefficients[k]!));
  return sum;
}

// AS 241, PPND7: A/B for |½ - p| <= 0.425, C/D for the tails.
const A = [3.3871327179, 50.434271938, 159.29113202, 59.10937472];
const B = [1, 17.895169469, 78.757757664, 67.1875636];
const C = [1.4234372777, 2.75681539, 1.3067284816, 0.17023821103];
const D = [1, 0.7370016425, 0.12021132975];
// 2·artanh(s) = s · (2 + 2/3 s² + 2/5 s⁴ + ...); |s| <= 0.172 leaves 3e-9.
const LOG = [2, 2 / 3, 2 / 5, 2 / 7, 2 / 9];

/** -ln(n · 2⁻²⁵) for whole n in 1 ... 2²⁴ - 1: n = m · 2^e with m in [√½, √2). */
function minusLog(n: number): number {
  let e = 31 - Math.clz32(n);
  let m = f(n / 2 ** e);
  if (m > f(Math.SQRT2)) {
    m = f(m * 0.5);
    e++;
  }
  const s = f(f(m - 1) / f(m + 1));
  const logarithm = f(s * polynomial(f(s * s), LOG)); // ln m
  return f(f((25 - e) * f(Math.LN2)) - logarithm);
}

/** A standard normal number from a random word: see ops/random.ts. */
function standardNormal(word: number): number {
  const n = 2 * ((word >>> 8) & 0x7fffff) + 1;
  const q = (2 ** 24 - n) * 2 ** -25; // ½ - p, exact
  let z: number; // -Φ⁻¹(p) > 0
  if (q <= f(0.425)) {
    const r = f(f(0.180625) - f(q * q));
    z = f(f(q * polynomial(r, A)) / polynomial(r, B));
  } else {
    const r = f(f(Math.sqrt(minusLog(n))) - f(1.6));
    z = f(polynomial(r, C) / polynomial(r, D));
  }
  return word >= 2 ** 31 ? z : -z;
}

export const random: KernelsOf<typeof randomKernels> = {
  randomUniform({ out, key, low, range }) {
    const o = data(out);
    words(key, o.length, (i, word) => {
      o[i] = f(low + f((word >>> 8) * 2 ** -24 * range));
    });
  },
  randomNormal({ out, key, mean, std }) {
    const o = data(out);
    words(key, o.length, (i, word) => {
      o[i] = f(mean + f(std * standardNormal(word)));
    });
  },
};
