/**
 * Programs of the gradient of linear attention with a decay per channel; its header in native/cpu/gatedLinearAttentionGradient.cpp derives
 * what stands here. S is the state before a chunk, E the gradient by the state behind it. More sections of `work`:
 *   dscores  [rows,64,64] dA[t,u] = dy_t · v_u
 *   through  [rows,64,K]  S dy_t
 *   behind   [rows,64,K]  E v_u
 *   whole    [rows,K]     D(last,0) rowsum(E∘S)
 *   dbonus   [rows,K]     each row's part of dbonus
 */
import { ROWS, SIZES, states, values, view } from "./gatedLinearAttentionTile";
import { program, variants } from "./program";
import { access, CORNER, eachRow, product, TILES, WORKGROUP } from "./ssdTile";
import { MATH } from "./wgsl";

/** dA. Groups: rows. */
export const linearScoreGradient = variants((quads: boolean) =>
  program({
    name: "gatedLinearAttentionScoreGradient",
    reads: { dy: view(quads), v: view(quads) },
    writes: { work: view(quads) },
    params: { ...SIZES, dscores: "u32" },
    workgroup: WORKGROUP,
    code: `${ROWS}${TILES}${access(quads, ["dy", "v"], ["work"])}${values("dy", "v")}
fn run(group: u32, lane: u32) {${CORNER}
  let at = place(group);
  var acc = array<vec4f, 8>();
  ${product("acc", "params.valueSize", { along: "inner", value: "dy_at(at, outer, inner)" },
    { along: "inner", value: "v_at(at, outer, inner)" }, "side <= top + 7u && top < at.length")}
  ${eachRow((n) => `put_work(params.dscores + (at.row * 64u + top + ${n}u) * 64u + side, 4u, acc[${n}]);`)}
}`,
  }));

/**
 * A section of work [rows,64,K]: a state times the values of all steps, Σ_j slots[i,j] values_t[j]. Groups: tiles of 64 channels of a row.
 */
export const linearTimesState = variants((quads: boolean) =>
  program({
    name: "gatedLinearAttentionKeyGradient",
    reads: { slots: view(quads), values: view(quads) },
    writes: { work: view(quads) },
    params: { ...SIZES, section: "u32" },
    workgroup: WORKGROUP,
    code: `${ROWS}${TILES}${access(quads, ["slots", "values"], ["work"])}${values("values")}${states("slots")}
fn run(group: u32, lane: u32) {${CORNER}
  let at = place(group / tiles_of(params.keySize));
  let i0 = group % tiles_of(params.keySize) * 64u;
  var acc = array<vec4f, 8>();
  ${product("acc", "params.valueSize", { along: "inner", value: "values_at(at, outer, inner)" },
    { along: "inner", value: "slots_at(at, i0 + outer, inner)" }, "top < at.length && i0 + side < params.keySize")}
  let i = i0 + side;
  let left = left_of(true, params.keySize, i);
  ${eachRow((n) => `put_work(params.section + (at.row * 64u + top + ${n}u) * params.keySize + i, left, acc[${n}]);`)}
}`,
  }));

/** D(last,0) rowsum(E∘S). Groups: 16 channels of a row, 16 invocations for each. */
export const linearWhole = program({
  name: "gatedLinearAttentionWhole",
  reads: { starts: "f32", ends: "f32" },
  writes: { work: "f32" },
  params: { ...SIZES, total: "u32", whole: "u32" },
  workgroup: 256,
  code: `
var<workgroup> parts: array<f32, 256>;
fn run(group: u32, lane: u32) {
  let blocks = (params.keySize + 15u) / 16u;
  let i = group % blocks * 16u + lane / 16u;
  let channel = group / blocks * params.keySize + i;
  var sum = 0.0;
  if (i < params.keySize) {
    for (var j = lane % 16u; j < params.valueSize; j += 16u) {
      sum += starts[channel * params.valueSize + j] * ends[channel * params.valueSize + j];
    }
  }
  parts[lane] = sum;
  workgroupBarrier();
  if (lane % 16u == 0u && i < params.keySize) {
    for (var n = 1u; n < 16u; n++) { sum += parts[lane + n]; }
    work[params.whole + channel] = work[params.total + channel] * sum;
  }
}`,
});

