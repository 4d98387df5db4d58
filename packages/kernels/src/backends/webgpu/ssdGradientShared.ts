/**
 * The last of the scan's gradient: what the heads of a group share, and sums over all (formulas in ssdGradient.ts). Three
 * parts, each a range of groups of one program:
 *
 *   dc    tiles [64 time, 64 of N] for each chunk and group of heads, a loop over the heads in it; with a state, also the
 *         second sum of da and <E,S>, by tiles of N
 *   db    likewise
 *   sums  da and ddt, a chunk of two heads to a group; dd, one head to a group
 *
 * The sums need what dc leaves in `work` where a chunk starts from a state: then dc goes before, as a program of its own.
 */
import { INPUT_TILE, READ_TILE, RECORD, RECORDS } from "./ssdGradient";
import { program, variants } from "./program";
import { access, CORNER, eachRow, elements, PLACES, product, shared, SIZES, states, TILES, vectors, WORKGROUP } from "./ssdTile";

const DC = (hasStarts: boolean, hasEnds: boolean) => `
${hasStarts ? `
var<private> carried: f32; // an invocation's part of <E,S>
fn start_at(at: Place, has_end: bool, p: u32, n: u32) -> vec4f {
  let start = starts_at(at, p, n);
  ${hasEnds ? "if (has_end) { carried += dot(start, ends_at(at, p, n)); }" : ""}
  return start;
}
var<workgroup> carried_of_lane: array<f32, 64>;` : ""}
fn dc_tile(index: u32, lane: u32) {${CORNER}
  let tile = index % tiles_of(params.stateSize);
  let n0 = tile * 64u;
  let n = n0 + side;
  let pair = index / tiles_of(params.stateSize);
  let batch_chunk = pair / params.shares;
  let per_share = params.heads / params.shares;
  let first_head = pair % params.shares * per_share;
  var at = place(batch_chunk, first_head);
  let used = top < at.length && n < params.stateSize;
  var total = array<vec4f, 8>();
  ${hasStarts ? `
  if (at.chunk > 0u || params.hasState != 0u) {
    let has_end = at.chunk + 1u < params.chunks || params.hasEnd != 0u;
    for (var i = 0u; i < per_share; i++) {
      at = place(batch_chunk, first_head + i);
      carried = 0.0;
      var acc = array<vec4f, 8>();
      ${product("acc", "params.headSize", { along: "inner", value: "dy_at(at, outer, inner)" },
        { along: "outer", value: "start_at(at, has_end, inner, n0 + outer)" }, "used")}
      let start = record(at.row);
      let low = work[start + ${RECORD.fromStart}u + top / 4u];
      let high = work[start + ${RECORD.fromStart}u + top / 4u + 1u];
      ${eachRow((r) => `acc[${r}] *= ${r < 4 ? "low" : "high"}.${"xyzw"[r % 4]}; total[${r}] += acc[${r}];`)}
      workgroupBarrier();
      tile_a[4u * side + top / 4u] = vec4f(${[0, 1, 2, 3].map((r) => `dot(acc[${r}], c_at(at, top + ${r}u, n))`).join(", ")});
      tile_a[4u * side + top / 4u + 1u] = vec4f(${[4, 5, 6, 7].map((r) => `dot(acc[${r}], c_at(at, top + ${r}u, n))`).join(", ")});
      // Only these lanes have staged the state.
      if (lane >= 64u) { carried_of_lane[lane - 64u] = carried; }
      workgroupBarrier();
      if (lane < 16u) {
        var sum = vec4f();
        for (var q = 0u; q < 16u; q++) { sum += tile_a[q * 16u + lane]; }
        work[start + read_tile(tile) + ${READ_TILE.throughStart}u + lane] = sum;
      } else if (lane == 64u) {
        var sum = vec4f();
        for (var q = 0u; q < 64u; q += 4u) {
          sum += vec4f(carried_of_lane[q], carried_of_lane[q + 1u], carried_of_lane[q + 2u], carried_of_lane[q + 3u]);
        }
        work[start + read_tile(tile) + ${READ_TILE.carried}u] = vec4f(dot(sum, vec4f(1.0)));
      }
    }
  }` : ""}
  ${product("total", "at.length", { along: "inner", value: "dscore(pair, outer, inner)" },
    { along: "outer", value: "b_at(at, inner, n0 + outer)" }, "used && top + 7u >= slab")}
  ${eachRow((i) => `{ let t = top + ${i}u; let value = total[${i}]; put_dc(((at.first + t) * params.shares + at.share) * `
    + "params.stateSize + n, left_of(t < at.length, params.stateSize, n), value); }")}
}
`;

const DB = (hasEnds: boolean) => `
fn db_tile(index: u32, lane: u32) {${CORNER}
  let n0 = index % tiles_of(params.stateSize) * 64u;
  let n = n0 + side;
  let pair = index / tiles_of(params.stateSize);
  let batch_chunk = pair / params.shares;
  let per_share = params.heads / params.shares;
  let first_head = pair % params.shares * per_share;
  var at = place(batch_chunk, first_head);
  let used = top < at.length && n < params.stateSize;
  var total = array<vec4f, 8>();
  ${hasEnds ? `
  if (at.chunk + 1u < params.chunks || params.hasEnd != 0u) {
    for (var i = 0u; i < per_share; i++) {
      at = place(batch_chunk, first_head + i);
      let start = record(at.row);
      ${product("total", "params.headSize",
        { along: "inner", value: `(work[start + ${RECORD.toEnd}u + outer / 4u][outer % 4u] * work[start + ${RECORD.step}u + outer / `
          + "4u][outer % 4u]) * x_at(at, outer, inner)" },
        { along: "outer", value: "ends_at(at, inner, n0 + outer)" }, "used")}
    }
  }` : ""}
  ${product("total", "at.length", { along: "outer", value: "dscore(pair, inner, outer)" },
    { along: "outer", value: "c_at(at, inner, n0 + outer)" }, "used && top <= slab + 15u")}
  ${eachRow((i) => `{ let t = top + ${i}u; let value = total[${i}]; put_db(((at.first + t) * params.shares + at.share) * `
    + "params.stateSize + n, left_of(t < at.length, params.stateSize, n), value); }")}
}
`;

/** dK[t, u ... u + 3], the sum over the parts of a group's heads. */
const DSCORE = `
fn dscore(pair: u32, t: u32, u: u32) -> vec4f {
  var sum = vec4f();
  for (var part = 1u; part <= params.parts; part++) {
    sum += work[params.squares + (part * params.pairs + pair) * 1024u + t * 16u + u / 4u];
  }
  return sum;
}
`;

// da = inside + Σ_{t>=j} through the start + Σ_{u<j} through the end + exp(s(last)) <E,S>: sums within blocks of eight steps, then of
// blocks.
const SUMS = (hasStarts: boolean, hasEnds: boolean, hasSkip: boolean) => `
var<workgroup> through_start: array<f32, WORKGROUP>;
var<workgroup> through_end: array<f32, WORKGROUP>;
var<workgroup> block_start: array<f32, WORKGROUP>;
var<workgroup> block_end: array<f32, WORKGROUP>;
fn decay_gradient(index: u32, lane: u32) {
  let row = 2u * index + lane / 64u;
  let j = lane % 64u;
  let at = place(row / params.heads, row % params.heads);
  let start = record(row);
  let valid = row < params.rows && j < at.length;
  let has_start = ${hasStarts ? "valid && (at.chunk > 0u || params.hasState != 0u)" : "false"};
  ${hasStarts && hasEnds ? "let has_end = at.chunk + 1u < params.chunks || params.hasEnd != 0u;" : ""}
  var sum = 0.0;
  var starting = 0.0;
  var ending = 0.0;
  var stepping = 0.0; // ddt
  for (var tile = 0u; tile < tiles_of(params.headSize); tile++) {
    let values = start + input_tile(tile) + j / 4u;
    stepping += work[values + ${INPUT_TILE.step}u][j % 4u];
    ending += work[values + ${INPUT_TILE.throughEnd}u][j % 4u];
  }
  if (valid) { sum = work[start + ${RECORD.inside}u + j / 4u][j % 4u]; }
  if (has_start) {
    var carried = 0.0;
    for (var tile = 0u; tile < tiles_of(params.stateSize); tile++) {
      starting += work[start + read_tile(tile) + ${READ_TILE.throughStart}u + j / 4u][j % 4u];
      carried += work[start + read_tile(tile) + ${READ_TILE.carried}u].x;
    }
    ${hasEnds ? `if (has_end) { sum += work[start + ${RECORD.total}u].x * carried; }` : ""}
  }
  through_start[lane] = starting;
  through_end[lane] = ending;
  workgroupBarrier();
  let block = lane & 120u;
  var later = 0.0;
  for (var i = lane; i < block + 8u; i++) { later += through_start[i]; }
  var earlier = 0.0;
  for (var i = block; i < lane; i++) { earlier += through_end[i]; }
  block_start[lane] = later;
  block_end[lane] = earlier + ending;
  workgroupBarrier();
  for (var i = block + 8u; i < (lane & 64u) + 64u; i += 8u) { later += block_start[i]; }
  for (var i = (lane & 64u) + 7u; i < block; i += 8u) { earlier += block_end[i]; }
  if (valid) {
    da[(at.first + j) * params.heads + at.head] = sum + later + earlier;
    ddt[(at.first + j) * params.heads + at.head] = stepping;
  }
}
${hasSkip ? `
fn skip_gradient(head: u32, lane: u32) {
  var sum = 0.0;
  for (var row = head + lane * params.heads; row < params.rows; row += WORKGROUP * params.heads) {
    for (var tile = 0u; tile < tiles_of(params.headSize); tile++) { sum += work[record(row) + input_tile(tile) + ${INPUT_TILE.skip}u].x; }
  }
  through_start[lane] = sum;
  for (var count = WORKGROUP / 2u; count > 0u; count /= 2u) {
    workgroupBarrier();
    if (lane < count) { through_start[lane] += through_start[lane + count]; }
  }
  if (lane == 0u) { dd[head] = select(0.0, dd[head], params.more != 0u) + through_start[0]; }
}` : ""}
`;

/** Which parts a program has. */
export type SharedParts = "dc" | "db and sums" | "all";

/** What the text of {@link ssdGradientShared} depends on. */
interface SsdGradientSharedVariant {
  readonly parts: SharedParts;
  readonly quads: boolean;
  readonly hasStarts: boolean;
  readonly hasEnds: boolean;
  readonly hasSkip: boolean;
}

/**
 * Groups: of the parts it has, in order: dc and db `params.tiles` each, then those of da, ddt and dd. `more`: dd is added to what is
 * there. `rows`: chunks and heads; `pairs`: chunks and groups of heads.
 */
export const ssdGradientShared = variants(({ parts, quads, hasStarts, hasEnds, hasSkip }: SsdGradientSharedVariant) => {
  const dc = parts !== "db and sums";
  const db = parts !== "dc";
  const bound = (wanted: boolean) => (wanted ? elements(quads) : undefined);
  const [starts, ends] = [dc && hasStarts, hasEnds && (db || hasStarts)];
  const [b, c] = [dc, db || starts];
  const read = Object.entries({ x: db && hasEnds, dy: starts, b, c, starts, ends }).flatMap(([name, wanted]) => (wanted ? [name] : []));
  const names = (...some: string[]) => some.filter((name) => read.includes(name));
  return program({
    name: dc ? "ssdReadGradient" : "ssdWriteGradient",
    reads: { x: bound(db && hasEnds), dy: bound(starts), b: bound(b), c: bound(c), starts: bound(starts), ends: bound(ends) },
    writes: { dc: bound(dc), db: bound(db), da: db ? "f32" : undefined, ddt: db ? "f32" : undefined, dd: db && hasSkip ? "f32" : undefined,
      work: "vec4f" },
    params: { ...SIZES, hasState: "u32", hasEnd: "u32", parts: "u32", pairs: "u32", rows: "u32", squares: "u32", tiles: "u32",
      more: "u32" },
    workgroup: WORKGROUP,
    code: `${PLACES}${RECORDS}${TILES}${access(quads, read, [...(dc ? ["dc"] : []), ...(db ? ["db"] : [])])}
${vectors(...names("x", "dy"))}${shared(...names("b", "c"))}${states(...names("starts", "ends"))}${DSCORE}
${dc ? DC(starts, ends) : ""}${db ? DB(hasEnds) + SUMS(hasStarts, hasEnds, hasSkip) : ""}
fn run(group: u32, lane: u32) {
  var index = group;
  ${dc ? `if (index < params.tiles) {
    dc_tile(index, lane);
    return;
  }
  index -= params.tiles;` : ""}
  ${db ? `if (index < params.tiles) {
    db_tile(index, lane);
    return;
  }
  index -= params.tiles;
  if (index < (params.rows + 1u) / 2u) {
    decay_gradient(index, lane);
    return;
  }
  ${hasSkip ? "skip_gradient(index - (params.rows + 1u) / 2u, lane);" : ""}` : ""}
}`,
  });
});
