/**
 * Gradients of weights are sums over all rows. A kernel's groups take blocks of rows and leave a partial sum each; the pass
 * here adds those up. Blocks depend on the shapes alone and all sums have a fixed order: same bits on every run.
 */
import type { Tensor } from "../../tensor";
import { type Launcher, part, rowParts } from "./launcher";
import { program, variants } from "./program";

/** Blocks beyond so many would make the last pass long; then each takes more rows. */
const MOST_BLOCKS = 1024;

/** Rows that a block takes: `least`, or more when there are many rows. */
export function blockRows(rows: number, least: number): number {
  return Math.max(least, Math.ceil(rows / MOST_BLOCKS));
}

/** Columns and slices of rows of a group: neighbouring lanes read neighbouring columns. */
const COLUMNS = 16;
const SLICES = 16;

const sumPartialsProgram = variants((second: boolean) =>
  program({
    name: "sumPartials",
    reads: { partials: "f32" },
    writes: { first: "f32", second: second ? "f32" : undefined },
    params: { rows: "u32", stride: "u32", columns: "u32", ends: "u32", inner: "u32", onto: "u32" },
    workgroup: COLUMNS * SLICES,
    code: `
// Group: ${COLUMNS} columns of partials [rows, stride]. Lane: one of them, every ${SLICES}th row.
var<workgroup> slots: array<f32, ${COLUMNS * SLICES}>;
fn run(group: u32, lane: u32) {
  let column = group * ${COLUMNS}u + lane % ${COLUMNS}u;
  var sums = vec4f();
  if (column < params.columns) {
    var row = lane / ${COLUMNS}u;
    let step = ${SLICES}u * params.stride;
    // Four rows at a time, so that their reads do not wait for one another.
    for (; row + ${3 * SLICES}u < params.rows; row += ${4 * SLICES}u) {
      let at = row * params.stride + column;
      sums += vec4f(partials[at], partials[at + step], partials[at + 2u * step], partials[at + 3u * step]);
    }
    for (; row < params.rows; row += ${SLICES}u) { sums.x += partials[row * params.stride + column]; }
  }
  slots[lane] = (sums.x + sums.y) + (sums.z + sums.w);
  workgroupBarrier();
  if (lane >= ${COLUMNS}u || column >= params.columns) { return; }
  var total = 0.0;
  for (var i = lane; i < ${COLUMNS * SLICES}u; i += ${COLUMNS}u) { total += slots[i]; }
  if (column < params.ends) {
    let at = column % params.inner * (params.ends / params.inner) + column / params.inner;
    first[at] = select(total, first[at] + total, params.onto == 1u);
  }${second ? ` else {
    let at = column - params.ends;
    second[at] = select(total, second[at] + total, params.onto == 1u);
  }` : ""}
}`,
  }));

/**
 * Adds up the rows of `partials` [rows, ...], of which columns that no output takes are left out. Column q goes to `first` for q < its
 * size, transposed from [size / inner, inner] to [inner, size / inner] (as it is unless `inner` is given), else to `second`.
 */
export function sumPartials(
  gpu: Launcher, partials: Tensor, outputs: { first: Tensor; inner?: number; second?: Tensor | null },
): void {
  const { first, inner = first.size, second = null } = outputs;
  const rows = partials.shape[0]!;
  const stride = partials.shape.slice(1).reduce((product, size) => product * size, 1);
  const columns = first.size + (second?.size ?? 0);
  for (const { start, count } of rowParts(rows, [stride], gpu.maxBinding)) {
    gpu.run(
      sumPartialsProgram(second !== null),
      { partials: part(partials, start * stride, count * stride), first, second },
      { rows: count, stride, columns, ends: first.size, inner, onto: Number(start > 0) },
      Math.ceil(columns / COLUMNS),
    );
  }
}
