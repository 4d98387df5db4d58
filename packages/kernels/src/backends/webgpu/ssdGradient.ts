/**
 * Programs of the scan's gradient, for chunks of 64 steps. Names: s(t) = a_0 + ... + a_t inside the chunk; scores
 * K[t,u] = c_t · b_u; M[t,u] = exp(s(t) - s(u)) for u <= t, else 0; v_u = dt_u x_u; S the state at the chunk's start, E the
 * gradient by the state at its end. From y = exp(s(t)) S c_t + Σ_u K[t,u] M[t,u] v_u + d x_t and the chunk's last state,
 * exp(s(last)) S + Σ_u exp(s(last) - s(u)) v_u b_uᵀ:
 *
 *   E of the chunk before = exp(s(last)) E + Σ_t exp(s(t)) dy_t c_tᵀ
 *   dW[t,u] = dy_t · v_u          dK = Σ_heads dW∘M
 *   dv_u = Σ_{t>=u} K[t,u] M[t,u] dy_t + exp(s(last) - s(u)) E b_u
 *   dx = dt dv + d dy             ddt = x · dv             dd = Σ dy · x
 *   dc_t = Σ_u dK[t,u] b_u + Σ_heads exp(s(t)) Sᵀ dy_t
 *   db_u = Σ_t dK[t,u] c_t + Σ_heads exp(s(last) - s(u)) Eᵀ v_u
 *
 * a_j stands in s(t) - s(u) for u < j <= t, in s(t) for t >= j, in s(last) - s(u) for u < j, and in s(last). So
 *
 *   da_j = Σ_{u<j<=t} dW[t,u] K[t,u] M[t,u]  +  Σ_{t>=j} exp(s(t)) c_t · Sᵀ dy_t
 *        + Σ_{u<j} exp(s(last) - s(u)) v_u · E b_u  +  exp(s(last)) ⟨E,S⟩,
 *
 * each sum taken as it stands: none is a difference of numbers that do not decay.
 *
 *   ssdScoreGradient  dK, K, the first sum of da; what a chunk adds to E
 *   ssdPassGradient   E, chunk after chunk (ssdForward.ts)
 *   ssdInputGradient  dx, the third sum of da, ddt and dd in parts
 *   and what ssdGradientShared.ts has: dc and the second sum of da; db; da, ddt, dd
 *
 * Between them, `work` [vec4f] carries a record for each chunk and head (below), then scores K [64,64] for each
 * chunk and group of heads, then dK for each part of a group's heads, chunk and group.
 */
import { CAUSAL, scores, STATE_AT, stateTile } from "./ssdForward";
import { program, variants } from "./program";
import { access, CORNER, DECAYS, eachRow, elements, MASK, PLACES, product, shared, SIZES, states, STEPS, TILES, vectors,
  WORKGROUP } from "./ssdTile";

/** Quads of a record before those of tiles. */
export const RECORD = { decay: 0, step: 16, fromStart: 32, toEnd: 48, inside: 64, total: 80, tiles: 81 } as const;
/** Quads of a record for each tile of N: the second sum of da; <E,S>. */
export const READ_TILE = { throughStart: 0, carried: 16, size: 17 } as const;
/** Quads for each tile of P, after those: ddt; the third sum of da; dd. */
export const INPUT_TILE = { step: 0, throughEnd: 16, skip: 32, size: 33 } as const;

/** Quads of a record. */
export const recordQuads = (headSize: number, stateSize: number): number =>
  RECORD.tiles + READ_TILE.size * Math.ceil(stateSize / 64) + INPUT_TILE.size * Math.ceil(headSize / 64);

/** Where in work the record of a chunk and head starts, and in it the numbers of a tile of N or P. */
export const RECORDS = `
fn read_tile(tile: u32) -> u32 { return ${RECORD.tiles}u + ${READ_TILE.size}u * tile; }
fn input_tile(tile: u32) -> u32 { return read_tile(tiles_of(params.stateSize)) + ${INPUT_TILE.size}u * tile; }
fn record(row: u32) -> u32 { return row * input_tile(tiles_of(params.headSize)); }
`;

