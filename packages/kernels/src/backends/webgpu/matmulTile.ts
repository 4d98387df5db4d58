/**
 * The tile product: WGSL that multiplies a square tile of the output in registers. The matrix product and the
 * cross-entropy are this with different ends.
 *
 * A group of 2S lanes makes the S by S tile out[row0 .. row0+S, column0 .. column0+S], 16 of the inner axis at a time:
 *  - Every lane fetches one block of 4 by 4 numbers, the first S lanes of a, the others of b, while the group still
 *    multiplies the numbers before. Blocks whose inner axis is the contiguous one are transposed in registers.
 *  - Tiles lie in the group's memory as [16 of k][S/4 quads of rows or columns]. The quads of k are swizzled
 *    (quad ^ 2⌊k/4⌋), so that neighbouring lanes never meet in a bank, when storing or when reading.
 *  - A lane keeps 4A by 4B numbers of the output in registers: S = 128: 8 by 8, S = 64: 8 by 4, S = 32: 4 by 4. Lanes
 *    stand in blocks of 8 by 4, so that 32 of them read 8 quads of b and 4 of a.
 * Beyond the last k both operands count as 0; beyond the last row or column the last one stands in, and is not stored.
 */
import type { BindingType } from "./program";

export type TileSize = 32 | 64 | 128;

export interface TileOptions {
  readonly size: TileSize;
  /** Whether the inner axis is the contiguous one: a as [m,k], b as [n,k]. */
  readonly aAlongK: boolean;
  readonly bAlongK: boolean;
  /** Both are bound as vec4f: rows, starts and strides are multiples of 4, and so is the contiguous axis, unless it is padded. */
  readonly vector: boolean;
  /** 2 fetches into one tile while the other is multiplied: one barrier instead of two, for twice the memory. */
  readonly stages: 1 | 2;
}

/** Numbers that every program with a tile product has: sizes, and where operands start, in elements. */
export const TILE_PARAMS = {
  m: "u32", n: "u32", k: "u32",
  /** First element, from a stored row to the next, from a matrix of the batch to the next. */
  a_start: "u32", a_row: "u32", a_stride: "u32",
  b_start: "u32", b_row: "u32", b_stride: "u32",
  /** So many matrices are added up; 1 unless the output is the sum of the batch. */
  summed: "u32",
  /** The inner axis is cut into so many pieces of so many steps of 16. */
  splits: "u32", steps: "u32",
} as const;

/** What the code after the product may use; see {@link tileCode}. */
export interface TileEnd {
  /** Quads of rows and of columns that a lane has. */
  readonly rowQuads: number;
  readonly columnQuads: number;
  /** Lanes side by side along the columns. */
  readonly lanesAcross: number;
  /** The row, and the first column of a quad, in the whole matrix. */
  row(row: number): string;
  column(quad: number): string;
  /** The quad of rows within the tile. */
  rowQuad(quad: number): string;
  /** The sums of a lane's row in a quad of columns, a vec4f. */
  sum(row: number, quad: number): string;
  /** The group's memory once the product is done (after a barrier): [16][S/4] vec4f each. */
  readonly memory: readonly [string, string];
}

/** Type that an operand or output is bound as. */
export const boundAs = (vector: boolean): BindingType => (vector ? "vec4f" : "f32");

/** Bytes of the group's memory that a tile product takes. */
export const tileMemory = (size: TileSize, stages: 1 | 2): number => 2 * stages * STEP * size * 4;

/** Inner axis of a step. */
export const STEP = 16;
/** Rows of tiles that are worked off together, column by column: what they read stays in the cache. */
const BAND = 8;

/**
 * Declarations and `fn run` of a tile product of `a` and `b` (bindings of these names, numbers {@link TILE_PARAMS}). Groups:
 * batch × splits × tiles. After the product come the statements of `end`, which see `batch`, `split`, `row0`, `column0`,
 * `x` and `y` (the lane's place) and the sums.
 */
