/**
 * The cross-entropy's programs: tile products of hidden states (a, [rows, width]) and weight (b, [vocabulary, width]) whose
 * ends turn the logits, while they are in registers, into what is kept of them.
 */
import { boundAs, type Stored } from "./half";
import { TILE_PARAMS, tileCode, type TileEnd, tileLanes, type TileSize } from "./matmulTile";
import { program, variants } from "./program";
import { EXP, MATH } from "./wgsl";

/**
 * Helpers of the ends. They take WGSL's own exp, whose error grows with |x|: here x <= 0 but for rounding, and what it is the
 * further off of is the smaller.
 */
const VECTORS = `
// By selection: indices that are not constants may cost a trip through memory.
fn component(x: vec4f, i: u32) -> f32 { return select(select(x.x, x.y, i == 1u), select(x.z, x.w, i == 3u), i > 1u); }
// Which of a quad's columns there are.
fn present(column: u32) -> vec4<bool> { return vec4u(column) + vec4u(0u, 1u, 2u, 3u) < vec4u(params.n); }`;

/** Below all logits; what is not there counts as this. */
const LOWEST = "-3.4e38";

const each = (count: number, line: (i: number) => string): string => Array.from({ length: count }, (_, i) => line(i)).join("\n  ");

/**
 * Of each row and tile of columns, into `partials` [tiles, 2, rows]: the largest logit, and Σ exp(logit - largest). The logit
 * of a row's target goes into `losses`. The columns are those of a part of the vocabulary: `first_column` on, tile
 * `first_tile` on.
 */
export const logitSums = variants((size: TileSize, vector: boolean, stages: 1 | 2, stored: Stored) =>
  program({
    name: "crossEntropy.logits",
    reads: { a: boundAs(vector), b: boundAs(vector, stored), targets: "i32" },
    writes: { losses: "f32", partials: "f32" },
    params: { ...TILE_PARAMS, vocabulary: "u32", first_column: "u32", first_tile: "u32" },
    workgroup: tileLanes(size),
    code: EXP + VECTORS + tileCode({ size, aAlongK: true, bAlongK: true, b: stored, vector, stages }, sumsEnd(size)),
  }));

const sumsEnd = (size: TileSize) => ({ quads, lanesAcross, row, column, rowQuad, sum, memory: [most, sums] }: TileEnd): string => {
  // A lane's row: its target if it is here, its largest, its sum.
  const ofRow = (r: number): string => `
  {
    let row = ${row(r)};
    let target_column = min(u32(targets[min(row, params.m - 1u)]), params.vocabulary - 1u) - params.first_column;
    let here = row < params.m && targets[min(row, params.m - 1u)] >= 0 && target_column < params.n;
    ${each(quads, (c) => `if (here && target_column - ${column(c)} < 4u) {
      losses[row] = component(${sum(r, c)}, target_column - ${column(c)});
    }
    let z${c} = select(vec4f(${LOWEST}), ${sum(r, c)}, present(${column(c)}));
    most4 = ${c === 0 ? "z0" : `max(most4, z${c})`};`)}
    let most = max(max(most4.x, most4.y), max(most4.z, most4.w));
    sum4 = vec4f();
    ${each(quads, (c) => `sum4 += select(vec4f(), exp_four(z${c} - most), present(${column(c)}));`)}
    most_of_rows[${r & 3}] = most;
    sum_of_rows[${r & 3}] = sum4.x + sum4.y + sum4.z + sum4.w;
  }`;
  return `
  var most4: vec4f;
  var sum4: vec4f;
  var most_of_rows: vec4f;
  var sum_of_rows: vec4f;
  // The tiles are done with: their memory takes [lanes across][quads of rows].
  workgroupBarrier();
  ${each(quads, (q) => `${[0, 1, 2, 3].map((i) => ofRow(4 * q + i)).join("")}
  ${most}[x][${rowQuad(q)}] = most_of_rows;
  ${sums}[x][${rowQuad(q)}] = sum_of_rows;`)}
  workgroupBarrier();
  if (lane < ${size / 4}u) {
    var largest = ${most}[0][lane];
    for (var i = 1u; i < ${lanesAcross}u; i++) { largest = max(largest, ${most}[i][lane]); }
    var total = vec4f();
    for (var i = 0u; i < ${lanesAcross}u; i++) { total += ${sums}[i][lane] * exp(${most}[i][lane] - largest); }
    let tile = params.first_tile + column0 / SIZE;
    for (var i = 0u; i < 4u; i++) {
      let row = row0 + 4u * lane + i;
      if (row < params.m) {
        partials[2u * tile * params.m + row] = largest[i];
        partials[(2u * tile + 1u) * params.m + row] = total[i];
      }
    }
  }`;
};

