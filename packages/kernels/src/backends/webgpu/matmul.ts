/**
 * Matrix products. What can't be bound at once is cut into pieces (here); a piece runs as a tile product (matmulTile.ts),
 * its inner axis in several pieces when there are few tiles, or as a product of few rows (matmulFew.ts).
 */
import type { matmulKernels } from "../../ops/matmul";
import type { KernelsOf } from "../../signature";
import { DTYPES } from "../../dtype";
import { Tensor } from "../../tensor";
import { boundAs, type Stored, storedAs } from "./half";
import { type Launcher, type Part, part, rowParts } from "./launcher";
import { fewAcross, fewAcrossGroups, fewAlong, fewAlongGroups, MOST_FEW } from "./matmulFew";
import { TILE_PARAMS, tileCode, tileLanes, tileMemory, type TileSize, tileStep } from "./matmulTile";
import { memory } from "./memory";
import { program, variants } from "./program";

/** A matrix, or a batch of them, in a tensor; b may be f16 where it is transposed. Counts are in elements. */
export interface Matrix {
  readonly tensor: Tensor;
  /** Where the first one starts. */
  readonly start: number;
  /** From one stored row to the next. */
  readonly row: number;
  /** From one matrix of the batch to the next; 0 when all are one. */
  readonly stride: number;
  /** Whether it is stored transposed. */
  readonly transposed: boolean;
  /**
   * Rows are a multiple of 4 long and what they have beyond the matrix's columns is finite; a column of k there must meet
   * zeros (the other operand has none, and counts as 0).
   */
  readonly padded?: boolean;
}

/** out[i] (+)= a[i] · b[i]: a [m,k], b [k,n], out [m,n]; an out of stride 0 is the sum of the batch. */
export interface Product {
  readonly a: Matrix;
  readonly b: Matrix;
  readonly out: Matrix;
  readonly batch: number;
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly accumulate: boolean;
}

/** How a piece runs. */
export type Plan =
  | { readonly kind: "few" }
  | { readonly kind: "tile"; readonly size: TileSize; readonly splits: number; readonly stages: 1 | 2 };

/** Groups that keep a large GPU busy: with fewer, tiles are smaller or the inner axis is cut. */
const MANY_LARGE = 256;
const MANY_MEDIUM = 96;
const MANY_SMALL = 128;
/** Numbers of the inner axis that a split has at least, and when it is worth the second kernel to have splits. */
const LEAST_SPLIT = 128;
const WORTH_SPLITS = 512;
/** Longest inner axis that few lanes walk through. */
const LONGEST_FEW = { along: 16384, across: 1024 } as const;

export const matmul = (gpu: Launcher): KernelsOf<typeof matmulKernels> => ({
  matmul({ a, b, out, batch, m, n, k, transposeA, transposeB, aStride, bStride, outStride, accumulate }) {
    multiply(gpu, {
      a: { tensor: a, start: 0, row: transposeA ? m : k, stride: aStride, transposed: transposeA },
      b: { tensor: b, start: 0, row: transposeB ? k : n, stride: bStride, transposed: transposeB },
      out: { tensor: out, start: 0, row: n, stride: outStride, transposed: false },
      batch, m, n, k, accumulate,
    });
  },
});

/** Launches a product of any size. The plan is for tests; each piece has its own unless given. */
export function multiply(gpu: Launcher, product: Product, plan?: Plan): void {
  const { out, batch, m, n, k, accumulate } = product;
  const summed = batch !== 1 && out.stride === 0;
  if (m * n === 0 || (batch === 0 && !summed)) return;
  if (k * batch === 0) {
    if (!accumulate) clear(gpu, product);
    return;
  }
  const sizes = matricesOf(product);
  const fits = (count: number): boolean =>
    sizes.every(({ stride, matrix, bytes }) => bytes * ((count - 1) * stride + matrix) <= gpu.maxBinding);
  if (fits(batch)) multiplyPiece(gpu, { ...product, columns: { a: 0, b: 0, out: 0 } }, plan);
  else if (batch > 1) {
    const each = fits(1) ? rowParts(batch, sizes.map(({ stride, matrix }) => (stride === 0 ? 1 : Math.max(stride, matrix))), gpu.maxBinding)
      : Array.from({ length: batch }, (_, start) => ({ start, count: 1 }));
    for (const { start, count } of each) {
      const from = (matrix: Matrix): Matrix => ({ ...matrix, start: matrix.start + start * matrix.stride });
      multiply(gpu, {
        ...product, a: from(product.a), b: from(product.b), out: from(out), batch: count, accumulate: accumulate || (summed && start > 0),
      }, plan);
    }
  } else multiplyCut(gpu, product, plan);
}

