/**
 * Products with few rows (or few columns, with the roles changed): generation one token at a time, and narrow outputs. All
 * the time goes into reading the long operand, so it is read once, coalesced, and every number meets all the few rows.
 *
 *   out[i, j] = Σ_k few[i, k] · long[j, k]      i < few <= 8, j < long
 */
import { boundAs, loadCode, type Stored } from "./half";
import { program, variants } from "./program";

export const MOST_FEW = 8;
const WORKGROUP = 256;

const PARAMS = {
  /** Sizes. */
  few: "u32", long: "u32", k: "u32",
  /** First element, from one i to the next, from one k to the next, from a matrix of the batch to the next. */
  f_start: "u32", f_row: "u32", f_column: "u32", f_stride: "u32",
  /** `l_row` is from one stored row to the next. */
  l_start: "u32", l_row: "u32", l_stride: "u32",
  /** From one i and from one j to the next. */
  out_start: "u32", out_few: "u32", out_long: "u32", out_stride: "u32",
  accumulate: "u32",
} as const;

const each = (count: number, line: (i: number) => string): string => Array.from({ length: count }, (_, i) => line(i)).join("\n  ");

const STORE = `
fn store(at: u32, value: f32) {
  out[at] = select(value, out[at] + value, params.accumulate != 0u);
}`;

/** What the text of {@link fewAlong} depends on. */
interface FewAlongVariant {
  readonly count: 1 | 2 | 4 | 8;
  readonly lanes: 8 | 32;
  readonly vector: boolean;
  readonly fewVector: boolean;
  readonly stored: Stored;
}

/**
 * The long operand is [long, k], of f32 or f16: `lanes` lanes share a row of it, and their sums are added up at the end. Groups: batch ×
 * blocks of 256 / lanes rows.
 */
export const fewAlong = variants(({ count, lanes, vector, fewVector, stored }: FewAlongVariant) => {
  const rows = WORKGROUP / lanes;
  const few = (i: number): string => {
    const at = `f${i} + k`;
    if (!vector) return `few[f${i} + k * params.f_column]`;
    return fewVector ? `few[(${at}) / 4u]` : `vec4f(${[0, 1, 2, 3].map((c) => `few[f${i} + (k + ${c}u) * params.f_column]`).join(", ")})`;
  };
  return program({
    name: "matmul.few",
    reads: { few: boundAs(vector && fewVector), long: boundAs(vector, stored) },
    writes: { out: "f32" },
    params: PARAMS,
    workgroup: WORKGROUP,
    code: `
${loadCode("long", stored, vector)}
const ROWS = ${rows}u;
const LANES = ${lanes}u;
// A row of lanes is one longer than it need be: sums are then read without bank conflicts.
var<workgroup> sums: array<array<f32, ${rows * (lanes + 1)}>, ${count}>;
${STORE}

fn run(group: u32, lane: u32) {
  let blocks = (params.long + ROWS - 1u) / ROWS;
  let batch = group / blocks;
  let row0 = group % blocks * ROWS;
  let row = min(row0 + lane / LANES, params.long - 1u);
  let at = params.l_start + batch * params.l_stride + row * params.l_row;
  ${each(count, (i) => `let f${i} = params.f_start + batch * params.f_stride + min(${i}u, params.few - 1u) * params.f_row;\n  var `
    + `sum${i} = 0.0;`)}
  for (var k = lane % LANES * ${vector ? 4 : 1}u; k < params.k; k += LANES * ${vector ? 4 : 1}u) {
    let value = ${vector ? "load_long((at + k) / 4u)" : "load_long(at + k)"};
    ${each(count, (i) => `sum${i} ${vector ? `+= dot(value, ${few(i)})` : `= fma(value, ${few(i)}, sum${i})`};`)}
  }
  let own = lane / LANES * (LANES + 1u) + lane % LANES;
  ${each(count, (i) => `sums[${i}][own] = sum${i};`)}
  workgroupBarrier();
  let i = lane / ROWS;
  let j = lane % ROWS;
  if (i < min(${count}u, params.few) && row0 + j < params.long) {
    var sum = 0.0;
    for (var t = 0u; t < LANES; t++) { sum += sums[i][j * (LANES + 1u) + t]; }
    store(params.out_start + batch * params.out_stride + i * params.out_few + (row0 + j) * params.out_long, sum);
  }
}`,
  });
});

/** Columns of a group of {@link fewAcross}: 8 lanes of 4; the other lanes take other k. */
const COLUMN_LANES = 8;
const SLICES = WORKGROUP / COLUMN_LANES;

/**
 * The long operand is [k, long]: 8 lanes take 32 columns, and 32 slices of lanes every 32nd k each. Groups: batch × blocks
 * of 32 columns.
 */
export const fewAcross = variants(({ count, vector }: { count: 1 | 2 | 4 | 8; vector: boolean }) =>
  program({
    name: "matmul.few",
    reads: { few: "f32", long: boundAs(vector) },
    writes: { out: "f32" },
    params: PARAMS,
    workgroup: WORKGROUP,
    code: `
const COLUMNS = ${4 * COLUMN_LANES}u;
var<workgroup> sums: array<vec4f, ${WORKGROUP}>;
${STORE}

fn run(group: u32, lane: u32) {
  let blocks = (params.long + COLUMNS - 1u) / COLUMNS;
  let batch = group / blocks;
  let column = group % blocks * COLUMNS + lane % ${COLUMN_LANES}u * 4u;
  let base = params.l_start + batch * params.l_stride;
  ${vector
    ? "let at = base + select(0u, column, column < params.long);"
    : "let at = base + min(vec4u(column) + vec4u(0u, 1u, 2u, 3u), vec4u(params.long - 1u));"}
  ${each(count, (i) => `let f${i} = params.f_start + batch * params.f_stride + min(${i}u, params.few - 1u) * params.f_row;\n  var `
    + `sum${i} = vec4f();`)}
  for (var k = lane / ${COLUMN_LANES}u; k < params.k; k += ${SLICES}u) {
    let down = k * params.l_row;
    let value = ${vector ? "long[(at + down) / 4u]" : `vec4f(${["x", "y", "z", "w"].map((c) => `long[at.${c} + down]`).join(", ")})`};
    ${each(count, (i) => `sum${i} = fma(vec4f(few[f${i} + k * params.f_column]), value, sum${i});`)}
  }
  ${each(count, (i) => `
  sums[lane] = sum${i};
  workgroupBarrier();
  // Each number of the block once more over all slices.
  if (lane < COLUMNS && ${i}u < params.few) {
    let j = column - lane % ${COLUMN_LANES}u * 4u + lane;
    var sum = 0.0;
    for (var t = lane / 4u; t < ${WORKGROUP}u; t += ${COLUMN_LANES}u) { sum += sums[t][lane % 4u]; }
    if (j < params.long) { store(params.out_start + batch * params.out_stride + ${i}u * params.out_few + j * params.out_long, sum); }
  }
  workgroupBarrier();`)}
}`,
  }));

/** Groups of one matrix. */
export const fewAlongGroups = (long: number, lanes: number): number => Math.ceil((long * lanes) / WORKGROUP);
export const fewAcrossGroups = (long: number): number => Math.ceil(long / (4 * COLUMN_LANES));
