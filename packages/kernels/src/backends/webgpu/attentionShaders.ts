/**
 * Programs of attention (ops/attention.ts has the arithmetic) on tiles of 64 x 64, with the products of ssdTile.ts:
 *
 *   attentionForward   for 64 rows: S = Q Kᵀ, softmax with a running maximum, O += P V, over tiles of 64 keys
 *   attentionStats     for each row what its gradient needs: L, δ, its slope, its sequence's length
 *   attentionQueries   for 64 rows: P and dP again, dQ += dS K, over tiles of keys
 *   attentionKeys      for 64 keys: Pᵀ and dPᵀ, dV += Pᵀ dO, dK += dSᵀ Q, over tiles of rows
 *
 * A row is a query with one of the heads that share a key head: row r is query r / share, head r % share. Scores never leave the
 * invocations' registers but as slabs of the next product. Where D is above 64, every group makes 64 columns of its result
 * from scores of its own.
 */
import { program, variants } from "./program";
import { access, CORNER, eachRow, elements, product, productOfRegisters, TILES, WORKGROUP } from "./ssdTile";
import { EXP, rowReduce } from "./wgsl";

/** `rows` is T · share; `sloped` and `limited` say whether slopes and lengths are given, and not something in their place. */
const SIZES = {
  time: "u32", keys: "u32", heads: "u32", keyHeads: "u32", headSize: "u32", rows: "u32", share: "u32", causal: "u32",
  window: "u32", scale: "f32",
} as const;

/** Lower than all scores and yet finite: the maximum before the first one. */
export const LOWEST = "-3.4028234e38";

/** Rows [B,T,Hq,D] by their number and keys [B,U,Hk,D], and who sees whom. `pair` is batch · key heads + key head. */
const PLACES = `
struct Place { batch: u32, keyHead: u32, d: u32, first: u32 }
// Groups: 64 columns of D, fastest; then 64 rows or keys; then pairs. first: the first row or key.
fn place(group: u32, count: u32) -> Place {
  let tiles = (params.headSize + 63u) / 64u;
  let blocks = (count + 63u) / 64u;
  let pair = group / tiles / blocks;
  return Place(pair / params.keyHeads, pair % params.keyHeads, group % tiles * 64u, group / tiles % blocks * 64u);
}
fn scalar_of(at: Place, row: u32) -> u32 {
  return (at.batch * params.time + row / params.share) * params.heads + at.keyHead * params.share + row % params.share;
}
fn left_of(valid: bool, d: u32) -> u32 { return select(0u, params.headSize - d, valid && d < params.headSize); }
fn position_of(row: u32) -> u32 { return params.keys - params.time + row / params.share; }
fn distance(row: u32, key: u32) -> vec4f {
  let apart = vec4i(i32(position_of(row)) - i32(key)) - vec4i(0, 1, 2, 3);
  return vec4f(abs(apart));
}
// Whether the query at \`position\` sees each of four keys; of those that exist.
fn sees(position: vec4u, key: vec4u) -> vec4<bool> {
  return select(vec4<bool>(true), (key <= position) & (position - key < vec4u(params.window)), vec4<bool>(params.causal != 0u));
}
// The keys that rows [row, row + 64) see, of \`length\`.
fn keys_of(row: u32, length: u32) -> vec2u {
  if (params.causal == 0u) { return vec2u(0u, length); }
  let low = position_of(row) + 1u;
  let high = position_of(min(row + 64u, params.rows) - 1u) + 1u;
  return vec2u(select(0u, low - params.window, low > params.window), min(high, length));
}
// The rows that see some of the keys [key, key + 64).
fn rows_of(key: u32) -> vec2u {
  if (params.causal == 0u) { return vec2u(0u, params.rows); }
  let offset = params.keys - params.time;
  let last = min(params.keys, min(key + 64u, params.keys) - 1u + params.window);
  return vec2u(select(0u, key - offset, key > offset), select(0u, last - offset, last > offset)) * params.share;
}
`;

/** NAME_at(at, row, d, length): four neighbours along D of a row, zeros for rows and columns that there are not. */
const ofRows = (...names: string[]): string => names.map((name) => `
fn ${name}_at(at: Place, row: u32, d: u32, length: u32) -> vec4f {
  return get_${name}(scalar_of(at, row) * params.headSize + d, left_of(row < params.rows && position_of(row) < length, d));
}`).join("");