/**
 * Groups, first `params.scoreGroups` of them: each chunk, group of heads and part of its heads (`params.parts`); then a
 * tile of what each chunk from `params.firstChunk` on adds to E, for each head and tile of P and N.
 */
export const ssdScoreGradient = variants(({ quads, hasEnds }: { quads: boolean; hasEnds: boolean }) =>
  program({
    name: "ssdScoreGradient",
    reads: { x: elements(quads), dt: "f32", a: "f32", b: elements(quads), c: elements(quads), dy: elements(quads) },
    writes: { ends: hasEnds ? elements(quads) : undefined, work: "vec4f" },
    params: { ...SIZES, scoreGroups: "u32", parts: "u32", firstChunk: "u32", squares: "u32" },
    workgroup: WORKGROUP,
    code: `${PLACES}${RECORDS}${DECAYS}${STEPS}${MASK}${TILES}${access(quads, ["x", "b", "c", "dy"], hasEnds ? ["ends"] : [])}
${vectors("x", "dy")}${shared("b", "c")}
${hasEnds ? stateTile("dy", "c", "from_start(lane)", `put_ends(${STATE_AT}, value);`) : ""}
var<workgroup> step_of_lane: array<f32, 64>;
fn score_part(index: u32, lane: u32) {${CORNER}
  let pair = index / params.parts; // batch_chunk · shares + share
  let part = index % params.parts;
  let per_share = params.heads / params.shares;
  let first_head = pair % params.shares * per_share;
  let batch_chunk = pair / params.shares;
  var at = place(batch_chunk, first_head);
  var kept = array<vec4f, 8>(); // K
  ${scores("kept")}
  if (part == 0u) {
    ${eachRow((i) => `work[params.squares + pair * 1024u + (top + ${i}u) * 16u + side / 4u] = kept[${i}];`)}
  }
  var total = array<vec4f, 8>(); // dK
  for (var i = per_share * part / params.parts; i < per_share * (part + 1u) / params.parts; i++) {
    at = place(batch_chunk, first_head + i);
    let step = step_of(at, lane);
    cumulate(lane, step.y);
    prepare_mask(lane);
    if (lane < 64u) { step_of_lane[lane] = step.x; }
    write_record(at, lane);
    var acc = array<vec4f, 8>(); // dW without dt
    ${product("acc", "params.headSize", { along: "inner", value: "dy_at(at, outer, inner)" },
      { along: "inner", value: "x_at(at, outer, inner)" }, CAUSAL)}
    let time = vec4f(step_of_lane[side], step_of_lane[side + 1u], step_of_lane[side + 2u], step_of_lane[side + 3u]);
    ${eachRow((r) => `acc[${r}] *= mask(top + ${r}u, side / 4u) * time; total[${r}] += acc[${r}]; acc[${r}] *= kept[${r}];`)}
    // Now Σ_{u<j} of each row, first over the quads to the left, then in the own quad; then the sum over rows t >= j.
    workgroupBarrier();
    tile_a[4u * side + top / 4u] = vec4f(${[0, 1, 2, 3].map((r) => `dot(acc[${r}], vec4f(1.0))`).join(", ")});
    tile_a[4u * side + top / 4u + 1u] = vec4f(${[4, 5, 6, 7].map((r) => `dot(acc[${r}], vec4f(1.0))`).join(", ")});
    workgroupBarrier();
    if (lane < 16u) {
      var sum = vec4f();
      for (var q = 0u; q < 16u; q++) {
        let own = tile_a[q * 16u + lane];
        tile_a[q * 16u + lane] = sum;
        sum += own;
      }
    }
    workgroupBarrier();
    let left_low = tile_a[4u * side + top / 4u];
    let left_high = tile_a[4u * side + top / 4u + 1u];
    let columns = side + vec4u(0u, 1u, 2u, 3u);
    var below = vec4f();
    ${eachRow((r) => `{
      let q = acc[${r}];
      let left = ${r < 4 ? "left_low" : "left_high"}.${"xyzw"[r % 4]};
      let two = left + q.x + q.y;
      below += select(vec4f(), vec4f(left, left + q.x, two, two + q.z), columns <= vec4u(top + ${r}u));
    }`)}
    tile_b[2u * top + side / 4u] = below;
    workgroupBarrier();
    if (lane < 16u) {
      var sum = vec4f();
      for (var r = 0u; r < 8u; r++) { sum += tile_b[r * 16u + lane]; }
      work[record(at.row) + ${RECORD.inside}u + lane] = sum;
    }
  }
  let square = params.squares + ((1u + part) * (params.scoreGroups / params.parts) + pair) * 1024u;
  ${eachRow((i) => `work[square + (top + ${i}u) * 16u + side / 4u] = total[${i}];`)}
}
// Four steps to a lane, so that whole quads are written. The sums are there; the steps' dt is read again.
fn write_record(at: Place, lane: u32) {
  if (lane < 16u) {
    let start = record(at.row) + lane;
    let t = 4u * lane;
    let now = array<vec2f, 4>(step_of(at, t), step_of(at, t + 1u), step_of(at, t + 2u), step_of(at, t + 3u));
    work[start + ${RECORD.decay}u] = vec4f(now[0].y, now[1].y, now[2].y, now[3].y);
    work[start + ${RECORD.step}u] = vec4f(now[0].x, now[1].x, now[2].x, now[3].x);
    work[start + ${RECORD.fromStart}u] = vec4f(from_start(t), from_start(t + 1u), from_start(t + 2u), from_start(t + 3u));
    work[start + ${RECORD.toEnd}u] = vec4f(to_end(t), to_end(t + 1u), to_end(t + 2u), to_end(t + 3u));
  }
  if (lane == 16u) { work[record(at.row) + ${RECORD.total}u] = vec4f(from_start(63u)); }
}
fn run(group: u32, lane: u32) {
  if (group < params.scoreGroups) {
    score_part(group, lane);
    return;
  }
  ${hasEnds ? `
  let index = group - params.scoreGroups;
  let tiles = tiles_of(params.headSize) * tiles_of(params.stateSize);
  let pair = index / tiles;
  let chunks = params.chunks - params.firstChunk;
  let batch_chunk = pair / params.heads / chunks * params.chunks + params.firstChunk + pair / params.heads % chunks;
  state_tile(batch_chunk, pair % params.heads, index % tiles, lane);` : ""}
}`,
  }));