/**
 * dq, dk, da, and each row's part of dbonus. Groups: 16 channels of a row; an invocation has a channel (lane % 16) in one of the four
 * sub-chunks of 16 steps. Steps outside are met through the sub-chunk's borders, steps inside one by one.
 */
export const linearKeys = variants((bonus: boolean) =>
  program({
    name: "gatedLinearAttentionGradient",
    reads: { q: "f32", k: "f32", a: "f32", bonus: bonus ? "f32" : undefined },
    writes: { work: "f32", dq: "f32", dk: "f32", da: "f32" },
    params: { ...SIZES, scale: "f32", queries: "u32", dscores: "u32", through: "u32", behind: "u32", whole: "u32", dbonus: "u32" },
    workgroup: 64,
    code: `${ROWS}${MATH}
var<workgroup> own_sums: array<f32, 64>;
fn run(group: u32, lane: u32) {
  let blocks = (params.keySize + 15u) / 16u;
  let at = place(group / blocks);
  let i = group % blocks * 16u + lane % 16u;
  let first = lane / 16u * 16u;
  var sum_of_own = 0.0;
  if (i < params.keySize && first < at.length) { sum_of_own = channel(at, i, first); }
  ${bonus ? `own_sums[lane] = sum_of_own;
  workgroupBarrier();
  if (lane < 16u && i < params.keySize) {
    let sum = ((own_sums[lane] + own_sums[lane + 16u]) + own_sums[lane + 32u]) + own_sums[lane + 48u];
    work[params.dbonus + at.row * params.keySize + i] = sum;
  }` : ""}
}
fn channel(at: Place, i: u32, first: u32) -> f32 {
  let stride = params.heads * params.keySize;
  let base = key_of(at, 0u) + i;
  let rows = at.row * 64u;
  let square = params.dscores + rows * 64u;
  let end = min(first + 16u, at.length);
  let count = end - first;
  var query = array<f32, 16>(); var key = array<f32, 16>(); var step = array<f32, 16>();
  var dquery = array<f32, 16>(); var dkey = array<f32, 16>();
  var block_log = 0.0;
  for (var n = 0u; n < count; n++) {
    let source = base + (first + n) * stride;
    query[n] = params.scale * q[source];
    key[n] = k[source];
    step[n] = fine_exp(a[source]);
    block_log += a[source];
  }
  let block = fine_exp(block_log);

  // dq from the steps before: S_start dy_t. Then behind the sub-chunk: G_end v_u.
  var before_log = 0.0;
  for (var t = 0u; t < first; t++) { before_log += a[base + t * stride]; }
  let before = fine_exp(before_log);
  for (var n = 0u; n < count; n++) { dquery[n] = before * work[params.through + (rows + first + n) * params.keySize + i]; }
  var decay = 1.0;
  for (var u = first; u > 0u; u--) {
    let source = base + (u - 1u) * stride;
    let carried = k[source] * decay;
    for (var n = 0u; n < count; n++) { dquery[n] += work[square + (first + n) * 64u + u - 1u] * carried; }
    decay *= fine_exp(a[source]);
  }
  var after_log = 0.0;
  for (var t = end; t < at.length; t++) { after_log += a[base + t * stride]; }
  let after = fine_exp(after_log);
  for (var n = 0u; n < count; n++) { dkey[n] = after * work[params.behind + (rows + first + n) * params.keySize + i]; }
  decay = 1.0;
  var neither = work[params.whole + at.row * params.keySize + i];
  for (var t = end; t < at.length; t++) {
    let source = base + t * stride;
    ${bonus ? "" : "decay *= fine_exp(a[source]);"}
    let carried = params.scale * q[source] * decay;
    for (var n = 0u; n < count; n++) { dkey[n] += work[square + t * 64u + first + n] * carried; }
    let row = (rows + t) * params.keySize + i;
    neither += work[params.queries + row] * work[params.through + row];
    ${bonus ? "decay *= fine_exp(a[source]);" : ""}
  }
  // Pairs of steps before and behind.
  var across = 0.0;
  decay = 1.0;
  for (var u = first; u > 0u; u--) {
    let source = base + (u - 1u) * stride;
    var gradient = after * work[params.behind + (rows + u - 1u) * params.keySize + i];
    var later = 1.0;
    for (var t = end; t < at.length; t++) {
      let to = base + t * stride;
      ${bonus ? "" : "later *= fine_exp(a[to]);"}
      gradient += work[square + t * 64u + u - 1u] * (params.scale * q[to] * later);
      ${bonus ? "later *= fine_exp(a[to]);" : ""}
    }
    across += k[source] * decay * gradient;
    decay *= fine_exp(a[source]);
  }
  neither += across * block;

  decay = 1.0;
  var only_t = 0.0;
  for (var n = 0u; n < count; n++) {
    ${bonus ? `dquery[n] *= decay;
    decay *= step[n];
    if (n > 0u) { only_t += query[n] * dquery[n]; }` : `decay *= step[n];
    dquery[n] *= decay;
    only_t += query[n] * dquery[n];`}
  }
  decay = 1.0;
  for (var n = count; n > 0u; n--) {
    dkey[n - 1u] *= decay;
    decay *= step[n - 1u];
  }
  da[base + first * stride] = neither + only_t;
  let weight = ${bonus ? "bonus[at.head * params.keySize + i]" : "1.0"};
  var own = 0.0;
  var only_u = 0.0;
  for (var u = 0u; u < count; u++) {
    let own_gradient = work[square + (first + u) * 64u + first + u];
    only_u += key[u] * dkey[u];
    dkey[u] += own_gradient * weight * query[u];
    dquery[u] += own_gradient * weight * key[u];
    own += own_gradient * query[u] * key[u];
    var with_t = 0.0;
    decay = 1.0;
    for (var t = u + 1u; t < count; t++) {
      ${bonus ? "if (t > u + 1u) { decay *= step[t - 1u]; }" : "decay *= step[t];"}
      let pair = work[square + (first + t) * 64u + first + u] * decay;
      dquery[t] += pair * key[u];
      dkey[u] += pair * query[t];
      ${bonus ? "if (t > u + 1u) { with_t += query[t] * dquery[t]; }" : "with_t += query[t] * dquery[t];"}
    }
    if (u + 1u < count) { da[base + (first + u + 1u) * stride] = neither + only_u + with_t; }
  }
  for (var n = 0u; n < count; n++) {
    dq[base + (first + n) * stride] = params.scale * dquery[n];
    dk[base + (first + n) * stride] = dkey[n];
  }
  return own;
}`,
  }));

/** dbonus [H,K], or what it has already and more. Groups: 64 of its elements. */
export const linearBonus = program({
  name: "gatedLinearAttentionBonus",
  reads: { work: "f32" },
  writes: { out: "f32" },
  params: { heads: "u32", keySize: "u32", dbonus: "u32", rows: "u32", more: "u32" },
  workgroup: 64,
  code: `
fn run(group: u32, lane: u32) {
  let size = params.heads * params.keySize;
  let at = group * 64u + lane;
  if (at >= size) { return; }
  var sum = select(0.0, out[at], params.more == 1u);
  for (var row = 0u; row < params.rows; row += params.heads) { sum += work[params.dbonus + row * params.keySize + at]; }
  out[at] = sum;
}`,
});