/** NAME_at(at, key, d, length): likewise of a key. */
const ofKeys = (...names: string[]): string => names.map((name) => `
fn ${name}_at(at: Place, key: u32, d: u32, length: u32) -> vec4f {
  return get_${name}(((at.batch * params.keys + key) * params.keyHeads + at.keyHead) * params.headSize + d, left_of(key < length, d));
}`).join("");

/**
 * \`join_max\`, \`join_sum\`: of each of the tile's 64 rows over the 16 lanes that have its columns, of which a lane gives eight (low and
 * high). The sums have a fixed order. Starts with a barrier; leaves tile_a to be read until the next one.
 */
export const JOINS = EXP + (["max", "sum"] as const).map((name) => `
fn join_${name}(top: u32, side: u32, low: vec4f, high: vec4f) -> array<vec4f, 2> {
  workgroupBarrier();
  tile_a[4u * side + top / 4u] = low;
  tile_a[4u * side + top / 4u + 1u] = high;
  workgroupBarrier();
  var first = tile_a[top / 4u];
  var second = tile_a[top / 4u + 1u];
  for (var i = 1u; i < 16u; i++) {
    first = ${name === "max" ? "max(first, tile_a[16u * i + top / 4u])" : "first + tile_a[16u * i + top / 4u]"};
    second = ${name === "max" ? "max(second, tile_a[16u * i + top / 4u + 1u])" : "second + tile_a[16u * i + top / 4u + 1u]"};
  }
  return array<vec4f, 2>(first, second);
}`).join("");

/** Entry i of eight in two vectors. */
export const entry = (name: string, i: number): string => `${name}[${i >> 2}].${"xyzw"[i % 4]}`;
/** Two vectors from eight values. */
export const entries = (value: (i: number) => string): string =>
  `array<vec4f, 2>(vec4f(${[0, 1, 2, 3].map(value).join(", ")}), vec4f(${[4, 5, 6, 7].map(value).join(", ")}))`;
export const highest = (vector: string): string => `max(max(${vector}.x, ${vector}.y), max(${vector}.z, ${vector}.w))`;

export const attentionForward = variants((quads: boolean) =>
  program({
    name: "attention",
    reads: { q: elements(quads), k: elements(quads), v: elements(quads), slopes: "f32", lengths: "i32" },
    writes: { out: elements(quads), lse: "f32" },
    params: { ...SIZES, sloped: "u32", limited: "u32" },
    workgroup: WORKGROUP,
    code: `${PLACES}${TILES}${JOINS}${access(quads, ["q", "k", "v"], ["out"])}${ofRows("q")}${ofKeys("k", "v")}
fn run(group: u32, lane: u32) {${CORNER}
  let at = place(group, params.rows);
  let length = select(params.keys,
    u32(clamp(lengths[select(0u, at.batch, params.limited != 0u)], 0, i32(params.keys))), params.limited != 0u);
  let used = at.first + top < params.rows;
  let used_out = used && at.d + side < params.headSize;
  var most = array<vec4f, 2>(vec4f(${LOWEST}), vec4f(${LOWEST}));
  var total = array<vec4f, 2>(vec4f(), vec4f());
  var acc = array<vec4f, 8>();
  let range = keys_of(at.first, length);
  for (var key = range.x; key < range.y; key += 64u) {
    var scores = array<vec4f, 8>();
    ${product("scores", "params.headSize", { along: "inner", value: "q_at(at, at.first + outer, inner, length)" },
      { along: "inner", value: "k_at(at, key + outer, inner, length)" },
      "used && key + side < range.y")}
    let columns = vec4u(key + side) + vec4u(0u, 1u, 2u, 3u);
    ${eachRow((i) => `{
      let row = at.first + top + ${i}u;
      let slope = select(0.0, slopes[select(0u, at.keyHead * params.share + row % params.share, params.sloped != 0u)], params.sloped != 0u);
      let score = scores[${i}] * params.scale - slope * distance(row, key + side);
      scores[${i}] = select(vec4f(${LOWEST}), score, (columns < vec4u(range.y)) & sees(vec4u(position_of(row)), columns));
    }`)}
    let own = ${entries((i) => highest(`scores[${i}]`))};
    let joined = join_max(top, side, max(most[0], own[0]), max(most[1], own[1]));
    let shrink = array<vec4f, 2>(exp(max(most[0] - joined[0], vec4f(-104.0))), exp(max(most[1] - joined[1], vec4f(-104.0))));
    most = joined;
    ${eachRow((i) => `scores[${i}] = select(exp_four(scores[${i}] - ${entry("most", i)}), vec4f(), scores[${i}] == vec4f(${LOWEST})); `
      + `acc[${i}] *= ${entry("shrink", i)};`)}
    let sums = ${entries((i) => `dot(scores[${i}], vec4f(1.0))`)};
    total[0] = total[0] * shrink[0] + sums[0];
    total[1] = total[1] * shrink[1] + sums[1];
    ${productOfRegisters("acc", "scores", "min(64u, range.y - key)", "v_at(at, key + inner, at.d + outer, length)", "used_out")}
  }
  total = join_sum(top, side, total[0], total[1]);
  ${eachRow((i) => `{
    let row = at.first + top + ${i}u;
    let live = row < params.rows && position_of(row) < length;
    let sum = ${entry("total", i)};
    put_out(scalar_of(at, row) * params.headSize + at.d + side, left_of(row < params.rows, at.d + side),
      select(vec4f(), acc[${i}] / sum, live));
    if (side == 0u && at.d == 0u && row < params.rows) { lse[scalar_of(at, row)] = select(0.0, ${entry("most", i)} + log_one(sum), live); }
  }`)}
}`,
  }));