/**
 * The gradient by the state that came in, where there is one chunk: out = exp(s(last)) dfinal + out. An element (or quad) to an
 * invocation.
 */
export const ssdStateGradient = variants((quads: boolean) =>
  program({
    name: "ssdStateGradient",
    reads: { dfinal: elements(quads), work: "vec4f" },
    writes: { out: elements(quads) },
    params: { size: "u32", count: "u32", stride: "u32" },
    workgroup: 256,
    code: `
fn run(group: u32, lane: u32) {
  let i = group * WORKGROUP + lane;
  if (i < params.count) { out[i] += work[i / params.size * params.stride + ${RECORD.total}u].x * dfinal[i]; }
}`,
  }));

/**
 * Groups: a tile [64 time, 64 of P] for each chunk, head and tile of P. `hasEnds`: E is other than 0 for all chunks but the
 * last, and for that if `params.hasEnd`. ddt and the third sum of da are sums over P: 16 invocations have parts of a row.
 */
export const ssdInputGradient = variants(({ quads, hasSkip, hasEnds }: { quads: boolean; hasSkip: boolean; hasEnds: boolean }) =>
  program({
    name: "ssdInputGradient",
    reads: {
      x: elements(quads), b: hasEnds ? elements(quads) : undefined, d: hasSkip ? "f32" : undefined, dy: elements(quads),
      ends: hasEnds ? elements(quads) : undefined,
    },
    writes: { dx: elements(quads), work: "vec4f" },
    params: { ...SIZES, hasEnd: "u32", squares: "u32" },
    workgroup: WORKGROUP,
    code: `${PLACES}${RECORDS}${DECAYS}${MASK}${TILES}${access(quads, ["x", "dy", ...(hasEnds ? ["b", "ends"] : [])], ["dx"])}
${vectors("x", "dy")}${hasEnds ? shared("b") + states("ends") : ""}
var<workgroup> step_of_lane: array<f32, 64>;
var<workgroup> skip_of_lane: array<f32, WORKGROUP>;
fn run(group: u32, lane: u32) {${CORNER}
  let tile = group % tiles_of(params.headSize);
  let p0 = tile * 64u;
  let p = p0 + side;
  let pair = group / tiles_of(params.headSize);
  let at = place(pair / params.heads, pair % params.heads);
  let start = record(at.row);
  let square = params.squares + (pair / params.heads * params.shares + at.share) * 1024u;
  cumulate(lane, work[start + ${RECORD.decay}u + lane % 64u / 4u][lane % 4u]);
  prepare_mask(lane);
  if (lane < 64u) { step_of_lane[lane] = work[start + ${RECORD.step}u + lane / 4u][lane % 4u]; }
  let used = top < at.length && p < params.headSize;
  var acc = array<vec4f, 8>();                              // dv
  var through_low = vec4f(); var through_high = vec4f(); // x · dv of the invocation's rows, the part that passes through E
  ${hasEnds ? `
  if (at.chunk + 1u < params.chunks || params.hasEnd != 0u) {
    ${product("acc", "params.stateSize", { along: "inner", value: "b_at(at, outer, inner)" },
      { along: "inner", value: "ends_at(at, p0 + outer, inner)" }, "used")}
    ${eachRow((i) => `acc[${i}] *= to_end(top + ${i}u); through_${half(i)} = dot(acc[${i}], x_at(at, top + ${i}u, p));`)}
  }` : ""}
  ${product("acc", "at.length",
    { along: "outer", value: "work[square + inner * 16u + outer / 4u] * mask(inner, outer / 4u)" },
    { along: "outer", value: "dy_at(at, inner, p0 + outer)" }, "used && top <= slab + 15u")}
  workgroupBarrier();
  var step_low = vec4f(); var step_high = vec4f(); // x · dv, all of it
  var skip = 0.0;                                  // x · dy
  ${eachRow((i) => `{
    let t = top + ${i}u;
    let xs = x_at(at, t, p);
    let dys = dy_at(at, t, p);
    step_${half(i)} = dot(xs, acc[${i}]);
    skip += dot(xs, dys);
    let value = acc[${i}] * step_of_lane[t]${hasSkip ? " + d[at.head] * dys" : ""};
    put_dx(((at.first + t) * params.heads + at.head) * params.headSize + p, left_of(t < at.length, params.headSize, p), value);
  }`)}
  tile_a[4u * side + top / 4u] = step_low;
  tile_a[4u * side + top / 4u + 1u] = step_high;
  tile_b[4u * side + top / 4u] = through_low;
  tile_b[4u * side + top / 4u + 1u] = through_high;
  skip_of_lane[lane] = skip;
  workgroupBarrier();
  if (lane < 16u) {
    var sum = vec4f();
    for (var q = 0u; q < 16u; q++) { sum += tile_a[q * 16u + lane]; }
    work[start + input_tile(tile) + ${INPUT_TILE.step}u + lane] = sum;
  } else if (lane >= 32u && lane < 48u) {
    let quad = lane - 32u;
    var sum = vec4f();
    for (var q = 0u; q < 16u; q++) { sum += tile_b[q * 16u + quad]; }
    let t = 4u * quad;
    sum *= vec4f(step_of_lane[t], step_of_lane[t + 1u], step_of_lane[t + 2u], step_of_lane[t + 3u]);
    work[start + input_tile(tile) + ${INPUT_TILE.throughEnd}u + quad] = sum;
  } else if (lane == 64u) {
    var sum = vec4f();
    for (var i = 0u; i < WORKGROUP; i += 4u) {
      sum += vec4f(skip_of_lane[i], skip_of_lane[i + 1u], skip_of_lane[i + 2u], skip_of_lane[i + 3u]);
    }
    work[start + input_tile(tile) + ${INPUT_TILE.skip}u] = vec4f(dot(sum, vec4f(1.0)));
  }
}`,
  }));

/** The half of an invocation's rows that row i is in, and its place there. */
function half(i: number): string {
  return `${i < 4 ? "low" : "high"}.${"xyzw"[i % 4]}`;
}
