import type { convKernels } from "../../ops/conv";
import type { KernelsOf } from "../../signature";
import { Tensor } from "../../tensor";
import { ACROSS, convForward, convGradient, convPack, mayBeVectors, MOST_OUTPUTS, SLICES, STEPS } from "./convShaders";
import { type Launcher, part } from "./launcher";
import { sumPartials } from "./partials";

interface Sizes {
  readonly batch: number;
  readonly time: number;
  readonly channels: number;
  readonly width: number;
}

/** Steps `first` to `first + time` of sequences `item` to `item + items`: what one launch takes. */
interface Piece {
  readonly item: number;
  readonly items: number;
  readonly first: number;
  readonly time: number;
}

/** Rows of C numbers that a launch binds as one tensor. */
interface Demand {
  readonly always: number;
  /** More for each sequence, and for each block of STEPS · SLICES steps. */
  readonly perItem: number;
  readonly perBlock: number;
}

const BLOCK = STEPS * SLICES;
const blocksOf = ({ time }: { readonly time: number }) => Math.ceil(time / BLOCK);

/**
 * Whole sequences, as many as can be bound; or where not even one can be, parts of single ones, each bound with up to `halo`
 * rows of its neighbours. `demands` are those of tensors that do not have a row per step.
 */
function piecesOf({ batch, time, channels }: Sizes, maxBinding: number, halo: number, demands: readonly Demand[]): Piece[] {
  const bound = Math.floor(maxBinding / 4 / channels);
  const fits = (count: number, each: number, always = 0) => (each > 0 ? Math.floor((bound - always) / each) : count);
  const pieces: Piece[] = [];
  // At least one sequence or step, even where that can't be bound: the launch says so.
  if (bound >= time) {
    const items = demands.map(({ always, perItem, perBlock }) => fits(batch, perItem + perBlock * blocksOf({ time }), always));
    const most = Math.max(1, Math.min(batch, fits(batch, time), ...items));
    for (let item = 0; item < batch; item += most) pieces.push({ item, items: Math.min(most, batch - item), first: 0, time });
    return pieces;
  }
  let most = Math.max(1, Math.min(bound - halo, ...demands.map(({ perBlock }) => BLOCK * fits(time, perBlock))));
  if (most > BLOCK) most -= most % BLOCK;
  for (let item = 0; item < batch; item++) {
    for (let first = 0; first < time; first += most) pieces.push({ item, items: 1, first, time: Math.min(most, time - first) });
  }
  return pieces;
}

/** Outputs that one launch covers, and their channels. */
interface Run<T> {
  readonly outputs: readonly T[];
  readonly sizes: readonly number[];
  readonly from: number;
  readonly count: number;
}

function runsOf<T>(outputs: readonly T[], split: readonly number[]): Run<T>[] {
  const runs: Run<T>[] = [];
  let from = 0;
  for (let i = 0; i < split.length; i += MOST_OUTPUTS) {
    const sizes = split.slice(i, i + MOST_OUTPUTS);
    const count = sizes.reduce((sum, size) => sum + size, 0);
    runs.push({ outputs: outputs.slice(i, i + MOST_OUTPUTS), sizes, from, count });
    from += count;
  }
  return runs;
}

const unitOf = ({ channels, width }: Sizes, split: readonly number[]) =>
  mayBeVectors(width) && [channels, ...split].every((size) => size % 4 === 0) ? 4 : 1;

/** The rows of x that a piece binds, from `from` on in each of its sequences. */
function rowsAround({ first, time }: Piece, total: number, past: number, after: number): { from: number; rows: number } {
  const from = Math.max(0, first - past);
  return { from, rows: Math.min(total, first + time + after) - from };
}

/** Numbers of a launch that both directions take. */
function numbersOf(piece: Piece, around: { from: number; rows: number }, run: Run<unknown>, channels: number, unit: number) {
  const ends = run.sizes.map((_, i) => run.sizes.slice(0, i + 1).reduce((sum, size) => sum + size, 0) / unit);
  const last = run.count / unit;
  return {
    channels: channels / unit, offset: run.from / unit, covered: last, first: piece.first, time: piece.time,
    before: piece.first - around.from, xRows: around.rows, end0: ends[0] ?? last, end1: ends[1] ?? last, end2: ends[2] ?? last,
  };
}