const JOIN_ROWS = 32;
const JOIN_SLICES = 8;

/** Joins a row's partials to its logsumexp, and makes its loss. Groups of 32 rows; 8 lanes take every 8th tile each. */
export const joinSums = program({
  name: "crossEntropy.join",
  reads: { partials: "f32", targets: "i32" },
  writes: { losses: "f32", logsumexp: "f32" },
  params: { rows: "u32", tiles: "u32" },
  workgroup: JOIN_ROWS * JOIN_SLICES,
  code: `
${MATH}
var<workgroup> slices: array<vec2f, ${JOIN_ROWS * JOIN_SLICES}>;
// (largest, Σ exp(· - largest)) of two sets together.
fn join(a: vec2f, b: vec2f) -> vec2f {
  let largest = max(a.x, b.x);
  return vec2f(largest, a.y * fine_exp(a.x - largest) + b.y * fine_exp(b.x - largest));
}

fn run(group: u32, lane: u32) {
  let row = group * ${JOIN_ROWS}u + lane % ${JOIN_ROWS}u;
  var own = vec2f(${LOWEST}, 0.0);
  if (row < params.rows) {
    for (var tile = lane / ${JOIN_ROWS}u; tile < params.tiles; tile += ${JOIN_SLICES}u) {
      own = join(own, vec2f(partials[2u * tile * params.rows + row], partials[(2u * tile + 1u) * params.rows + row]));
    }
  }
  slices[lane] = own;
  workgroupBarrier();
  if (lane < ${JOIN_ROWS}u && row < params.rows) {
    for (var i = 1u; i < ${JOIN_SLICES}u; i++) { own = join(own, slices[i * ${JOIN_ROWS}u + lane]); }
    let s = own.x + fine_log(own.y);
    let counts = targets[row] >= 0;
    logsumexp[row] = select(0.0, s, counts);
    losses[row] = select(0.0, s - losses[row], counts);
  }
}`,
});

export const joinGroups = (rows: number): number => Math.ceil(rows / JOIN_ROWS);

/**
 * The gradient of the logits, dz [rows, dz_row]: dlosses · (exp(logit - logsumexp) - [column = target]), for the part of the
 * vocabulary from `first_column` on; 0 where the target is ignored, and in what pads a row to whole quads.
 */
export const logitGradients = variants((size: TileSize, vector: boolean, stages: 1 | 2) =>
  program({
    name: "crossEntropy.gradient",
    reads: { a: boundAs(vector), b: boundAs(vector), targets: "i32", logsumexp: "f32", dlosses: "f32" },
    writes: { dz: "vec4f" },
    params: { ...TILE_PARAMS, vocabulary: "u32", first_column: "u32", dz_row: "u32" },
    workgroup: tileLanes(size),
    code: EXP + VECTORS + tileCode({ size, aAlongK: true, bAlongK: true, vector, stages }, gradientEnd),
  }));

const gradientEnd = ({ quads, row, column, sum }: TileEnd): string =>
  each(4 * quads, (r) => `if (${row(r)} < params.m) {
    let row = ${row(r)};
    let ignored = targets[row] < 0;
    let target_column = min(u32(targets[row]), params.vocabulary - 1u) - params.first_column;
    let s = logsumexp[row];
    let g = dlosses[row];
    ${each(quads, (c) => `if (${column(c)} < params.n) {
      let hit = select(vec4f(), vec4f(1.0), vec4u(target_column - ${column(c)}) == vec4u(0u, 1u, 2u, 3u));
      let gradient = g * (exp_four(${sum(r, c)} - s) - hit);
      dz[(row * params.dz_row + ${column(c)}) / 4u] = select(vec4f(), gradient, present(${column(c)}) & vec4<bool>(!ignored));
    }`)}
  }`);
