/** Programs of src/ops/embedding.ts. */
import { boundAs, loadCode, type Stored } from "./half";
import { type BindingType, program, variants } from "./program";
import { columnReduce } from "./wgsl";

export const WORKGROUP = 256;
/** Tokens that a group of {@link embeddingGradient} looks through at once, and that one bit of {@link tokenBlocks} stands for. */
export const BLOCK = 1024;
/** Rows of the matrix that a group of {@link tokenBlocks} has. */
export const RANGE = 2048;

/** Nothing is read out of bounds, whatever the tokens are. */
const TOKEN = `
fn token(i: u32) -> u32 { return u32(clamp(tokens[i], 0, i32(params.vocabulary) - 1)); }`;

export const eachOf = (vector: boolean): number => (vector ? 1 : 4);

/**
 * out [count, width] = rows of weight, which is bound from row `first` on. Rows that lie elsewhere are left as they are. Lane
 * l of group g moves the elements (g · each + i) · WORKGROUP + l; `vector`: of four numbers, and `width` counts those.
 */
export const embeddingRows = variants(({ vector, stored }: { vector: boolean; stored: Stored }) => {
  // Numbers that stay as they are move as bits, so that NaNs keep theirs.
  const moved: BindingType = vector ? "vec4u" : "u32";
  const [from, to] = stored === "f32" ? [moved, moved] : [boundAs(vector, stored), boundAs(vector)];
  return program({
    name: "embedding",
    reads: { weight: from, tokens: "i32" },
    writes: { out: to },
    params: { count: "u32", width: "u32", vocabulary: "u32", first: "u32", rows: "u32" },
    workgroup: WORKGROUP,
    code: `
${TOKEN}
${stored === "f32" ? "" : loadCode("weight", stored, vector)}
fn run(group: u32, lane: u32) {
  for (var i = 0u; i < ${eachOf(vector)}u; i++) {
    let at = (group * ${eachOf(vector)}u + i) * WORKGROUP + lane;
    if (at >= params.count * params.width) { return; }
    // Below the first row this wraps around, and is not below the number of rows either.
    let row = token(at / params.width) - params.first;
    if (row < params.rows) { out[at] = ${stored === "f32" ? "weight[row * params.width + at % params.width]"
      : "load_weight(row * params.width + at % params.width)"}; }
  }
}`,
  });
});

/**
 * blocks [rows, words]: bit b of word w of a row says whether its token is among the tokens of block 32 w + b. A group sets
 * one word of RANGE rows.
 */
export const tokenBlocks = program({
  name: "embeddingGradient: blocks",
  reads: { tokens: "i32" },
  writes: { blocks: "u32" },
  params: { count: "u32", vocabulary: "u32", first: "u32", rows: "u32", words: "u32" },
  workgroup: WORKGROUP,
  code: `
${TOKEN}
var<workgroup> seen: array<atomic<u32>, ${RANGE}>;
fn run(group: u32, lane: u32) {
  let word = group % params.words;
  let start = group / params.words * ${RANGE}u;
  for (var k = lane; k < ${RANGE}u; k += WORKGROUP) { atomicStore(&seen[k], 0u); }
  workgroupBarrier();
  let end = min((word + 1u) * ${32 * BLOCK}u, params.count);
  for (var i = word * ${32 * BLOCK}u + lane; i < end; i += WORKGROUP) {
    let row = token(i) - params.first - start;
    if (row < ${RANGE}u) { atomicOr(&seen[row], 1u << (i / ${BLOCK}u % 32u)); }
  }
  workgroupBarrier();
  for (var k = lane; k < min(${RANGE}u, params.rows - start); k += WORKGROUP) {
    blocks[(start + k) * params.words + word] = atomicLoad(&seen[k]);
  }
}`,
});

/**
 * out [pieces, rows, width]: for rows `first` ... of the matrix, the sum of the dy whose token they are; piece p has the
 * tokens of `per_piece` blocks. A group has a row and `columns` of its columns. It goes through the tokens block by block:
 * the lanes mark the places where the row's token stands, list these in order, and share them out; what the lanes
 * of one column have is added up at the end. No step depends on which lane is faster. `sparse`: most rows appear in few
 * blocks, and `blocks` tells in which. `vector`: columns are vectors of four, and `width` counts those.
 */