export function tileCode(options: TileOptions, end: (tile: TileEnd) => string): string {
  const { size, aAlongK, bAlongK, vector, stages } = options;
  const quads = size / 4;
  const [rowQuads, columnQuads] = size === 32 ? [1, 1] : [2, size / 64];
  const [lanesAcross, lanesDown] = [quads / columnQuads, quads / rowQuads];
  const tile = (name: string, stage: string): string => (stages === 2 ? `${name}[${stage}]` : name);
  const type = stages === 2 ? `array<array<array<vec4f, ${quads}>, ${STEP}>, 2>` : `array<array<vec4f, ${quads}>, ${STEP}>`;
  const rows = Array.from({ length: 4 * rowQuads }, (_, i) => i);
  const columns = Array.from({ length: columnQuads }, (_, i) => i);
  const sum = (row: number, quad: number): string => `c${row}_${quad}`;

  const multiplyAt = (j: number): string => `{
      let k = 4u * q + ${j}u;
      ${rowsOf(rowQuads, (i) => `let a${i} = ${tile("a_tile", "stage")}[k][at_a + ${i * lanesDown}u];`)}
      ${rowsOf(columnQuads, (i) => `let b${i} = ${tile("b_tile", "stage")}[k][at_b + ${i * lanesAcross}u];`)}
      ${rows.flatMap((r) => columns.map((c) => `${sum(r, c)} = fma(vec4f(a${r >> 2}.${"xyzw"[r & 3]}), b${c}, ${sum(r, c)});`)).join("\n      ")}
    }`;
  const fetch = "if (lane < SIZE) { fetched = fetch_a(block, place, k0, matrix); } else { fetched = fetch_b(block, place, k0, matrix); }";
  const store = (stage: string): string => `if (lane < SIZE) { store_a(block, fetched, ${stage}); } else { store_b(block, fetched, ${stage}); }`;
  const next = `
    k0 += ${STEP}u;
    if (k0 >= params.k) { k0 = 0u; matrix++; }`;
  const multiply = `
    for (var q = 0u; q < 4u; q++) {
      let at_a = y ^ (2u * q);
      let at_b = x ^ (2u * q);
      ${[0, 1, 2, 3].map(multiplyAt).join("\n      ")}
    }`;
  const oneStage = `
  for (var step = 0u; step < count; step++) {
    if (step > 0u) { workgroupBarrier(); }
    ${store("0u")}
    workgroupBarrier();
    ${next}
    if (step + 1u < count) { ${fetch} }
    ${multiply}
  }`;
  const twoStages = `
  ${store("0u")}
  for (var step = 0u; step < count; step++) {
    let stage = step & 1u;
    workgroupBarrier();
    ${next}
    if (step + 1u < count) { ${fetch} }
    ${multiply}
    if (step + 1u < count) { ${store("1u - stage")} }
  }`;

  return `
const SIZE = ${size}u;
var<workgroup> a_tile: ${type};
var<workgroup> b_tile: ${type};
${operandCode("a", "m", aAlongK, vector, quads, tile("a_tile", "stage"))}
${operandCode("b", "n", bAlongK, vector, quads, tile("b_tile", "stage"))}

fn run(group: u32, lane: u32) {
  let tiles_down = (params.m + SIZE - 1u) / SIZE;
  let tiles_across = (params.n + SIZE - 1u) / SIZE;
  let tiles = tiles_down * tiles_across;
  let split = group / tiles % params.splits;
  let batch = group / tiles / params.splits;
  let band = group % tiles / (${BAND}u * tiles_across);
  let in_band = group % tiles % (${BAND}u * tiles_across);
  let band_rows = min(${BAND}u, tiles_down - ${BAND}u * band);
  let row0 = SIZE * (${BAND}u * band + in_band % band_rows);
  let column0 = SIZE * (in_band / band_rows);
  // Blocks of 8 by 4 lanes.
  let x = lane % 8u + 8u * (lane / 32u % ${lanesAcross / 8}u);
  let y = lane / 8u % 4u + 4u * (lane / ${4 * lanesAcross}u);

  let matrix_steps = (params.k + ${STEP - 1}u) / ${STEP}u;
  let first = split * params.steps;
  let count = min(params.steps, params.summed * matrix_steps - first);
  var matrix = batch + first / matrix_steps;
  var k0 = first % matrix_steps * ${STEP}u;
  let block = lane % SIZE;
  var place: vec4u;
  if (lane < SIZE) { place = place_a(block, row0); } else { place = place_b(block, column0); }
  var fetched: mat4x4f;
  ${fetch}
  ${rows.flatMap((r) => columns.map((c) => `var ${sum(r, c)} = vec4f();`)).join(" ")}
  ${stages === 2 ? twoStages : oneStage}
  ${end({
    rowQuads, columnQuads, lanesAcross, sum,
    row: (row) => `(row0 + 4u * (y + ${(row >> 2) * lanesDown}u) + ${row & 3}u)`,
    column: (quad) => `(column0 + 4u * (x + ${quad * lanesAcross}u))`,
    rowQuad: (quad) => `(y + ${quad * lanesDown}u)`,
    memory: [tile("a_tile", "0"), tile("b_tile", "0")],
  })}
}`;
}

