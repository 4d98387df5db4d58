/** Programs of linear attention with a decay per channel: what forward and gradient share, and the outputs. */
import { keys, ROWS, SIZES, states, values, view, WORK } from "./gatedLinearAttentionTile";
import { program, variants } from "./program";
import { access, CORNER, eachRow, product, TILES, WORKGROUP } from "./ssdTile";
import { MATH } from "./wgsl";

/** Sums of log decays would make NaN of infinities; exp(-1000) is 0 already. */
const LOGS = `${MATH}
fn bounded(a: f32) -> f32 { return select(max(a, -1000.0), a, is_nan(a)); }
fn exp_of_four(x: vec4f) -> vec4f { return vec4f(fine_exp(x.x), fine_exp(x.y), fine_exp(x.z), fine_exp(x.w)); }
`;

/**
 * Queries, keys and totals. Groups: 64 channels of a row. Decays over a chunk are exponentials of sums, so that roundings do not add up.
 */
export const linearDecays = variants((before: boolean) =>
  program({
    name: "gatedLinearAttentionDecays",
    reads: { q: "f32", k: "f32", a: "f32" },
    writes: { work: "f32" },
    params: { ...SIZES, scale: "f32", queries: "u32", keys: "u32", total: "u32" },
    workgroup: 64,
    code: `${ROWS}${LOGS}
fn run(group: u32, lane: u32) {
  let at = place(group / tiles_of(params.keySize));
  let i = group % tiles_of(params.keySize) * 64u + lane;
  if (i >= params.keySize) { return; }
  var sum = 0.0;
  for (var t = 0u; t < 64u; t++) {
    var query = 0.0;
    if (t < at.length) {
      let source = key_of(at, t) + i;
      let next = sum + bounded(a[source]);
      query = params.scale * q[source] * fine_exp(${before ? "sum" : "next"});
      sum = next;
    }
    work[params.queries + (at.row * 64u + t) * params.keySize + i] = query;
  }
  work[params.total + at.row * params.keySize + i] = fine_exp(sum);
  sum = 0.0;
  for (var n = 1u; n <= 64u; n++) {
    let u = 64u - n;
    var key = 0.0;
    if (u < at.length) {
      let source = key_of(at, u) + i;
      key = k[source] * fine_exp(sum);
      sum += bounded(a[source]);
    }
    work[params.keys + (at.row * 64u + u) * params.keySize + i] = key;
  }
}`,
  }));

/**
 * Scores of a row. An invocation has the step u = lane % 64, whose k it takes from step to step, and the 16 steps t from 16 (lane / 64) on,
 * which it meets. Channels pass through the group's memory in slabs of 16.
 */
