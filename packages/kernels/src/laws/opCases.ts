/**
 * One small call of every op, by name: what {@link checkBackend} runs on two devices. Sizes are odd, so that vectors and tiles have
 * rests.
 */
import { attention } from "../ops/attention";
import { chunkAttention } from "../ops/chunkAttention";
import { causalConv } from "../ops/conv";
import { crossEntropy } from "../ops/crossEntropy";
import { cumulativeSum } from "../ops/cumulativeSum";
import { deltaRule } from "../ops/deltaRule";
import { add, addScalar, div, equal, exp, less, log, mul, neg, relu, scale, sigmoid, silu, softplus, sqrt, square, sub,
  tanh } from "../ops/elementwise";
import { embedding } from "../ops/embedding";
import { gatedDeltaRule } from "../ops/gatedDeltaRule";
import { gatedLinearAttention } from "../ops/gatedLinearAttention";
import { ssmGates } from "../ops/gates";
import { gather } from "../ops/gather";
import { layerNorm } from "../ops/layerNorm";
import { lerp } from "../ops/lerp";
import { linear, linearSplit, matmul } from "../ops/matmul";
import { addRmsNorm, gatedRmsNorm, rmsNorm } from "../ops/norm";
import { argmax, logSoftmax, max, mean, softmax, sum } from "../ops/reduce";
import { retrieve } from "../ops/retrieve";
import { rope } from "../ops/rope";
import { selectiveScan } from "../ops/selectiveScan";
import { ssd } from "../ops/ssd";
import { turn } from "../ops/turn";
import { broadcastTo, concat, slice, transpose } from "../ops/view";
import { where } from "../ops/where";
import type { Shape } from "../shape";
import type { Tensor } from "../tensor";

/** How an input is drawn: real numbers from `low` to `high`, which have gradients, or whole ones, below a limit or as given. */
export type Drawn =
  | { readonly shape: Shape; readonly low: number; readonly high: number }
  | { readonly shape: Shape; readonly below: number }
  | { readonly shape: Shape; readonly given: readonly number[] };

/** A call of an op. */
export interface OpCase {
  readonly inputs: readonly Drawn[];
  run(...inputs: Tensor[]): Tensor | readonly Tensor[];
}

const real = (...shape: number[]): Drawn => ({ shape, low: -2, high: 2 });
const positive = (...shape: number[]): Drawn => ({ shape, low: 0.2, high: 3 });
const small = (...shape: number[]): Drawn => ({ shape, low: -0.4, high: 0.4 });
const below = (end: number, ...shape: number[]): Drawn => ({ shape, below: end });
const of = (run: (...inputs: Tensor[]) => Tensor | readonly Tensor[], ...inputs: Drawn[]): OpCase => ({ inputs, run });

const unary = { neg, exp, square, sigmoid, silu, softplus, tanh, relu };
const binary = { add, sub, mul, equal, less };