export const embeddingGradient = variants(({ columns, vector, sparse }: { columns: number; vector: boolean; sparse: boolean }) => {
  const type = vector ? "vec4f" : "f32";
  const turns = WORKGROUP / columns;
  const dyAt = (k: number) => `dy[places[i + ${k * turns}u] * params.width + column]`;
  return program({
    name: "embeddingGradient",
    reads: { tokens: "i32", dy: type, blocks: sparse ? "u32" : undefined },
    writes: { out: type },
    params: { count: "u32", width: "u32", vocabulary: "u32", first: "u32", rows: "u32", per_piece: "u32", words: "u32", onto: "u32" },
    workgroup: WORKGROUP,
    code: `
${TOKEN}
var<workgroup> marks: array<atomic<u32>, ${BLOCK / 32}>;
var<workgroup> places: array<u32, ${BLOCK}>;
${columnReduce(WORKGROUP, columns, type, (a, b) => `${a} + ${b}`)}

fn sum_of_block(block: u32, row: u32, column: u32, lane: u32) -> ${type} {
  if (lane < ${BLOCK / 32}u) { atomicStore(&marks[lane], 0u); }
  workgroupBarrier();
  var mine = 0u;
  for (var k = 0u; k < ${BLOCK / WORKGROUP}u; k++) {
    let i = block * ${BLOCK}u + k * WORKGROUP + lane;
    if (i < params.count && token(i) == row) {
      mine |= 1u << k;
      atomicOr(&marks[k * ${WORKGROUP / 32}u + lane / 32u], 1u << (lane % 32u));
    }
  }
  workgroupBarrier();
  var found = 0u;
  for (var word = 0u; word < ${BLOCK / 32}u; word++) {
    let marked = atomicLoad(&marks[word]);
    if (word % ${WORKGROUP / 32}u == lane / 32u && ((mine >> (word / ${WORKGROUP / 32}u)) & 1u) == 1u) {
      places[found + countOneBits(marked & ((1u << (lane % 32u)) - 1u))] = block * ${BLOCK}u + word * 32u + lane % 32u;
    }
    found += countOneBits(marked);
  }
  workgroupBarrier();
  var sum = ${type}();
  if (column < params.width) {
    var i = lane / ${columns}u;
    // Four at a time, so that they do not wait for one another.
    for (; i + ${3 * turns}u < found; i += ${4 * turns}u) { sum += (${dyAt(0)} + ${dyAt(1)}) + (${dyAt(2)} + ${dyAt(3)}); }
    for (; i < found; i += ${turns}u) { sum += ${dyAt(0)}; }
  }
  return sum;
}

fn run(group: u32, lane: u32) {
  let tiles = (params.width + ${columns - 1}u) / ${columns}u;
  let column = group % tiles * ${columns}u + lane % ${columns}u;
  let own = group / tiles % params.rows;
  let piece = group / tiles / params.rows;
  let row = params.first + own;
  var sum = ${type}();
  var found = true;
  ${sparse
    ? `found = false;
  for (var word = 0u; word < params.words; word++) {
    var left = blocks[own * params.words + word];
    while (left != 0u) {
      sum += sum_of_block(word * 32u + firstTrailingBit(left), row, column, lane);
      left &= left - 1u;
      found = true;
    }
  }`
    : `let end = min((piece + 1u) * params.per_piece, (params.count + ${BLOCK - 1}u) / ${BLOCK}u);
  for (var block = piece * params.per_piece; block < end; block++) { sum += sum_of_block(block, row, column, lane); }`}
  if (found) { sum = join_columns(sum, lane); }
  if (lane < ${columns}u && column < params.width) {
    let at = (piece * params.rows + own) * params.width + column;
    if (params.onto == 1u) { sum += out[at]; }
    out[at] = sum;
  }
}`,
  });
});