export const linearScores = variants(({ quads, bonus }: { quads: boolean; bonus: boolean }) => {
  const meet = (n: number) => bonus
    ? `{ let t = border + ${n}u; if (t > u) { met[${n}] += dot(key, query_tile[t * 4u + c]); key *= step_tile[t * 4u + c]; } }`
    : `{ let t = border + ${n}u; if (t > u) { key *= step_tile[t * 4u + c]; }
        if (t >= u) { met[${n}] += dot(key, query_tile[t * 4u + c]); } }`;
  const sixteen = (line: (n: number) => string) => Array.from({ length: 16 }, (_, n) => line(n)).join("\n      ");
  return program({
    name: "gatedLinearAttentionScores",
    reads: { q: view(quads), k: view(quads), a: view(quads), bonus: bonus ? view(quads) : undefined },
    writes: { work: "f32" },
    params: { ...SIZES, scale: "f32", scores: "u32" },
    workgroup: 256,
    code: `${ROWS}${LOGS}${access(quads, ["q", "k", "a", ...(bonus ? ["bonus"] : [])])}${keys("q", "k", "a")}
var<workgroup> query_tile: array<vec4f, 256>; // [64,16]
var<workgroup> step_tile: array<vec4f, 256>;
fn run(group: u32, lane: u32) {
  let at = place(group);
  let u = lane % 64u;
  let border = lane / 64u * 16u;
  let causal = border + 15u >= u;
  var met = array<f32, 16>();
  var own = 0.0;
  for (var slab = 0u; slab < params.keySize; slab += 16u) {
    workgroupBarrier();
    query_tile[lane] = params.scale * q_at(at, lane / 4u, slab + lane % 4u * 4u);
    step_tile[lane] = exp_of_four(a_at(at, lane / 4u, slab + lane % 4u * 4u));
    workgroupBarrier();
    for (var c = 0u; causal && c < 4u; c++) {
      var key = k_at(at, u, slab + 4u * c);
      ${bonus ? `let weight = get_bonus(at.head * params.keySize + slab + 4u * c, left_of(true, params.keySize, slab + 4u * c));
      own += dot(key * weight, query_tile[u * 4u + c]);` : ""}
      for (var t = u + 1u; t < border; t++) { key *= step_tile[t * 4u + c]; }
      ${sixteen(meet)}
    }
  }
  let out = params.scores + (at.row * 64u + border) * 64u + u;
  ${sixteen((n) => `work[out + ${64 * n}u] = ${bonus ? `select(met[${n}], own, u == border + ${n}u)` : `met[${n}]`};`)}
}`,
  });
});

/**
 * What a chunk adds to its state, or to the gradient by it: Σ_t rows_t values_tᵀ, of a section of work. Groups: tiles [64,64] of [K,V].
 */
export const linearAdded = variants((quads: boolean) =>
  program({
    name: "gatedLinearAttentionStates",
    reads: { work: view(quads), values: view(quads) },
    writes: { out: view(quads) },
    params: { ...SIZES, rows: "u32" },
    workgroup: WORKGROUP,
    code: `${ROWS}${TILES}${access(quads, ["work", "values"], ["out"])}${values("values")}${WORK}
fn run(group: u32, lane: u32) {${CORNER}
  let tiles = tiles_of(params.keySize) * tiles_of(params.valueSize);
  let at = place(group / tiles);
  let i0 = group % tiles / tiles_of(params.valueSize) * 64u;
  let j0 = group % tiles % tiles_of(params.valueSize) * 64u;
  var acc = array<vec4f, 8>();
  ${product("acc", "at.length", { along: "outer", value: "rows_at(params.rows, at, inner, i0 + outer)" },
    { along: "outer", value: "values_at(at, inner, j0 + outer)" }, "i0 + top < params.keySize && j0 + side < params.valueSize")}
  let j = j0 + side;
  ${eachRow((n) => `{
    let i = i0 + top + ${n}u;
    put_out((at.row * params.keySize + i) * params.valueSize + j, left_of(i < params.keySize, params.valueSize, j), acc[${n}]);
  }`)}
}`,
  }));

/**
 * Walks the states of all heads over their chunks: in `slots` [rows,K,V] each chunk's addition becomes the state before it, or backwards
 * the gradient by the state behind it. One invocation for each element. `incoming` null for zeros.
 */
export const linearPass = variants(({ backwards, incoming, outgoing }: { backwards: boolean; incoming: boolean; outgoing: boolean }) =>
  program({
    name: "gatedLinearAttentionPass",
    reads: { work: "f32", incoming: incoming ? "f32" : undefined },
    writes: { slots: "f32", outgoing: outgoing ? "f32" : undefined },
    params: { ...SIZES, total: "u32", count: "u32" },
    workgroup: 256,
    code: `
fn run(group: u32, lane: u32) {
  let index = group * 256u + lane; // of [B,H,K,V]
  if (index >= params.count) { return; }
  let size = params.keySize * params.valueSize;
  let head = index / size % params.heads;
  let batch = index / size / params.heads;
  let element = index % size;
  var state = ${incoming ? "incoming[index]" : "0.0"};
  for (var n = 0u; n < params.chunks; n++) {
    let chunk = ${backwards ? "params.chunks - 1u - n" : "n"};
    let row = (batch * params.chunks + chunk) * params.heads + head;
    let added = slots[row * size + element];
    slots[row * size + element] = state;
    state = work[params.total + row * params.keySize + element / params.valueSize] * state + added;
  }
  ${outgoing ? "outgoing[index] = state;" : ""}
}`,
  }));