export const OP_CASES: Readonly<Record<string, OpCase>> = {
  ...Object.fromEntries(Object.entries(unary).map(([name, f]) => [name, of(f, real(5, 37))])),
  ...Object.fromEntries(Object.entries({ log, sqrt }).map(([name, f]) => [name, of(f, positive(5, 37))])),
  ...Object.fromEntries(Object.entries(binary).map(([name, f]) => [name, of(f, real(3, 1, 37), real(5, 37))])),
  "div": of(div, real(3, 1, 37), positive(5, 37)),
  "scale, addScalar": of((x) => addScalar(scale(x, -1.5), 0.25), real(5, 37)),
  "sum": of((x) => sum(x, { axes: 1 }), real(3, 40, 5)),
  "mean": of((x) => mean(x, { axes: [0, 2] }), real(3, 40, 5)),
  "max": of((x) => max(x, { axes: -1 }), real(6, 41)),
  "softmax": of((x) => softmax(x), real(6, 41)),
  "logSoftmax": of((x) => logSoftmax(x), real(6, 41)),
  "argmax": of((x) => argmax(x), real(6, 41)),
  "cumulativeSum": of((x) => cumulativeSum(x, 1, { reverse: true }), real(2, 33, 3)),
  "cumulativeSum of angles": of((x, start) => cumulativeSum(x, 1, { start, modulo: 2 * Math.PI }), real(2, 33, 3), real(2, 3)),
  "where": of((a, b) => where(less(a, b), a, b), real(5, 7), real(7)),
  "gather": of((x, indices) => gather(x, indices, 1), real(4, 9, 3), below(9, 4, 6, 3)),
  "slice, concat": of((a, b) => concat([slice(a, 1, 1, 4), b], 1), real(3, 5, 7), real(3, 2, 7)),
  "transpose": of((x) => transpose(x, [2, 0, 1]), real(3, 10, 33)),
  "broadcastTo": of((x) => broadcastTo(x, [4, 3, 9]), real(3, 1)),
  "matmul": of((a, b) => matmul(a, b), real(2, 19, 35), real(2, 35, 21)),
  "linear": of(linear, real(2, 9, 33), real(17, 33)),
  "linearSplit": of((x, w) => linearSplit(x, w, [5, 12]), real(2, 9, 33), real(17, 33)),
  "embedding": of(embedding, real(11, 9), below(11, 3, 8)),
  "rmsNorm": of((x, w) => rmsNorm(x, w), real(3, 7, 37), real(37)),
  "addRmsNorm": of((x, r, w) => Object.values(addRmsNorm(x, r, w)), real(3, 37), real(3, 37), real(37)),
  "gatedRmsNorm": of((y, z, w) => gatedRmsNorm(y, z, w, { groups: 3 }), real(5, 39), real(5, 39), real(39)),
  "lerp": of((a, b, s, r) => lerp(a, b, [s, r]), real(3, 7, 37), real(3, 7, 37), real(37), real(37)),
  "lerp, shares by row": of(
    (a, b, s, r, t, extra) => lerp(a, b, [s, r, t], extra), real(3, 7, 37), real(3, 7, 37), real(37), real(37), real(37), real(3, 3, 7, 37),
  ),
  "layerNorm": of((x, w, b) => layerNorm(x, w, b), real(3, 7, 37), real(37), real(37)),
  "crossEntropy": of(crossEntropy, real(7, 19), real(33, 19), below(33, 7)),
  "ssmGates": of((raw, bias, aLog) => Object.values(ssmGates(raw, bias, aLog, { minDt: 0.1, maxDt: 2 })), real(3, 9, 5), real(5), real(5)),
  "causalConv": of(
    (x, w, b, s) => {
      const { outputs, state } = causalConv(x, w, b, s, { silu: true, split: [4, 9] });
      return [...outputs, state];
    },
    real(2, 21, 13), real(13, 4), real(13), real(2, 3, 13),
  ),
  "selectiveScan": of(
    (x, dt, a, b, c, d, state) => Object.values(selectiveScan({ x, dt, a, b, c, d, state }, { chunk: 16 })),
    real(2, 40, 18), positive(2, 40, 18), { shape: [18, 11], low: -1, high: 0 }, real(2, 40, 2, 11), real(2, 40, 2, 11), real(18),
    real(2, 18, 11),
  ),
  "ssd": of(
    (x, dt, a, b, c, d, state) => Object.values(ssd({ x, dt, a, b, c, d, state }, { chunk: 16 })),
    real(2, 40, 4, 9), positive(2, 40, 4), { shape: [2, 40, 4], low: -1, high: 0 }, real(2, 40, 2, 11), real(2, 40, 2, 11), real(4),
    real(2, 4, 9, 11),
  ),
  "deltaRule": of(
    (q, k, v, a, remove, write, state) => Object.values(deltaRule({ q, k, v, a, remove, write, state }, { scale: 0.5, chunk: 16 })),
    real(2, 40, 3, 9), real(2, 40, 3, 9), real(2, 40, 3, 11), { shape: [2, 40, 3, 9], low: -2, high: -0.5 }, small(2, 40, 3, 9),
    small(2, 40, 3, 9), real(2, 3, 9, 11),
  ),
  "gatedDeltaRule": of(
    (q, k, v, a, beta, state) => Object.values(gatedDeltaRule({ q, k, v, a, beta, state }, { scale: 0.5, chunk: 16 })),
    real(2, 40, 2, 9), small(2, 40, 2, 9), real(2, 40, 4, 11), { shape: [2, 40, 4], low: -1, high: 0 },
    { shape: [2, 40, 4], low: 0, high: 1 }, real(2, 4, 9, 11),
  ),
  "turn": of((x, bias, angle) => turn({ x, bias, angle }), real(2, 9, 1, 2, 10), real(1, 4, 10), real(2, 9, 4, 3)),
  "turn, halves": of(
    (x, bias, angle) => turn({ x, bias, angle }, { halves: true }), real(2, 9, 3, 2, 10), real(3, 4, 10), real(2, 9, 4, 5),
  ),
  "gatedLinearAttention": of(
    (q, k, v, a, bonus, state) => {
      const scale = 0.5;
      const read = gatedLinearAttention({ q, k, v, a, state }, { chunk: 32, scale });
      const bonused = gatedLinearAttention({ q, k, v, a, bonus, state: read.state }, { chunk: 32, scale });
      return [...Object.values(read), ...Object.values(bonused)];
    },
    real(2, 40, 3, 9), real(2, 40, 3, 9), real(2, 40, 3, 11), { shape: [2, 40, 3, 9], low: -3, high: 0 }, real(3, 9), real(2, 3, 9, 11),
  ),
  "rope": of((x) => rope(x, { start: 70 }), real(2, 9, 3, 10)),
  "attention": of((q, k, v) => attention({ q, k, v }, { window: 7 }), real(2, 19, 4, 9), real(2, 19, 2, 9), real(2, 19, 2, 9)),
  "chunkAttention": of(
    (q, keys, values, weights, indices, offsets) => chunkAttention({ q, keys, values, weights, indices, offsets }),
    real(2, 13, 4, 9), real(2, 5, 7, 2, 9), real(2, 5, 7, 2, 9), positive(2, 3, 2), below(5, 2, 3, 2),
    { shape: [2, 4], given: [0, 4, 9, 13, 0, 5, 8, 13] },
  ),
  "retrieve": of((queries, landmarks) => Object.values(retrieve({ queries, landmarks }, { k: 3, first: 2 })), real(2, 5, 16),
    real(2, 9, 16)),
};
