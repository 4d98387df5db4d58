/**
 * Draws a token from logits. The likeliest is found in one scan. Nothing is sorted for the rest either: where top-k, top-p and the draw
 * end, in the order from likeliest to least, is found by selection, which counts (or weighs) the tokens in bins of like logits and looks
 * closer at one bin only. Of equal logits the lower token comes first.
 */
import { check, LenggenError } from "./errors";

/** How to choose among tokens. */
export interface Sampling {
  /** Divides the logits; 0 takes the likeliest token always. */
  readonly temperature: number;
  /** Keeps the k likeliest tokens only. */
  readonly topK?: number;
  /** Keeps the likeliest tokens up to this total probability (nucleus sampling, Holtzman et al. 2020), in (0, 1]. */
  readonly topP?: number;
}

/** Throws `E_ARGUMENT` for an option outside its range. */
export function checkSampling(who: string, { temperature, topK, topP }: Sampling): void {
  check(temperature >= 0 && Number.isFinite(temperature), "E_ARGUMENT", () =>
    `${who}: temperature ${temperature} must be a finite number of at least 0`);
  check(topK === undefined || (Number.isInteger(topK) && topK >= 1), "E_ARGUMENT",
    () => `${who}: topK ${topK} must be a whole number of at least 1`);
  check(topP === undefined || (topP > 0 && topP <= 1), "E_ARGUMENT", () => `${who}: topP ${topP} must be above 0 and at most 1`);
}

/**
 * Draws one index from logits [V]; `random` in [0, 1) decides which: the tokens from likeliest to least share that range by their
 * probabilities. Throws `E_NOT_FINITE` for logits that are not numbers, `E_ARGUMENT` for none and for an option outside its range.
 */
export function sample(logits: ArrayLike<number>, options: Sampling & { readonly random: number }): number {
  const { temperature, topK = Infinity, topP = 1, random } = options;
  checkSampling("sample", options);
  check(random >= 0 && random < 1, "E_ARGUMENT", () => `sample: random ${random} must be at least 0 and below 1`);
  check(logits.length > 0, "E_ARGUMENT", () => "sample: there are no logits");
  const best = likeliest(logits);
  if (temperature === 0 || topK === 1) return best;
  const table = tableOf(logits);
  let count = logits.length;
  if (topK < count) {
    table.weights.fill(1, 0, count);
    count = keepFrom(table, count, boundOf(table, count, topK));
    count = keepTo(table, count, lastOf(table, count, 0, (sum) => sum >= topK));
  }
  let all = weigh(table, count, logits[best]!, temperature);
  if (topP < 1) {
    const limit = topP * all;
    count = keepTo(table, count, lastOf(table, count, (all - limit) / count, (sum) => sum >= limit));
    all = total(table, count);
  }
  const drawn = random * all;
  return lastOf(table, count, (all - drawn) / count, (sum) => sum > drawn);
}

/** The first of the largest. */
function likeliest(logits: ArrayLike<number>): number {
  let best = 0;
  let most = logits[0]!;
  for (let i = 0; i < logits.length; i++) {
    const x = logits[i]!;
    if (x - x !== 0) throw new LenggenError("E_NOT_FINITE", "generate: the model's logits hold NaN or infinity");
    if (x > most) [best, most] = [i, x];
  }
  return best;
}

/** Room for as many tokens as there are logits. */
interface Room {
  /** By token. */
  readonly weights: Float64Array;
  /** Those that may still be drawn, rising. */
  readonly tokens: Int32Array;
  /** Some of them, while they are looked at, and the bin of each. */
  readonly some: Int32Array;
  readonly bins: Int32Array;
}

interface Table extends Room {
  readonly numbers: ArrayLike<number>;
}

/** Used again by every call, which does not wait in between: one for each token would leave a megabyte of garbage. */
let room: Room = roomFor(0);
const BINS = 1024;
const sums = new Float64Array(BINS);
/** So few are sorted. */
const FEW = 24;

function roomFor(n: number): Room {
  return { weights: new Float64Array(n), tokens: new Int32Array(n), some: new Int32Array(n), bins: new Int32Array(n) };
}

function tableOf(logits: ArrayLike<number>): Table {
  if (room.tokens.length < logits.length) room = roomFor(logits.length);
  const { tokens } = room;
  for (let i = 0; i < logits.length; i++) tokens[i] = i;
  return { numbers: logits, ...room };
}