/** y = queries · S + A v, or turned the gradient dv = keys · E + Aᵀ dy. Groups: tiles of 64 columns of a row. */
export const linearOutputs = variants(({ quads, turned }: { quads: boolean; turned: boolean }) =>
  program({
    name: turned ? "gatedLinearAttentionValueGradient" : "gatedLinearAttentionOutputs",
    reads: { work: view(quads), slots: view(quads), values: view(quads) },
    writes: { out: view(quads) },
    params: { ...SIZES, rows: "u32", scores: "u32" },
    workgroup: WORKGROUP,
    code: `${ROWS}${TILES}${access(quads, ["work", "slots", "values"], ["out"])}${values("values")}${states("slots")}${WORK}
fn run(group: u32, lane: u32) {${CORNER}
  let at = place(group / tiles_of(params.valueSize));
  let j0 = group % tiles_of(params.valueSize) * 64u;
  let used = top < at.length && j0 + side < params.valueSize;
  var acc = array<vec4f, 8>();
  ${product("acc", "params.keySize", { along: "inner", value: "rows_at(params.rows, at, outer, inner)" },
    { along: "outer", value: "slots_at(at, inner, j0 + outer)" }, "used")}
  ${product("acc", "at.length",
    turned ? { along: "outer", value: "square_at(params.scores, at, inner, outer)" }
      : { along: "inner", value: "square_at(params.scores, at, outer, inner)" },
    { along: "outer", value: "values_at(at, inner, j0 + outer)" }, `used && ${turned ? "slab + 15u >= top" : "slab <= top + 7u"}`)}
  let j = j0 + side;
  ${eachRow((n) => `{
    let t = top + ${n}u;
    put_out(value_of(at, t) + j, left_of(t < at.length, params.valueSize, j), acc[${n}]);
  }`)}
}`,
  }));

/**
 * One step, as the recurrence has it. Groups: 64 columns of a head's state; the rows are dealt out to four invocations a column.
 */
export const linearStep = variants(({ state, bonus }: { state: boolean; bonus: boolean }) =>
  program({
    name: "gatedLinearAttentionStep",
    reads: { q: "f32", k: "f32", v: "f32", a: "f32", bonus: bonus ? "f32" : undefined, state: state ? "f32" : undefined },
    writes: { y: "f32", out: "f32" },
    params: { ...SIZES, scale: "f32" },
    workgroup: 256,
    code: `${LOGS}
var<workgroup> parts: array<f32, 256>;
fn run(group: u32, lane: u32) {
  let tiles = (params.valueSize + 63u) / 64u;
  let row = group / tiles;
  let j = group % tiles * 64u + lane % 64u;
  var sum = 0.0;
  if (j < params.valueSize) {
    let value = v[row * params.valueSize + j];
    for (var i = lane / 64u; i < params.keySize; i += 4u) {
      let at = row * params.keySize + i;
      let before = ${state ? "state[at * params.valueSize + j]" : "0.0"};
      let added = k[at] * value;
      let after = fine_exp(a[at]) * before + added;
      out[at * params.valueSize + j] = after;
      sum += q[at] * ${bonus ? "(before + bonus[row % params.heads * params.keySize + i] * added)" : "after"};
    }
  }
  parts[lane] = sum;
  workgroupBarrier();
  if (lane < 64u && j < params.valueSize) {
    y[row * params.valueSize + j] = params.scale * (((parts[lane] + parts[lane + 64u]) + parts[lane + 128u]) + parts[lane + 192u]);
  }
}`,
  }));