/** Lanes that share a row. */
const STATS_LANES = 16;
export const STATS_ROWS = 256 / STATS_LANES;

/** stats [B,T,Hq]: L, δ = do · o, the slope, the length. A group has 16 rows. `count` rows in all. */
export const attentionStats = program({
  name: "attentionStats",
  reads: { out: "f32", dout: "f32", lse: "f32", slopes: "f32", lengths: "i32" },
  writes: { stats: "vec4f" },
  params: { time: "u32", keys: "u32", heads: "u32", headSize: "u32", count: "u32", sloped: "u32", limited: "u32" },
  workgroup: 256,
  code: `${rowReduce("sum", 256, STATS_LANES, false)}
fn run(group: u32, lane: u32) {
  let row = group * ${STATS_ROWS}u + lane / ${STATS_LANES}u;
  var sum = 0.0;
  if (row < params.count) {
    for (var d = lane % ${STATS_LANES}u; d < params.headSize; d += ${STATS_LANES}u) {
      sum += out[row * params.headSize + d] * dout[row * params.headSize + d];
    }
  }
  sum = row_sum(sum, lane);
  if (lane % ${STATS_LANES}u != 0u || row >= params.count) { return; }
  var slope = 0.0;
  if (params.sloped != 0u) { slope = slopes[row % params.heads]; }
  var length = params.keys;
  if (params.limited != 0u) { length = u32(clamp(lengths[row / params.heads / params.time], 0, i32(params.keys))); }
  stats[row] = vec4f(lse[row], sum, slope, f32(length));
}`,
});

/** What both gradients bind and begin with. */
const GRADIENT_READS = (quads: boolean) =>
  ({ q: elements(quads), k: elements(quads), v: elements(quads), dout: elements(quads), stats: "vec4f" }) as const;
const gradientCode = (quads: boolean, written: readonly string[]): string =>
  `${PLACES}${TILES}${access(quads, ["q", "k", "v", "dout"], written)}${ofRows("q", "dout")}${ofKeys("k", "v")}`;
const LENGTH = "let length = u32(stats[at.batch * params.time * params.heads].w);";

