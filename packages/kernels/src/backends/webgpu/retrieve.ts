/**
 * Retrieval: products of queries and landmarks, a tile of scores at a time, and a ranking of each row of the tile: the best of
 * a stretch of landmarks, joined in the end. Where all scores fit one tile, and there are rows enough for the stretches to be whole, that
 * is two dispatches. Scores are summed along the width in one order whatever the sizes, so that a query finds the same alone as among
 * others.
 */
import { type retrieveKernels, visibleLandmarks } from "../../ops/retrieve";
import type { ArgumentsOf, KernelsOf } from "../../signature";
import { Tensor } from "../../tensor";
import { type Launcher, part, type RowRange, rowParts } from "./launcher";
import { multiply, stagesFor, tileSizeFor } from "./matmul";
import { memory } from "./memory";
import { joinRanks, landmarkGradients, landmarkSlices, landmarkTiles, queryGradients, rankScores, RANK_LANES } from "./retrieveShaders";

/** Scores that are held at once (4 MiB). */
const TILE_SCORES = 1 << 20;
/** Columns of a tile beyond which rows are preferred: fewer would leave many lists of the best to join. */
const WIDE_TILE = 1 << 14;
/** Groups that keep a large GPU busy, and columns that are worth one. */
const MANY_GROUPS = 512;
const LEAST_STRETCH = 1024;

type ForwardArgs = ArgumentsOf<typeof retrieveKernels.retrieve>;
type GradientArgs = ArgumentsOf<typeof retrieveKernels.retrieveGradient>;

export const retrieve = (gpu: Launcher): KernelsOf<typeof retrieveKernels> => ({
  retrieve(args) {
    const { batch, queryCount, landmarkCount } = args;
    const room = Math.min(TILE_SCORES, Math.floor(gpu.maxBinding / 4));
    const visible = visibleLandmarks(queryCount - 1, args.first, landmarkCount);
    if (queryCount * visible <= room) {
      for (const sequences of ranges(batch, Math.floor(room / Math.max(1, queryCount * visible))))
        retrieveRows(gpu, args, sequences, { start: 0, count: queryCount }, room);
      return;
    }
    const most = Math.min(queryCount, Math.max(1, Math.floor(room / Math.min(visible, WIDE_TILE))));
    for (const sequences of ranges(batch, 1)) {
      for (const rows of ranges(queryCount, most > 64 ? most - (most % 64) : most)) retrieveRows(gpu, args, sequences, rows, room);
    }
  },
  retrieveGradient(args) {
    const { indices, dqueries, dlandmarks } = args;
    if (indices.size === 0 || args.landmarkCount === 0) {
      for (const out of [dqueries, dlandmarks]) if (out && out.size > 0) memory(gpu).fill({ out, value: 0 });
      return;
    }
    using ds = Tensor.empty(indices.device, indices.shape);
    gradientOfQueries(gpu, args, ds);
    if (dlandmarks) gradientOfLandmarks(gpu, args, ds, dlandmarks);
  },
});

/** Ranges of at most `most` of `count` things. */
function ranges(count: number, most: number): RowRange[] {
  const step = Math.max(1, Math.min(count, most));
  return Array.from({ length: Math.ceil(count / step) }, (_, i) => ({ start: i * step, count: Math.min(step, count - i * step) }));
}

