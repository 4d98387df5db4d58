/**
 * Random numbers from explicit keys. A key is 64 bits; every number drawn from it is a pure function of the key
 * and of its place, by the counter-based generator Threefry-2x32 with 20 rounds (Salmon et al., "Parallel random
 * numbers: as easy as 1, 2, 3", SC 2011). It needs only 32-bit addition, rotation and exclusive or, so that every
 * device draws the same bits in any order and on any number of threads.
 *
 * Use a key once: to draw two things, `split` it or `foldIn` a step number. The high counter words of the three
 * uses differ, so that drawing from a key never meets the keys split from it.
 */
import { check } from "./errors";

/** Two unsigned 32-bit words, the low one first. */
export type Key = readonly [number, number];

const ROTATIONS = [13, 15, 26, 6, 17, 29, 16, 24] as const;
const PARITY = 0x1bd11bda;

/** High counter words that drawing can't reach: drawing counts blocks in less than 53 bits. */
const SPLIT = 0xffffffff;
const FOLD = 0xfffffffe;

const TWO_32 = 2 ** 32;
const TWO_53 = 2 ** 53;

/** One block of Threefry-2x32-20: 64 key bits and 64 counter bits give 64 random bits. */
export function threefry2x32([k0, k1]: Key, c0: number, c1: number): [number, number] {
  const schedule = [k0, k1, k0 ^ k1 ^ PARITY] as const;
  let x0 = (c0 + k0) | 0;
  let x1 = (c1 + k1) | 0;
  for (let round = 0; round < 20; round++) {
    const r = ROTATIONS[round % 8]!;
    x0 = (x0 + x1) | 0;
    x1 = ((x1 << r) | (x1 >>> (32 - r))) ^ x0;
    if (round % 4 === 3) {
      const injection = (round + 1) / 4;
      x0 = (x0 + schedule[injection % 3]!) | 0;
      x1 = (x1 + schedule[(injection + 1) % 3]! + injection) | 0;
    }
  }
  return [x0 >>> 0, x1 >>> 0];
}

/** The key of a seed: a whole number from 0 to 2⁵³ - 1, or a bigint below 2⁶⁴. */
export function key(seed: number | bigint): Key {
  const fits = typeof seed === "bigint" ? seed >= 0n && seed < 1n << 64n : Number.isSafeInteger(seed) && seed >= 0;
  check(fits, "E_ARGUMENT", () => `key: seed ${seed} must be a whole number from 0 to 2^53 - 1 (as a bigint: to 2^64 - 1)`);
  const wide = BigInt(seed);
  return [Number(wide & 0xffffffffn), Number(wide >> 32n)];
}

/** `n` keys that are independent of each other and of what is drawn from their parent. */
export function split(parent: Key, n = 2): Key[] {
  checkWord(n, "split: the number of keys");
  return Array.from({ length: n }, (_, i) => threefry2x32(parent, i, SPLIT));
}

/** The key for the n-th thing (a step, a layer, a sample) under a parent; n from 0 to 2³² - 1. */
export function foldIn(parent: Key, n: number): Key {
  checkWord(n, "foldIn: the number");
  return threefry2x32(parent, n, FOLD);
}

function checkWord(n: number, what: string): void {
  check(Number.isInteger(n) && n >= 0 && n < TWO_32, "E_ARGUMENT", () =>
    `${what} is ${n}; it must be a whole number from 0 to 2^32 - 1`);
}

/** The first `n` random words of a key. Block i (counter i) gives words 2i and 2i + 1. */
export function randomBits(from: Key, n: number): Uint32Array {
  checkWord(n, "randomBits: the number of words");
  const words = new Uint32Array(n);
  for (let i = 0; i < n; i += 2) {
    const [even, odd] = threefry2x32(from, i / 2, 0);
    words[i] = even;
    if (i + 1 < n) words[i + 1] = odd;
  }
  return words;
}

/** A stream of random numbers for decisions on the host: which sample, which order, whether to reset. */
export interface HostRandom {
  /** A whole number from 0 to n - 1, each equally likely (no modulo bias); n from 1 to 2⁵³ - 1. */
  integer(n: number): number;
  /** A multiple of 2⁻⁵³ in [0, 1). */
  uniform(): number;
  /** Puts the items into random order, in place; every order is equally likely (Fisher and Yates). */
  shuffle<T>(items: T[]): T[];
}

/** The stream of a key. It holds a position: to resume, fold the step into the key and start afresh. */
export function hostRandom(from: Key): HostRandom {
  let block = 0;
  const next53 = (): number => {
    const [low, high] = threefry2x32(from, block >>> 0, Math.floor(block / TWO_32));
    block++;
    return (high >>> 11) * TWO_32 + low;
  };
  const integer = (n: number): number => {
    check(Number.isSafeInteger(n) && n >= 1, "E_ARGUMENT", () =>
      `integer: n is ${n}; it must be a whole number from 1 to 2^53 - 1`);
    const limit = TWO_53 - (TWO_53 % n); // draws from here on would favour small results
    let draw = next53();
    while (draw >= limit) draw = next53();
    return draw % n;
  };
  return {
    integer,
    uniform: () => next53() / TWO_53,
    shuffle(items) {
      for (let i = items.length - 1; i > 0; i--) {
        const j = integer(i + 1);
        [items[i], items[j]] = [items[j]!, items[i]!];
      }
      return items;
    },
  };
}