export const attentionQueries = variants((quads: boolean) =>
  program({
    name: "attentionQueries",
    reads: GRADIENT_READS(quads),
    writes: { dq: elements(quads) },
    params: SIZES,
    workgroup: WORKGROUP,
    code: `${EXP}${gradientCode(quads, ["dq"])}
fn run(group: u32, lane: u32) {${CORNER}
  let at = place(group, params.rows);
  ${LENGTH}
  let used = at.first + top < params.rows;
  let used_out = used && at.d + side < params.headSize;
  var acc = array<vec4f, 8>();
  let range = keys_of(at.first, length);
  for (var key = range.x; key < range.y; key += 64u) {
    var scores = array<vec4f, 8>();
    var dscores = array<vec4f, 8>();
    ${product("scores", "params.headSize", { along: "inner", value: "q_at(at, at.first + outer, inner, length)" },
      { along: "inner", value: "k_at(at, key + outer, inner, length)" },
      "used && key + side < range.y")}
    ${product("dscores", "params.headSize", { along: "inner", value: "dout_at(at, at.first + outer, inner, length)" },
      { along: "inner", value: "v_at(at, key + outer, inner, length)" },
      "used && key + side < range.y")}
    let columns = vec4u(key + side) + vec4u(0u, 1u, 2u, 3u);
    ${eachRow((i) => `{
      let row = at.first + top + ${i}u;
      let of_row = stats[scalar_of(at, min(row, params.rows - 1u))];
      let seen = (columns < vec4u(range.y)) & sees(vec4u(position_of(row)), columns)
        & vec4<bool>(row < params.rows && position_of(row) < length);
      let probability = exp_four(scores[${i}] * params.scale - of_row.z * distance(row, key + side) - of_row.x);
      dscores[${i}] = select(vec4f(), probability * (dscores[${i}] - of_row.y), seen);
    }`)}
    ${productOfRegisters("acc", "dscores", "min(64u, range.y - key)", "k_at(at, key + inner, at.d + outer, length)", "used_out")}
  }
  ${eachRow((i) => `{
    let row = at.first + top + ${i}u;
    put_dq(scalar_of(at, row) * params.headSize + at.d + side, left_of(row < params.rows, at.d + side), acc[${i}] * params.scale);
  }`)}
}`,
  }));

export const attentionKeys = variants((quads: boolean) =>
  program({
    name: "attentionKeys",
    reads: GRADIENT_READS(quads),
    writes: { dk: elements(quads), dv: elements(quads) },
    params: SIZES,
    workgroup: WORKGROUP,
    code: `${EXP}${gradientCode(quads, ["dk", "dv"])}
fn run(group: u32, lane: u32) {${CORNER}
  let at = place(group, params.keys);
  ${LENGTH}
  let used = at.first + top < length;
  let used_out = used && at.d + side < params.headSize;
  var acc_k = array<vec4f, 8>();
  var acc_v = array<vec4f, 8>();
  let range = rows_of(at.first);
  for (var first = range.x; first < range.y; first += 64u) {
    var scores = array<vec4f, 8>();
    var dscores = array<vec4f, 8>();
    ${product("scores", "params.headSize", { along: "inner", value: "k_at(at, at.first + outer, inner, length)" },
      { along: "inner", value: "q_at(at, first + outer, inner, length)" },
      "used && first + side < range.y")}
    ${product("dscores", "params.headSize", { along: "inner", value: "v_at(at, at.first + outer, inner, length)" },
      { along: "inner", value: "dout_at(at, first + outer, inner, length)" },
      "used && first + side < range.y")}
    let rows = vec4u(first + side) + vec4u(0u, 1u, 2u, 3u);
    let safe = min(rows, vec4u(params.rows - 1u));
    // L, δ and slopes of four rows.
    let of_rows = transpose(mat4x4f(${["x", "y", "z", "w"].map((name) => `stats[scalar_of(at, safe.${name})]`).join(", ")}));
    let positions = vec4u(${["x", "y", "z", "w"].map((name) => `position_of(safe.${name})`).join(", ")});
    let live = (rows < vec4u(range.y)) & (positions < vec4u(length));
    ${eachRow((i) => `{
      let key = at.first + top + ${i}u;
      let seen = live & sees(positions, vec4u(key)) & vec4<bool>(key < length);
      let apart = vec4f(abs(vec4i(positions) - vec4i(i32(key))));
      let probability = select(vec4f(), exp_four(scores[${i}] * params.scale - of_rows[2] * apart - of_rows[0]), seen);
      scores[${i}] = probability;
      dscores[${i}] = select(vec4f(), probability * (dscores[${i}] - of_rows[1]), seen);
    }`)}
    ${productOfRegisters("acc_v", "scores", "min(64u, range.y - first)", "dout_at(at, first + inner, at.d + outer, length)", "used_out")}
    ${productOfRegisters("acc_k", "dscores", "min(64u, range.y - first)", "q_at(at, first + inner, at.d + outer, length)", "used_out")}
  }
  ${eachRow((i) => `{
    let key = at.first + top + ${i}u;
    let to = ((at.batch * params.keys + key) * params.keyHeads + at.keyHead) * params.headSize + at.d + side;
    let left = left_of(key < params.keys, at.d + side);
    put_dk(to, left, acc_k[${i}] * params.scale);
    put_dv(to, left, acc_v[${i}]);
  }`)}
}`,
  }));