/** Gives each token its weight, the likeliest 1, and returns the sum. */
function weigh({ numbers, weights, tokens }: Table, count: number, most: number, temperature: number): number {
  let sum = 0;
  for (let i = 0; i < count; i++) {
    const token = tokens[i]!;
    sum += weights[token] = expOf((numbers[token]! - most) / temperature);
  }
  return sum;
}

function total({ weights, tokens }: Table, count: number): number {
  let sum = 0;
  for (let i = 0; i < count; i++) sum += weights[tokens[i]!]!;
  return sum;
}

/** A logit that at least `k` tokens reach, few of them more where `k` is small: the least of the largest of `k` blocks. */
function boundOf({ numbers }: Table, count: number, k: number): number {
  let bound = Infinity;
  for (let block = 0, from = 0; block < k; block++) {
    const to = Math.floor(((block + 1) * count) / k);
    let most = -Infinity;
    for (; from < to; from++) if (numbers[from]! > most) most = numbers[from]!;
    if (most < bound) bound = most;
  }
  return bound;
}

/** Keeps the tokens of at least this logit, and says how many they are. */
function keepFrom({ numbers, tokens }: Table, count: number, least: number): number {
  let kept = 0;
  for (let i = 0; i < count; i++) if (numbers[tokens[i]!]! >= least) tokens[kept++] = tokens[i]!;
  return kept;
}

/** Keeps the tokens from the likeliest to this one, and says how many they are. */
function keepTo({ numbers, tokens }: Table, count: number, last: number): number {
  const least = numbers[last]!;
  let kept = 0;
  for (let i = 0; i < count; i++) {
    const token = tokens[i]!;
    const x = numbers[token]!;
    if (x > least || (x === least && token <= last)) tokens[kept++] = token;
  }
  return kept;
}

/**
 * The token at which the running sum of weights, from the likeliest token to the least, is `enough`; the last one where rounding keeps
 * it below. It weighs `least` or more, as the caller knows: others are not looked at.
 */
function lastOf({ numbers, weights, tokens, some, bins }: Table, all: number, least: number, enough: (sum: number) => boolean): number {
  let count = 0;
  for (let i = 0; i < all; i++) {
    const token = tokens[i]!;
    if (weights[token]! >= least) some[count++] = token;
  }
  let before = 0; // the weight of likelier tokens than those looked at
  while (count > FEW) {
    let high = -Infinity;
    let low = Infinity;
    for (let i = 0; i < count; i++) {
      const x = numbers[some[i]!]!;
      if (x > high) high = x;
      if (x < low) low = x;
    }
    if (high === low) break; // already in order
    const scale = (BINS - 1) / (high - low);
    sums.fill(0);
    // In two loops: one would wait for each conversion.
    for (let i = 0; i < count; i++) bins[i] = (high - numbers[some[i]!]!) * scale;
    for (let i = 0; i < count; i++) sums[bins[i]!]! += weights[some[i]!]!;
    const end = Math.trunc((high - low) * scale);
    let bin = 0;
    while (bin < end && !enough(before + sums[bin]!)) before += sums[bin++]!;
    let found = 0;
    for (let i = 0; i < count; i++) if (bins[i] === bin) some[found++] = some[i]!;
    count = found;
  }
  const order = some.subarray(0, count);
  if (count <= FEW) order.sort((a, b) => numbers[b]! - numbers[a]! || a - b);
  let at = 0;
  while (at < count - 1 && !enough((before += weights[order[at]!]!))) at++;
  return order[at]!;
}

/** Parts that a factor of two is cut into. */
const PARTS = 32;
const roots = Float64Array.from({ length: PARTS }, (_, i) => 2 ** (-i / PARTS));
const powers = Float64Array.from({ length: 1100 }, (_, i) => 2 ** -i);
/** ln 2 / PARTS: a number with so many zeros behind it that its multiples are exact, and what is missing. */
const [STEP, REST] = [0.02166084938653512, 5.9631716539705866e-12];
/** Below this the result is less than any number. */
const LEAST = -746;

/** eˣ of x <= 0, right to two bits in the last place. A third of the time of `Math.exp`, which is most of the time of a draw. */
function expOf(x: number): number {
  if (x < LEAST) return 0;
  const n = (x * (-1 / STEP)) | 0;
  const r = x + n * STEP + n * REST; // in (-STEP, 0]
  const rr = r * r;
  // The series in pairs, which a processor works on side by side.
  const series = 1 + r + rr * (1 / 2 + r * (1 / 6) + rr * (1 / 24 + r * (1 / 120) + rr * (1 / 720)));
  return powers[n >> 5]! * roots[n & (PARTS - 1)]! * series;
}
