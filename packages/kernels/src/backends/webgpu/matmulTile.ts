/**
 * The tile product: WGSL that multiplies a square tile of the output in registers. The matrix product and the
 * cross-entropy are this with different ends.
 *
 * A group makes the tile out[row0 .. row0 + size, column0 .. column0 + size], a step of the inner axis at a time:
 *  - Every lane fetches one block of 4 by 4 numbers, half of the lanes of a, the others of b, while the group still
 *    multiplies the numbers before. Blocks whose inner axis is the contiguous one are transposed in registers.
 *  - Tiles lie in the group's memory as [step of k][size / 4 quads of rows or columns]. The quads are swizzled by ⌊k/4⌋, so
 *    that 8 neighbouring lanes never meet in a bank, when storing or when reading.
 *  - A lane keeps 8 by 8 numbers of the output in registers (4 by 4 in the smallest tile). Lanes stand in blocks of 8 by 4,
 *    so that 32 of them read 8 quads of b and 4 of a.
 * Beyond the last k both operands count as 0; beyond the last row or column the last one stands in, and is not stored.
 */
import { loadCode, type Stored } from "./half";

export type TileSize = 32 | 64 | 128;

export interface TileOptions {
  readonly size: TileSize;
  /** Whether the inner axis is the contiguous one: a as [m,k], b as [n,k]. */
  readonly aAlongK: boolean;
  readonly bAlongK: boolean;
  /** How b is stored; a is f32. */
  readonly b?: Stored;
  /** Both are bound as vectors of four: rows, starts and strides are multiples of 4, and so is the contiguous axis, unless it is padded. */
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
  /** The inner axis is cut into so many pieces of so many steps. */
  splits: "u32", steps: "u32",
} as const;

/** What the code after the product may use; see {@link tileCode}. */
export interface TileEnd {
  /** Quads of rows, and of columns, that a lane has. */
  readonly quads: number;
  /** Lanes side by side along the columns. */
  readonly lanesAcross: number;
  /** The row, and the first column of a quad, in the whole matrix. */
  row(row: number): string;
  column(quad: number): string;
  /** The quad of rows within the tile. */
  rowQuad(quad: number): string;
  /** The sums of a lane's row in a quad of columns, a vec4f. */
  sum(row: number, quad: number): string;
  /** The group's memory once the product is done (after a barrier): at least [lanesAcross][size / 4] vec4f each. */
  readonly memory: readonly [string, string];
}

interface Shape {
  readonly lanes: number;
  /** Numbers of the inner axis in a step: lanes · 8 / size, one block a lane. */
  readonly step: number;
  /** Quads of rows, and of columns, that a lane has. */
  readonly quads: 1 | 2;
}

const SHAPES: Readonly<Record<TileSize, Shape>> = {
  32: { lanes: 64, step: 16, quads: 1 },
  64: { lanes: 64, step: 8, quads: 2 },
  128: { lanes: 256, step: 16, quads: 2 },
};

/** Lanes of a group, and numbers of the inner axis in a step. */
export const tileLanes = (size: TileSize): number => SHAPES[size].lanes;
export const tileStep = (size: TileSize): number => SHAPES[size].step;

/** Bytes of the group's memory that a tile product takes. */
export const tileMemory = (size: TileSize, stages: 1 | 2): number => 2 * stages * tileStep(size) * size * 4;

/** Rows of tiles that are worked off together, column by column: what they read stays in the cache. */
const BAND = 8;

/**
 * Declarations and `fn run` of a tile product of `a` and `b` (bindings of these names, numbers {@link TILE_PARAMS}). Groups:
 * batch × splits × tiles. After the product come the statements of `end`, which see `batch`, `split`, `row0`, `column0`,
 * `x` and `y` (the lane's place) and the sums.
 */