export const conv = (gpu: Launcher): KernelsOf<typeof convKernels> => ({
  causalConv({ x, weight, bias, state, silu, split, outputs, final, ...sizes }) {
    const { time: total, channels, width } = sizes;
    const past = width - 1;
    const unit = unitOf(sizes, split);
    for (const piece of piecesOf(sizes, gpu.maxBinding, past, [{ always: 0, perItem: past, perBlock: 0 }])) {
      const { item, items, first, time } = piece;
      const around = rowsAround(piece, total, past, 0);
      const last = first + time === total;
      const walks = Math.ceil(time / STEPS);
      const states = (t: Tensor) => part(t, item * past * channels, items * past * channels);
      for (const run of runsOf(outputs, split)) {
        const [out0, out1, out2] =
          run.outputs.map((t, i) => part(t, (item * total + first) * run.sizes[i]!, items * time * run.sizes[i]!));
        gpu.run(
          convForward({
            width, vector: unit === 4, hasBias: bias !== null, hasState: state !== null, silu, outputs: run.outputs.length, last,
          }),
          {
            x: part(x, (item * total + around.from) * channels, items * around.rows * channels), weight, bias,
            state: state && states(state), out0, out1, out2, left: states(final),
          },
          { ...numbersOf(piece, around, run, channels, unit), items, walks },
          Math.ceil((items * (walks + (last ? past : 0)) * run.count) / unit / 256),
        );
      }
    }
  },

  causalConvGradient({ x, weight, bias, state, silu, split, douts, dfinal, dx, dweight, dbias, dstate, ...sizes }) {
    const { time: total, channels, width } = sizes;
    const past = width - 1;
    const unit = unitOf(sizes, split);
    const [stateRows, finalRows] = [state ? past : 0, dfinal ? past : 0];
    const pieces = piecesOf(sizes, gpu.maxBinding, 2 * past, [
      { always: width + 1, perItem: stateRows + finalRows, perBlock: 0 }, // small
      { always: 0, perItem: 0, perBlock: width + 1 }, // partials
    ]);
    const blocks = pieces.reduce((sum, piece) => sum + piece.items * blocksOf(piece), 0);
    const sums = (width + 1) * channels; // of a block
    using partials = Tensor.empty(x.device, [blocks, width + 1, channels]);
    let done = 0;
    for (const piece of pieces) {
      const { item, items, first, time } = piece;
      const around = rowsAround(piece, total, past, past);
      const gRows = Math.min(total, first + time + past) - first;
      const states = (t: Tensor | null) => t && part(t, item * past * channels, items * past * channels);
      const stateAt = sums;
      const finalAt = stateAt + items * stateRows * channels;
      const size = finalAt + items * finalRows * channels;
      using small = Tensor.empty(x.device, [size]);
      gpu.run(
        convPack({ hasBias: bias !== null, hasState: state !== null, hasFinal: dfinal !== null }),
        { weight, bias, state: states(state), dfinal: states(dfinal), small },
        { size, width, channels, stateAt, finalAt },
        Math.ceil(size / 256),
      );
      const here = items * blocksOf(piece);
      for (const run of runsOf(douts, split)) {
        const given = run.outputs.map((t, i) => t && part(t, (item * total + first) * run.sizes[i]!, items * gRows * run.sizes[i]!));
        const has = (i: number) => (given[i] ?? null) !== null;
        const tiles = Math.ceil(run.count / unit / ACROSS);
        gpu.run(
          convGradient({
            width, vector: unit === 4, silu, hasState: state !== null, hasFinal: dfinal !== null, hasDstate: dstate !== null,
            has0: has(0), has1: has(1), has2: has(2),
          }),
          {
            small, x: part(x, (item * total + around.from) * channels, items * around.rows * channels),
            out0: given[0], out1: given[1], out2: given[2],
            dx: part(dx, (item * total + first) * channels, items * time * channels), dstate: states(dstate),
            partials: part(partials, done * sums, here * sums),
          },
          { ...numbersOf(piece, around, run, channels, unit), total, gRows, tiles, blocks: blocksOf(piece), stateAt: stateAt / unit,
            finalAt: finalAt / unit },
          here * tiles,
        );
      }
      done += here;
    }
    sumPartials(gpu, partials, { first: dweight, inner: channels, second: dbias });
  },
});
