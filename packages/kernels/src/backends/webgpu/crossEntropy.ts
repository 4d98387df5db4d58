/**
 * Cross-entropy without the logits. Forward: a tile product keeps of each tile of 32 to 128 columns a row's largest logit and
 * its sum, and a second kernel joins them: two dispatches whatever the sizes. Gradient: the logits' gradient is made in
 * tiles of at most {@link TILE_LOGITS}, each multiplied with the weight and with the hidden states.
 */
import type { crossEntropyKernels } from "../../ops/crossEntropy";
import type { KernelsOf } from "../../signature";
import { Tensor } from "../../tensor";
import { joinGroups, joinSums, logitGradients, logitSums } from "./crossEntropyShaders";
import { storedAs } from "./half";
import { type Launcher, part, type RowRange, rowParts } from "./launcher";
import { multiply, stagesFor, tileSizeFor } from "./matmul";
import { tileStep } from "./matmulTile";
import { memory } from "./memory";

/** Logits whose gradients are held at once (32 MiB). */
const TILE_LOGITS = 1 << 23;
/** Rows of a tile in the gradient: many, since each tile reads and writes the hidden states' gradient again. */
const TILE_ROWS = 1 << 15;

/** What all tile products of one call have in common; `rows` of the hidden states with `columns` of the vocabulary. */
interface Tile {
  readonly hidden: Tensor;
  readonly weight: Tensor;
  readonly targets: Tensor;
  readonly rows: RowRange;
  readonly columns: RowRange;
  readonly width: number;
  readonly vocabulary: number;
}

function tileOf(gpu: Launcher, { hidden, weight, targets, rows, columns, width, vocabulary }: Tile) {
  const [m, n] = [rows.count, columns.count];
  const size = tileSizeFor(m, n, 1);
  return {
    variant: [size, width % 4 === 0, stagesFor(gpu, size)] as const,
    buffers: {
      a: part(hidden, rows.start * width, m * width), b: part(weight, columns.start * width, n * width),
      targets: part(targets, rows.start, m),
    },
    params: {
      m, n, k: width, a_start: 0, a_row: width, a_stride: 0, b_start: 0, b_row: width, b_stride: 0,
      summed: 1, splits: 1, steps: Math.ceil(width / tileStep(size)), vocabulary, first_column: columns.start,
    },
    groups: Math.ceil(m / size) * Math.ceil(n / size),
    across: Math.ceil(n / size),
  };
}

export const crossEntropy = (gpu: Launcher): KernelsOf<typeof crossEntropyKernels> => ({
  crossEntropy({ hidden, weight, targets, losses, rows: allRows, width, vocabulary }) {
    const logsumexp = Tensor.empty(hidden.device, [allRows]);
    const columnParts = rowParts(vocabulary, [width], gpu.maxBinding);
    // Two numbers a row for each tile, at most (tiles are 32 columns at least).
    const most = columnParts.reduce((sum, { count }) => sum + Math.ceil(count / 32), 0);
    for (const rows of rowParts(allRows, [width, 2 * most], gpu.maxBinding)) {
      const tiles = columnParts.map((columns) => tileOf(gpu, { hidden, weight, targets, rows, columns, width, vocabulary }));
      const total = tiles.reduce((sum, { across }) => sum + across, 0);
      using partials = Tensor.empty(hidden.device, [total, 2, rows.count]);
      const ofRows = { losses: part(losses, rows.start, rows.count), partials };
      let firstTile = 0;
      for (const { variant, buffers, params, groups, across } of tiles) {
        gpu.run(logitSums(...variant, storedAs(weight, gpu)), { ...buffers, ...ofRows }, { ...params, first_tile: firstTile }, groups);
        firstTile += across;
      }
      gpu.run(
        joinSums, { ...ofRows, targets: part(targets, rows.start, rows.count), logsumexp: part(logsumexp, rows.start, rows.count) },
        { rows: rows.count, tiles: total }, joinGroups(rows.count),
      );
    }
    return { logsumexp };
  },

  crossEntropyGradient({ hidden, weight, targets, saved: { logsumexp }, dlosses, dhidden, dweight, rows: allRows, width, vocabulary }) {
    if (allRows === 0 && dweight) memory(gpu).fill({ out: dweight, value: 0 });
    if (allRows === 0 || (!dhidden && !dweight)) return;
    const rowRanges = ranges(allRows, Math.min(TILE_ROWS, Math.floor(gpu.maxBinding / 16)), [width], gpu);
    const tileRows = rowRanges[0]!.count;
    const room = Math.floor(Math.min(TILE_LOGITS, gpu.maxBinding / 4) / tileRows);
    for (const columns of ranges(vocabulary, Math.max(4, room - (room % 4)), [width], gpu)) {
      const padded = 4 * Math.ceil(columns.count / 4);
      for (const rows of rowRanges) {
        using dz = Tensor.empty(hidden.device, [rows.count, padded]);
        const { variant, buffers, params, groups } = tileOf(gpu, { hidden, weight, targets, rows, columns, width, vocabulary });
        const ofRows = { logsumexp: part(logsumexp, rows.start, rows.count), dlosses: part(dlosses, rows.start, rows.count) };
        gpu.run(logitGradients(...variant), { ...buffers, ...ofRows, dz }, { ...params, dz_row: padded }, groups);
        const logits = { tensor: dz, start: 0, row: padded, stride: 0, padded: true };
        const matrix = (tensor: Tensor, start: number) => ({ tensor, start: start * width, row: width, stride: 0, transposed: false });
        if (dhidden) {
          multiply(gpu, {
            a: { ...logits, transposed: false }, b: matrix(weight, columns.start), out: matrix(dhidden, rows.start),
            batch: 1, m: rows.count, n: width, k: columns.count, accumulate: columns.start > 0,
          });
        }
        if (dweight) {
          multiply(gpu, {
            a: { ...logits, transposed: true }, b: matrix(hidden, rows.start), out: matrix(dweight, columns.start),
            batch: 1, m: columns.count, n: width, k: rows.count, accumulate: rows.start > 0,
          });
        }
      }
    }
  },
});

/** Ranges of at most `most` rows that can be bound, about even. */
function ranges(rows: number, most: number, widths: readonly number[], gpu: Launcher): RowRange[] {
  const fitting = rowParts(rows, widths, gpu.maxBinding)[0]!.count;
  const pieces = Math.ceil(rows / Math.min(most, fitting));
  const even = Math.ceil(rows / pieces);
  // Whole blocks of 64 rows start where bindings may.
  const count = even > 64 && Math.ceil(even / 64) * 64 <= Math.min(most, fitting) ? Math.ceil(even / 64) * 64 : even;
  return Array.from({ length: Math.ceil(rows / count) }, (_, i) => ({ start: i * count, count: Math.min(count, rows - i * count) }));
}