/** Elements that each of the three matrices spans. */
function matricesOf({ a, b, out, m, n, k }: Product): { readonly stride: number; readonly matrix: number; readonly bytes: number }[] {
  const spans = [[a, m, k], [b, k, n], [out, m, n]] as const;
  return spans.map(([matrix, rows, columns]) => ({
    stride: matrix.stride, matrix: (matrix.transposed ? columns : rows) * matrix.row, bytes: DTYPES[matrix.tensor.dtype].bytes,
  }));
}

/** The product when there is nothing to add up. */
function clear(gpu: Launcher, { out, batch, m, n }: Product): void {
  const matrices = out.stride === 0 ? 1 : batch;
  const dense = out.stride === m * n || matrices === 1;
  for (let i = 0; i < (dense ? 1 : matrices); i++) {
    using matrix = out.tensor.window([(dense ? matrices : 1) * m * n], out.start + i * out.stride);
    memory(gpu).fill({ out: matrix, value: 0 });
  }
}

/** One product, cut into rows, columns and pieces of the inner axis, such that the stored rows of each matrix can be bound. */
function multiplyCut(gpu: Launcher, product: Product, plan: Plan | undefined): void {
  const { a, b, out, m, n, k, accumulate } = product;
  const cut = (size: number, ...widths: (number | false)[]) => rowParts(size, widths.filter((width) => width !== false), gpu.maxBinding);
  for (const rows of cut(m, out.row, !a.transposed && a.row)) {
    for (const columns of cut(n, b.transposed && b.row)) {
      for (const inner of cut(k, a.transposed && a.row, !b.transposed && b.row)) {
        const [aRows, aColumns] = a.transposed ? [inner, rows] : [rows, inner];
        const [bRows, bColumns] = b.transposed ? [columns, inner] : [inner, columns];
        multiplyPiece(gpu, {
          a: { ...a, start: a.start + aRows.start * a.row },
          b: { ...b, start: b.start + bRows.start * b.row },
          out: { ...out, start: out.start + rows.start * out.row },
          columns: { a: aColumns.start, b: bColumns.start, out: columns.start },
          batch: 1, m: rows.count, n: columns.count, k: inner.count, accumulate: accumulate || inner.start > 0,
        }, plan);
      }
    }
  }
}

/** A product whose matrices can be bound, with the first column of each within its stored rows. */
interface Piece extends Product {
  readonly columns: { readonly a: number; readonly b: number; readonly out: number };
}

function multiplyPiece(gpu: Launcher, piece: Piece, plan = planOf(gpu, piece)): void {
  if (plan.kind === "few") return multiplyFew(gpu, piece);
  const { a, b, out, columns, batch, m, n, k, accumulate } = piece;
  const { size, stages } = plan;
  const summed = batch !== 1 && out.stride === 0 ? batch : 1;
  const matrices = summed > 1 ? 1 : batch;
  const allSteps = Math.ceil(k / tileStep(size)) * summed;
  const steps = Math.ceil(allSteps / plan.splits);
  const splits = Math.ceil(allSteps / steps);
  const tiles = Math.ceil(m / size) * Math.ceil(n / size);
  const vector = inQuads(a, columns.a, a.transposed ? m : k) && inQuads(b, columns.b, b.transposed ? k : n);
  const params = {
    m, n, k, a_start: columns.a, a_row: a.row, a_stride: a.stride, b_start: columns.b, b_row: b.row, b_stride: b.stride, summed,
    splits, steps,
  };
  const bound = { a: rangeOf(a, columns.a, batch, m, k), b: rangeOf(b, columns.b, batch, k, n) };
  const launch = (target: Part, quads: boolean, outParams: OutParams): void => {
    const kernel = tiled({ size, aAlongK: !a.transposed, bAlongK: b.transposed, stored: storedAs(b.tensor, gpu), vector, quads, stages });
    gpu.run(kernel, { ...bound, out: target }, { ...params, ...outParams }, tiles * splits * matrices);
  };
  const target = rangeOf(out, columns.out, matrices, m, n);
  const quads = inQuads(out, columns.out, n);
  if (splits === 1) {
    launch(target, quads, { out_start: columns.out, out_row: out.row, out_stride: out.stride, out_split: 0,
      accumulate: Number(accumulate) });
    return;
  }
  // Each split leaves its own sum, [splits, matrices, m, n]; the order in which they are added up is fixed.
  using partial = Tensor.empty(out.tensor.device, [splits, matrices, m, n]);
  const length = matrices * m * n;
  launch(part(partial, 0, partial.size), n % 4 === 0, { out_start: 0, out_row: n, out_stride: m * n, out_split: length, accumulate: 0 });
  gpu.run(
    addSplits(quads), { partial, out: target },
    { size: length, n, matrix: m * n, splits, out_start: columns.out, out_row: out.row, out_stride: out.stride,
      accumulate: Number(accumulate) },
    Math.ceil(length / (quads ? 4 : 1) / ADD_WORKGROUP),
  );
}