export function tileCode(options: TileOptions, end: (tile: TileEnd) => string): string {
  const { size, aAlongK, bAlongK, b = "f32", vector, stages } = options;
  const { lanes, step, quads } = SHAPES[size];
  const across = size / 4;
  /** Lanes side by side, and one below the other. */
  const lanesAcross = across / quads;
  const tile = (name: string, stage: string): string => (stages === 2 ? `${name}[${stage}]` : name);
  const type = stages === 2 ? `array<array<array<vec4f, ${across}>, ${step}>, 2>` : `array<array<vec4f, ${across}>, ${step}>`;
  const rows = Array.from({ length: 4 * quads }, (_, i) => i);
  const columns = Array.from({ length: quads }, (_, i) => i);
  const sum = (row: number, quad: number): string => `c${row}_${quad}`;

  const multiplyAt = (j: number): string => `{
      let k = 4u * q + ${j}u;
      ${rowsOf(quads, (i) => `let a${i} = ${tile("a_tile", "stage")}[k][at_a + ${i * lanesAcross}u];`)}
      ${rowsOf(quads, (i) => `let b${i} = ${tile("b_tile", "stage")}[k][at_b + ${i * lanesAcross}u];`)}
      ${rows.flatMap((r) => columns.map((c) => `${sum(r, c)} = fma(vec4f(a${r >> 2}.${"xyzw"[r & 3]}), b${c}, ${sum(r, c)});`))
        .join("\n      ")}
    }`;
  const fetch = "if (lane < HALF) { fetched = fetch_a(block, place, k0, matrix); } else { fetched = fetch_b(block, place, k0, matrix); }";
  const store = (stage: string): string =>
    `if (lane < HALF) { store_a(block, fetched, ${stage}); } else { store_b(block, fetched, ${stage}); }`;
  const next = `
    k0 += STEP;
    if (k0 >= params.k) { k0 = 0u; matrix++; }`;
  const multiply = `
    for (var q = 0u; q < STEP / 4u; q++) {
      let at_a = y ^ (q * SWIZZLE);
      let at_b = x ^ (q * SWIZZLE);
      ${[0, 1, 2, 3].map(multiplyAt).join("\n      ")}
    }`;
  const oneStage = `
  for (var i = 0u; i < count; i++) {
    if (i > 0u) { workgroupBarrier(); }
    ${store("0u")}
    workgroupBarrier();
    ${next}
    if (i + 1u < count) { ${fetch} }
    ${multiply}
  }`;
  const twoStages = `
  ${store("0u")}
  for (var i = 0u; i < count; i++) {
    let stage = i & 1u;
    workgroupBarrier();
    ${next}
    if (i + 1u < count) { ${fetch} }
    ${multiply}
    if (i + 1u < count) { ${store("1u - stage")} }
  }`;

  return `
const SIZE = ${size}u;
const STEP = ${step}u;
const HALF = ${lanes / 2}u;
// Lanes of 8 blocks in a row, with STEP / 4 different quads of k, store into 8 different quads modulo 8.
const SWIZZLE = ${32 / step}u;
var<workgroup> a_tile: ${type};
var<workgroup> b_tile: ${type};
${loadCode("a", "f32", vector)}
${loadCode("b", b, vector)}
${operandCode("a", "m", aAlongK, vector, size, step, tile("a_tile", "stage"))}
${operandCode("b", "n", bAlongK, vector, size, step, tile("b_tile", "stage"))}

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

  let matrix_steps = (params.k + STEP - 1u) / STEP;
  let first = split * params.steps;
  let count = min(params.steps, params.summed * matrix_steps - first);
  var matrix = batch + first / matrix_steps;
  var k0 = first % matrix_steps * STEP;
  let block = lane % HALF;
  var place: vec4u;
  if (lane < HALF) { place = place_a(block, row0); } else { place = place_b(block, column0); }
  var fetched: mat4x4f;
  ${fetch}
  ${rows.flatMap((r) => columns.map((c) => `var ${sum(r, c)} = vec4f();`)).join(" ")}
  ${stages === 2 ? twoStages : oneStage}
  ${end({
    quads, lanesAcross, sum,
    row: (row) => `(row0 + 4u * (y + ${(row >> 2) * lanesAcross}u) + ${row & 3}u)`,
    column: (quad) => `(column0 + 4u * (x + ${quad * lanesAcross}u))`,
    rowQuad: (quad) => `(y + ${quad * lanesAcross}u)`,
    memory: [tile("a_tile", "0"), tile("b_tile", "0")],
  })}
}`;
}

const rowsOf = (count: number, line: (i: number) => string): string => Array.from({ length: count }, (_, i) => line(i)).join(" ");

/**
 * Three functions of an operand. `place_` is where a lane's block starts, for k = 0: a number for each row of the block
 * (alongK) or each column. `fetch_` reads the block from k0 of a matrix, one k a column of the result. `store_` puts it into the tile.
 */
function operandCode(name: "a" | "b", extent: "m" | "n", alongK: boolean, vector: boolean, extentOfTile: number, step: number,
  tile: string): string {
  const size = `params.${extent}`;
  const [start, row, stride] = [`params.${name}_start`, `params.${name}_row`, `params.${name}_stride`];
  // Neighbouring lanes take neighbouring quads of the contiguous axis.
  const [quadsOfK, quads] = [step / 4, extentOfTile / 4];
  const [k, quad] = alongK ? [`block % ${quadsOfK}u`, `block / ${quadsOfK}u`] : [`block / ${quads}u`, `block % ${quads}u`];
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
  return transpose(${columns((i) => `select(vec4f(), load_${name}(at.${i}), inside)`)});`
      : `
  let k = vec4u(k0 + ${k} * 4u) + vec4u(0u, 1u, 2u, 3u);
  let inside = k < vec4u(params.k);
  let along = min(k, vec4u(params.k - 1u)) + matrix * ${stride};
  return transpose(${columns((i) =>
    `select(vec4f(), vec4f(${lanes.map((j) => `load_${name}(place.${i} + along.${j})`).join(", ")}), inside)`)});`;
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
  return ${columns((i) => `select(vec4f(), load_${name}(at.${i}), inside.${i})`)};`
      : `
  return ${columns((i) => `select(vec4f(), vec4f(${lanes.map((j) => `load_${name}(place.${j} + down.${i})`).join(", ")}), `
    + `inside.${i})`)};`}`;
  }
  return `
fn place_${name}(block: u32, first: u32) -> vec4u {
  return ${place};
}
${signature} {${fetch}
}
fn store_${name}(block: u32, values: mat4x4f, stage: u32) {
  let q = ${k};
  let at = (${quad}) ^ (q * SWIZZLE);
  ${rowsOf(4, (i) => `${tile}[4u * q + ${i}u][at] = values[${i}];`)}
}`;
}