/** Some rows of some sequences, all of them where there are several. */
function retrieveRows(gpu: Launcher, args: ForwardArgs, sequences: RowRange, rows: RowRange, room: number): void {
  const { queries, landmarks, indices, weights, queryCount, landmarkCount, width, k, first, noise } = args;
  const allRows = sequences.count * rows.count;
  const firstRow = sequences.start * queryCount + rows.start;
  const results = { indices: part(indices, firstRow * k, allRows * k), weights: part(weights, firstRow * k, allRows * k) };
  const visible = visibleLandmarks(rows.start + rows.count - 1, first, landmarkCount);
  if (visible <= 0) {
    for (const [out, value] of [[indices, -1], [weights, 0]] as const) {
      using window = out.window([allRows * k], firstRow * k);
      memory(gpu).fill({ out: window, value });
    }
    return;
  }
  const columns = Math.floor(room / allRows);
  const tiles = ranges(visible, columns > 64 ? columns - (columns % 64) : columns).map((tile) => {
    const splits = Math.min(Math.ceil(MANY_GROUPS / allRows), Math.ceil(tile.count / LEAST_STRETCH));
    const stretch = Math.ceil(tile.count / splits / RANK_LANES) * RANK_LANES;
    return { ...tile, stretch, splits: Math.ceil(tile.count / stretch) };
  });
  const parts = tiles.reduce((sum, { splits }) => sum + splits, 0);
  const partials = parts > 1 ? Tensor.empty(indices.device, [3, allRows, parts, k], "i32") : null;
  let firstPart = 0;
  for (const { start, count, stretch, splits } of tiles) {
    using scores = Tensor.empty(queries.device, [sequences.count, rows.count, count]);
    const size = tileSizeFor(rows.count, count, sequences.count);
    multiply(gpu, {
      a: { tensor: queries, start: firstRow * width, row: width, stride: queryCount * width, transposed: false },
      b: { tensor: landmarks, start: (sequences.start * landmarkCount + start) * width, row: width, stride: landmarkCount * width,
        transposed: true },
      out: { tensor: scores, start: 0, row: count, stride: rows.count * count, transposed: false },
      batch: sequences.count, m: rows.count, n: count, k: width, accumulate: false,
    }, { kind: "tile", size, splits: 1, stages: stagesFor(gpu, size) });
    const [low, high] = noise ?? [0, 0];
    gpu.run(
      rankScores({ noisy: noise !== null, final: partials === null }), { scores, partials, ...results },
      {
        sequences: sequences.count, rows: rows.count, columns: count, k, lead: first + rows.start - start, splits, stretch, parts,
        first_part: firstPart,
        scale: 1 / Math.sqrt(width), first_column: start, all_rows: queryCount, first_row: firstRow, landmarks: landmarkCount, key_low: low,
        key_high: high,
      },
      allRows * splits,
    );
    firstPart += splits;
  }
  if (!partials) return;
  gpu.run(joinRanks, { partials, ...results }, { k, size: allRows * parts * k, slots: parts * k }, allRows);
  partials.dispose();
}

/** Whether numbers of the width go by fours, and how many such units there are. */
const unitsOf = (width: number) => (width % 4 === 0 ? { vector: true, units: width / 4 } : { vector: false, units: width });

function gradientOfQueries(gpu: Launcher, args: GradientArgs, ds: Tensor): void {
  const { landmarks, indices, weights, dweights, dqueries, batch, queryCount, landmarkCount, width, k } = args;
  const { vector, units } = unitsOf(width);
  const seen = dqueries ? rowParts(batch * landmarkCount, [width], gpu.maxBinding) : [{ start: 0, count: 0 }];
  for (const rows of rowParts(batch * queryCount, [width, k], gpu.maxBinding)) {
    const lists = (t: Tensor) => part(t, rows.start * k, rows.count * k);
    for (const range of seen) {
      gpu.run(
        queryGradients({ vector, wanted: dqueries !== null }),
        {
          indices: lists(indices), weights: lists(weights), dweights: lists(dweights), ds: lists(ds),
          landmarks: part(landmarks, range.start * width, range.count * width), dqueries: dqueries
            && part(dqueries, rows.start * width, rows.count * width),
        },
        {
          k, width: units, first_row: rows.start, all_rows: queryCount, all_landmarks: landmarkCount, first_landmark: range.start,
          landmark_count: range.count, onto: Number(range.start > 0), scale: 1 / Math.sqrt(width),
        },
        rows.count,
      );
    }
  }
}

function gradientOfLandmarks(gpu: Launcher, args: GradientArgs, ds: Tensor, dlandmarks: Tensor): void {
  const { queries, indices, batch, queryCount, landmarkCount, width, k } = args;
  const { vector, units } = unitsOf(width);
  const launch = (sequences: RowRange, rows: RowRange, kept: RowRange): void => {
    const query = sequences.start * queryCount + rows.start;
    const landmark = sequences.start * landmarkCount + kept.start;
    const [queryRows, landmarkRows] = [sequences.count * rows.count, sequences.count * kept.count];
    const tiles = landmarkTiles(kept.count);
    const slices = landmarkSlices(units);
    gpu.run(
      landmarkGradients(vector),
      {
        indices: part(indices, query * k, queryRows * k), ds: part(ds, query * k, queryRows * k),
        queries: part(queries, query * width, queryRows * width),
        dlandmarks: part(dlandmarks, landmark * width, landmarkRows * width),
      },
      { k, width: units, entries: rows.count * k, count: kept.count, first_landmark: kept.start, tiles, slices,
        onto: Number(rows.start > 0) },
      sequences.count * tiles * slices,
    );
  };
  const fits = (rows: number, widths: readonly number[]): boolean => rows * Math.max(...widths) * 4 <= gpu.maxBinding;
  if (fits(batch * queryCount, [width, k]) && fits(batch * landmarkCount, [width])) {
    launch({ start: 0, count: batch }, { start: 0, count: queryCount }, { start: 0, count: landmarkCount });
    return;
  }
  for (const sequence of ranges(batch, 1)) {
    for (const kept of rowParts(landmarkCount, [width], gpu.maxBinding)) {
      for (const rows of rowParts(queryCount, [width, k], gpu.maxBinding)) launch(sequence, rows, kept);
    }
  }
}