/** Whether quads of 4 can be read and written from `column` on, along so many contiguous elements. */
const inQuads = ({ row, stride, padded }: Matrix, column: number, contiguous: number): boolean =>
  row % 4 === 0 && stride % 4 === 0 && column % 4 === 0 && (padded === true || contiguous % 4 === 0);

/** The elements from a matrix's first row on to the end of the last one of `count`. */
function rangeOf(matrix: Matrix, column: number, count: number, rows: number, columns: number): Part {
  const [stored, contiguous] = matrix.transposed ? [columns, rows] : [rows, columns];
  const last = matrix.padded ? matrix.row : column + contiguous;
  return part(matrix.tensor, matrix.start, (count - 1) * matrix.stride + (stored - 1) * matrix.row + last);
}

/** Picks the tile size and the number of splits by how many groups they give; few rows have their own kernels. */
function planOf(gpu: Launcher, { a, b, out, batch, m, n, k }: Product): Plan {
  const summed = batch !== 1 && out.stride === 0;
  const matrices = summed ? 1 : batch;
  // Where b is the operand with few columns, the long one is a; there are no kernels for a few of f16.
  if (Math.min(m, n) <= MOST_FEW && !summed && (m <= n || b.tensor.dtype !== "f16")) {
    const along = m <= n ? b.transposed : !a.transposed;
    if (k <= LONGEST_FEW[along ? "along" : "across"]) return { kind: "few" };
  }
  const size = tileSizeFor(m, n, matrices);
  const groups = (of: TileSize): number => Math.ceil(m / of) * Math.ceil(n / of) * matrices;
  const inner = k * (summed ? batch : 1);
  const room = Math.floor(gpu.maxBinding / (4 * matrices * m * n));
  if (groups(size) < MANY_SMALL && inner >= WORTH_SPLITS) {
    const larger = Math.min(m, n) > 32 ? 64 : 32;
    const splits = Math.min(Math.floor(MANY_LARGE / groups(larger)), Math.floor(inner / LEAST_SPLIT), room);
    if (splits > 1) return { kind: "tile", size: larger, splits, stages: stagesFor(gpu, larger) };
  }
  return { kind: "tile", size, splits: 1, stages: stagesFor(gpu, size) };
}

/** The largest tile that gives enough groups and is half full at least. */
export function tileSizeFor(m: number, n: number, matrices: number): TileSize {
  const takes = (size: number, least: number): boolean => Math.min(m, n) > size / 2
    && Math.ceil(m / size) * Math.ceil(n / size) * matrices >= least;
  if (takes(128, MANY_LARGE)) return 128;
  return takes(64, MANY_MEDIUM) ? 64 : 32;
}

/** Two stages where the group's memory has room for them and more. */
export function stagesFor(gpu: Launcher, size: TileSize): 1 | 2 {
  return gpu.groupMemory > tileMemory(size, 2) ? 2 : 1;
}

interface OutParams extends Readonly<Record<string, number>> {
  readonly out_start: number;
  readonly out_row: number;
  readonly out_stride: number;
  readonly out_split: number;
  readonly accumulate: number;
}

/** What the text of {@link tiled} depends on. */
interface TiledVariant {
  readonly size: TileSize;
  readonly aAlongK: boolean;
  readonly bAlongK: boolean;
  readonly stored: Stored;
  readonly vector: boolean;
  readonly quads: boolean;
  readonly stages: 1 | 2;
}