const rowsOf = (count: number, line: (i: number) => string): string => Array.from({ length: count }, (_, i) => line(i)).join(" ");

/**
 * Three functions of an operand. `place_` is where a lane's block starts, for k = 0: a number for each row of the block
 * (alongK) or each column. `fetch_` reads the block from k0 of a matrix, one k a column of the result. `store_` puts it into the tile.
 */
function operandCode(name: "a" | "b", extent: "m" | "n", alongK: boolean, vector: boolean, quads: number, tile: string): string {
  const size = `params.${extent}`;
  const [start, row, stride] = [`params.${name}_start`, `params.${name}_row`, `params.${name}_stride`];
  // Neighbouring lanes take neighbouring quads of the contiguous axis.
  const [k, quad] = alongK ? ["block % 4u", "block / 4u"] : [`block / ${quads}u`, `block % ${quads}u`];
  const signature = `fn fetch_${name}(block: u32, place: vec4u, k0: u32, matrix: u32) -> mat4x4f`;
  const lanes = ["x", "y", "z", "w"];
  const columns = (column: (lane: string) => string): string => `mat4x4f(\n    ${lanes.map(column).join(",\n    ")})`;
  let place: string;
  let fetch: string;
  if (alongK) {
    place = `${start} + min(vec4u(first + ${quad} * 4u) + vec4u(0u, 1u, 2u, 3u), vec4u(${size} - 1u)) * ${row}`;
    fetch = vector
      ? `
  let k = k0 + ${k} * 4u;
  let inside = k < params.k;
  let at = (place + matrix * ${stride} + select(0u, k, inside)) / 4u;
  return transpose(${columns((i) => `select(vec4f(), ${name}[at.${i}], inside)`)});`
      : `
  let k = vec4u(k0 + ${k} * 4u) + vec4u(0u, 1u, 2u, 3u);
  let inside = k < vec4u(params.k);
  let along = min(k, vec4u(params.k - 1u)) + matrix * ${stride};
  return transpose(${columns((i) => `select(vec4f(), vec4f(${lanes.map((j) => `${name}[place.${i} + along.${j}]`).join(", ")}), inside)`)});`;
  } else {
    place = vector
      ? `vec4u(${start} + select(0u, first + ${quad} * 4u, first + ${quad} * 4u < ${size}))`
      : `${start} + min(vec4u(first + ${quad} * 4u) + vec4u(0u, 1u, 2u, 3u), vec4u(${size} - 1u))`;
    fetch = `
  let k = vec4u(k0 + ${k} * 4u) + vec4u(0u, 1u, 2u, 3u);
  let inside = k < vec4u(params.k);
  let down = min(k, vec4u(params.k - 1u)) * ${row} + matrix * ${stride};${
    vector
      ? `
  let at = (place + down) / 4u;
  return ${columns((i) => `select(vec4f(), ${name}[at.${i}], inside.${i})`)};`
      : `
  return ${columns((i) => `select(vec4f(), vec4f(${lanes.map((j) => `${name}[place.${j} + down.${i}]`).join(", ")}), inside.${i})`)};`}`;
  }
  return `
fn place_${name}(block: u32, first: u32) -> vec4u {
  return ${place};
}
${signature} {${fetch}
}
fn store_${name}(block: u32, values: mat4x4f, stage: u32) {
  let k = 4u * (${k});
  let at = (${quad}) ^ (k / 2u);
  ${rowsOf(4, (i) => `${tile}[k + ${i}u][at] = values[${i}];`)}
}`;
}
