/**
 * Effective Remembrance (Buitrago Ruiz & Gu 2025): how much the tokens before t still matter at T,
 *
 *   EffRem_T(t) = TV( q(. | x[0:T]), q(. | x[t:T]) ),   TV(p, q) = ½ Σ_v |p_v - q_v|,
 *
 * q the model's next-token distribution, both runs from the zero state. 0: the first t tokens are forgotten or
 * do not matter; near 1: they decide. A model that was never driven into a stationary regime keeps a
 * high value even for small t, since it overfits to the start of its context.
 *
 * One end T is a noisy sample, and one run passes many ends: the distances at the last `ends` of them are
 * averaged for the price of one (`ends: 1` is the formula above).
 */
import {
  check, dispose, keep, linear, type Parameters, scope, type SequenceModel, type Tokens, type TokenSource, type Tree, type TypedArray,
  withoutGradient,
} from "@lenggen/kernels";
import { type Interval, mean, meanInterval } from "../statistics";
import { checkSequences, DEFAULT_BATCH, DEFAULT_CHUNK, groups, type RunOptions, stream } from "../stream";

/** Options of {@link effectiveRemembrance}. */
export interface EffectiveRemembranceOptions extends RunOptions {
  /** T, in tokens. */
  readonly length: number;
  /** The ts to measure, each in 1 ... T - ends; unless given, `points` of them, log-spaced in t, then in T - t. */
  readonly ts?: readonly number[];
  /** How many ts to spread when `ts` is not given; 20. */
  readonly points?: number;
  /** How many last ends are averaged; 8 unless given. */
  readonly ends?: number;
}

/** The distance at one t. */
export interface RemembrancePoint {
  readonly t: number;
  /** Total variation, 0 ... 1, averaged over ends and sequences. */
  readonly distance: number;
  /** t-interval over sequences. */
  readonly ci95: Interval | null;
}

/** What {@link effectiveRemembrance} finds: a curve over t. */
export interface EffectiveRemembrance {
  readonly length: number;
  readonly ends: number;
  readonly sequences: number;
  readonly points: readonly RemembrancePoint[];
}

/**
 * Measures how much the tokens before t still matter at the end, for each t. Costs Σ (T - t) tokens per sequence; memory does not
 * depend on T.
 */
export async function effectiveRemembrance<State extends Tree>(
  model: SequenceModel<State>, parameters: Parameters, sequences: readonly (Tokens | TokenSource)[], options: EffectiveRemembranceOptions,
): Promise<EffectiveRemembrance> {
  const { length, ends = 8, batch = DEFAULT_BATCH } = options;
  check(Number.isInteger(length) && Number.isInteger(ends) && ends >= 1 && length > ends, "E_ARGUMENT", () =>
    `Effective Remembrance: the length (${length}) must be a whole number above that of averaged ends (${ends})`);
  const ts = options.ts ?? spreadStarts(length, ends, options.points);
  check(ts.every((t) => Number.isInteger(t) && t >= 1 && t <= length - ends), "E_ARGUMENT", () =>
    `Effective Remembrance: each t must be a whole number in 1 ... ${length - ends}, not ${ts.join(", ")}`);
  checkSequences(sequences, length);

  const total = sequences.length * ts.reduce((sum, t) => sum + length - t, length);
  let done = 0;
  const onTokens = (tokens: number) => options.onProgress?.((done += tokens), total);
  const distances: number[][] = ts.map(() => []);
  for (const group of groups(sequences, batch)) {
    const whole = await lastDistributions(model, parameters, group, 0, length, ends, options, onTokens);
    for (const [i, t] of ts.entries()) {
      const suffix = await lastDistributions(model, parameters, group, t, length, ends, options, onTokens);
      distances[i]!.push(...totalVariations(whole, suffix, group.length, ends));
    }
  }
  const points = ts.map((t, i) => ({ t, distance: mean(distances[i]!), ci95: meanInterval(distances[i]!) }));
  return { length, ends, sequences: sequences.length, points };
}

/** Log-spaced in t up to T/2, then log-spaced in T - t down to where the averaged ends blur it. */
export function spreadStarts(length: number, ends: number, points = 20): number[] {
  const half = Math.max(1, Math.floor(length / 2));
  const early = Math.max(2, Math.round(points * 0.75));
  const late = Math.max(2, points - early + 1);
  const last = Math.min(4 * ends, half);
  const starts = [
    ...Array.from({ length: early }, (_, i) => Math.round(half ** (i / (early - 1)))),
    ...Array.from({ length: late }, (_, i) => length - Math.round(half * (last / half) ** (i / (late - 1)))),
  ];
  return [...new Set(starts)].filter((t) => t >= 1 && t <= length - ends).sort((a, b) => a - b);
}

/** What the model expects after each of the last `ends` tokens of x[start:length]: [B * ends, V]. */
async function lastDistributions<State extends Tree>(
  model: SequenceModel<State>, parameters: Parameters, sequences: readonly (Tokens | TokenSource)[], start: number,
  length: number, ends: number, options: RunOptions, onTokens: (tokens: number) => void,
): Promise<Float64Array> {
  const stops = [length - ends];
  for await (const chunk of stream(model, parameters, sequences,
    { ...options, chunk: Math.max(options.chunk ?? DEFAULT_CHUNK, ends), start, end: length, stops, losses: false })) {
    onTokens(sequences.length * (chunk.end - chunk.start));
    if (chunk.end < length) continue;
    const logits = withoutGradient(() => keep(scope(() => linear(chunk.hidden, model.head(parameters)))));
    const values = await logits.read();
    dispose(logits);
    return softmaxes(values, values.length / (sequences.length * ends));
  }
  return new Float64Array(0);
}

/** Per sequence, the mean over ends of the total variation between two arrays of distributions. */
function totalVariations(p: Float64Array, q: Float64Array, sequences: number, ends: number): number[] {
  const vocabulary = p.length / (sequences * ends);
  const distances = Array.from({ length: sequences * ends }, (_, row) => {
    let sum = 0;
    for (let i = row * vocabulary; i < (row + 1) * vocabulary; i++) sum += Math.abs(p[i]! - q[i]!);
    return 0.5 * sum;
  });
  return groups(distances, ends).map(mean);
}

/** Of each row, in float64 on the host: the rows are few, and small distances need the digits. */
function softmaxes(logits: TypedArray, vocabulary: number): Float64Array {
  const all = Float64Array.from(logits);
  for (let from = 0; from < all.length; from += vocabulary) {
    const row = all.subarray(from, from + vocabulary);
    let top = -Infinity;
    for (const value of row) top = Math.max(top, value);
    let sum = 0;
    for (let v = 0; v < row.length; v++) sum += row[v] = Math.exp(row[v]! - top);
    for (let v = 0; v < row.length; v++) row[v]! /= sum;
  }
  return all;
}