/** out (+)= a · b by tiles; split i writes out_split · i further on. */
const tiled = variants(({ size, aAlongK, bAlongK, stored, vector, quads, stages }: TiledVariant) =>
  program({
    name: "matmul",
    reads: { a: boundAs(vector), b: boundAs(vector, stored) },
    writes: { out: boundAs(quads) },
    params: { ...TILE_PARAMS, out_start: "u32", out_row: "u32", out_stride: "u32", out_split: "u32", accumulate: "u32" },
    workgroup: tileLanes(size),
    code: `
fn store(at: u32, column: u32, value: vec4f) {
  if (column >= params.n) { return; }
  ${quads
    ? "out[at / 4u] = select(value, out[at / 4u] + value, params.accumulate != 0u);"
    : "for (var i = 0u; i < min(4u, params.n - column); i++) { out[at + i] = select(value[i], out[at + i] + value[i], params.accumulate "
      + "!= 0u); }"}
}
${tileCode({ size, aAlongK, bAlongK, b: stored, vector, stages }, (tile) => `
  let base = params.out_start + split * params.out_split + batch * params.out_stride;
  ${Array.from({ length: 4 * tile.quads }, (_, r) => `if (${tile.row(r)} < params.m) {
    let at = base + ${tile.row(r)} * params.out_row;
    ${Array.from({ length: tile.quads }, (_, c) => `store(at + ${tile.column(c)}, ${tile.column(c)}, ${tile.sum(r, c)});`).join(" ")}
  }`).join("\n  ")}`)}`,
  }));

const ADD_WORKGROUP = 64;

/** out (+)= the sum of the splits, one after another; a lane has one number, or a quad of a row. */
const addSplits = variants((vector: boolean) =>
  program({
    name: "matmul.splits",
    reads: { partial: boundAs(vector) },
    writes: { out: boundAs(vector) },
    params: { size: "u32", n: "u32", matrix: "u32", splits: "u32", out_start: "u32", out_row: "u32", out_stride: "u32", accumulate: "u32" },
    workgroup: ADD_WORKGROUP,
    code: `
fn run(group: u32, lane: u32) {
  let at = (group * WORKGROUP + lane) * ${vector ? 4 : 1}u;
  if (at >= params.size) { return; }
  var sum = partial[at / ${vector ? 4 : 1}u];
  for (var i = 1u; i < params.splits; i++) { sum += partial[(i * params.size + at) / ${vector ? 4 : 1}u]; }
  let within = at % params.matrix;
  let to = (params.out_start + at / params.matrix * params.out_stride + within / params.n * params.out_row + within % params.n) / ${vector
    ? 4 : 1}u;
  out[to] = select(sum, out[to] + sum, params.accumulate != 0u);
}`,
  }));

/** The operand with few rows (i, its columns k) and the long one, where out has few rows or few columns. */
function multiplyFew(gpu: Launcher, { a, b, out, columns, batch, m, n, k, accumulate }: Piece): void {
  const byRow = m <= n;
  const [few, long] = byRow ? [a, b] : [b, a];
  const [fewColumn, longColumn] = byRow ? [columns.a, columns.b] : [columns.b, columns.a];
  const [fewCount, longCount] = byRow ? [m, n] : [n, m];
  const count = ([1, 2, 4, 8] as const).find((size) => size >= fewCount)!;
  // k is the contiguous axis of a as it is, and of b transposed.
  const fewAlongK = few.transposed !== byRow;
  const longAlongK = long.transposed === byRow;
  const vector = inQuads(long, longColumn, longAlongK ? k : longCount);
  const fewVector = vector && fewAlongK && inQuads(few, fewColumn, k);
  const buffers = {
    few: byRow ? rangeOf(a, columns.a, batch, m, k) : rangeOf(b, columns.b, batch, k, n),
    long: byRow ? rangeOf(b, columns.b, batch, k, n) : rangeOf(a, columns.a, batch, m, k),
    out: rangeOf(out, columns.out, batch, m, n),
  };
  const params = {
    few: fewCount, long: longCount, k,
    f_start: fewColumn, f_row: fewAlongK ? few.row : 1, f_column: fewAlongK ? 1 : few.row, f_stride: few.stride,
    l_start: longColumn, l_row: long.row, l_stride: long.stride,
    out_start: columns.out, out_few: byRow ? out.row : 1, out_long: byRow ? 1 : out.row, out_stride: out.stride,
    accumulate: Number(accumulate),
  };
  if (longAlongK) {
    const lanes = k <= 64 ? 8 : 32;
    gpu.run(fewAlong({ count, lanes, vector, fewVector, stored: storedAs(long.tensor, gpu) }), buffers, params,
      fewAlongGroups(longCount, lanes) * batch);
  } else gpu.run(fewAcross({ count, vector }), buffers, params, fewAcrossGroups(longCount) * batch);
}
