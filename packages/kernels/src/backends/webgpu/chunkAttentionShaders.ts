/**
 * Programs of chunk cross-attention (ops/chunkAttention.ts has the arithmetic) on tiles of 64 x 64, with the products of ssdTile.ts:
 *
 *   chunkAttentionForward   for 64 rows of a block, slot by slot: S = Q Kᵀ, softmax with a running maximum, O += w P V
 *   chunkAttentionQueries   the same rows: P and dP again, δ, dQ += dS K; leaves what the others need of each row and slot
 *   chunkAttentionWeights   dw of a slot: the sum of δ over its block
 *   chunkAttentionKeys      for 64 positions of a chunk, over all slots that hold it: Pᵀ and dPᵀ, dV += w Pᵀ dO, dK += dSᵀ Q
 *
 * A row is a query with one of the heads that share a key head: row r is query r / share, head r % share; those of a block follow
 * one another. Where D is above 64, every group makes 64 columns of its result from scores of its own.
 */
import { entries, entry, highest, JOINS, LOWEST } from "./attentionShaders";
import { program, variants } from "./program";
import { access, CORNER, eachRow, elements, product, productOfRegisters, TILES, WORKGROUP } from "./ssdTile";
import { EXP, workgroupReduce } from "./wgsl";

/**
 * What the others take: of `queries` from first_query on and `chunks` from first_chunk on, which are what is bound. `stride` is that of
 * the plan; `onto`: whether results are added to what is there.
 */
const SIZES = {
  queries: "u32", first_query: "u32", heads: "u32", keyHeads: "u32", share: "u32", headSize: "u32", chunks: "u32", first_chunk: "u32",
  chunkSize: "u32", blocks: "u32", slots: "u32", stride: "u32", offByOne: "u32", onto: "u32", scale: "f32",
} as const;

const PLACES = `
// \`d\`: the first of 64 columns. Rows first ... end - 1 of a block with so many slots, or positions first ... of a chunk.
struct Place { batch: u32, keyHead: u32, d: u32, first: u32, end: u32, block: u32, slots: u32 }
struct Slot { chunk: u32, weight: f32, length: u32 }

// Edge i of the plan as a row of those that are bound.
fn edge(batch: u32, i: u32) -> u32 {
  return (clamp(plan[batch * params.stride + i], params.first_query, params.first_query + params.queries)
    - params.first_query) * params.share;
}
fn slot_at(batch: u32, number: u32) -> Slot {
  let at = batch * params.stride + params.blocks + 3u + 3u * number;
  return Slot(plan[at] - params.first_chunk, bitcast<f32>(plan[at + 1u]), plan[at + 2u]);
}
fn scalar_of(at: Place, row: u32) -> u32 {
  return (at.batch * params.queries + row / params.share) * params.heads + at.keyHead * params.share + row % params.share;
}
fn left_of(valid: bool, d: u32) -> u32 { return select(0u, params.headSize - d, valid && d < params.headSize); }
`;

/**
 * Groups of rows: 64 columns of D, fastest; then key heads; then tiles of 64 rows; then sequences. The tiles of block i have the
 * numbers i + ⌊edge / 64⌋ up to those of the next: enough for its rows, one at least, and found without counting the others.
 */
const ROW_PLACES = `
fn place(group: u32) -> Place {
  let columns = (params.headSize + 63u) / 64u;
  let tiles = params.blocks + 2u + params.queries * params.share / 64u;
  let number = group / columns / params.keyHeads % tiles;
  let batch = group / columns / params.keyHeads / tiles;
  var low = 0u;
  var high = params.blocks + 2u;
  while (high - low > 1u) {
    let middle = (low + high) / 2u;
    if (middle + edge(batch, middle) / 64u <= number) { low = middle; } else { high = middle; }
  }
  let start = edge(batch, low);
  let first = start + 64u * (number - low - start / 64u);
  let inside = low >= 1u && low <= params.blocks;
  return Place(batch, group / columns % params.keyHeads, group % columns * 64u, first, edge(batch, low + 1u), low - 1u,
    select(0u, params.slots, inside));
}`;

/** Groups of {@link chunkAttentionForward} and {@link chunkAttentionQueries}. */
export const rowGroups = (batch: number, queries: number,
  { blocks, heads, keyHeads, headSize }: { blocks: number; heads: number; keyHeads: number; headSize: number }): number =>
  batch * keyHeads * Math.ceil(headSize / 64) * (blocks + 2 + Math.floor((queries * heads) / keyHeads / 64));

/** NAME_at(at, row, d): four neighbours along D of a row, zeros for rows and columns that there are not. */
const ofRows = (...names: string[]): string => names.map((name) => `
fn ${name}_at(at: Place, row: u32, d: u32, end: u32) -> vec4f {
  return get_${name}(scalar_of(at, row) * params.headSize + d, left_of(row < end, d));
}`).join("");

/** NAME_at(at, chunk, position, d, length): likewise of a position in a chunk. */
const ofPositions = (...names: string[]): string => names.map((name) => `
fn ${name}_at(at: Place, chunk: u32, position: u32, d: u32, length: u32) -> vec4f {
  return get_${name}(
    (((at.batch * params.chunks + chunk) * params.chunkSize + position) * params.keyHeads + at.keyHead) * params.headSize + d,
    left_of(position < length, d));
}`).join("");

/** A tile of scores: rows from `at.first` on, positions from `key` on of a slot's chunk. */
const scoresOf = (into: string, rows: string, positions: string): string => product(
  into, "params.headSize", { along: "inner", value: `${rows}_at(at, at.first + outer, inner, at.end)` },
  { along: "inner", value: `${positions}_at(at, slot.chunk, key + outer, inner, slot.length)` }, "used && key + side < slot.length",
);

export const chunkAttentionForward = variants((quads: boolean) =>
  program({
    name: "chunkAttention",
    reads: { q: elements(quads), keys: elements(quads), values: elements(quads), plan: "u32" },
    writes: { out: elements(quads), logSums: "f32" },
    params: SIZES,
    workgroup: WORKGROUP,
    code: `${PLACES}${ROW_PLACES}${TILES}${JOINS}${
      access(quads, ["q", "keys", "values", "out"], ["out"])}${ofRows("q")}${ofPositions("keys", "values")}
fn run(group: u32, lane: u32) {${CORNER}
  let at = place(group);
  if (at.first >= at.end) { return; }
  let used = at.first + top < at.end;
  let used_out = used && at.d + side < params.headSize;
  let lowest = select(${LOWEST}, 0.0, params.offByOne != 0u);
  var acc = array<vec4f, 8>();
  for (var number = 0u; number < at.slots; number++) {
    let slot = slot_at(at.batch, at.block * params.slots + number);
    if (slot.chunk >= params.chunks) { continue; }
    var most = array<vec4f, 2>(vec4f(lowest), vec4f(lowest));
    var total = array<vec4f, 2>(vec4f(), vec4f());
    var own = array<vec4f, 8>();
    for (var key = 0u; key < slot.length; key += 64u) {
      var scores = array<vec4f, 8>();
      ${scoresOf("scores", "q", "keys")}
      let seen = vec4u(key + side) + vec4u(0u, 1u, 2u, 3u) < vec4u(slot.length);
      ${eachRow((i) => `scores[${i}] = select(vec4f(${LOWEST}), scores[${i}] * params.scale, seen);`)}
      let highest = ${entries((i) => highest(`scores[${i}]`))};
      let joined = join_max(top, side, max(most[0], highest[0]), max(most[1], highest[1]));
      let shrink = array<vec4f, 2>(exp(max(most[0] - joined[0], vec4f(-104.0))), exp(max(most[1] - joined[1], vec4f(-104.0))));
      most = joined;
      ${eachRow((i) => `scores[${i}] = select(vec4f(), exp_four(scores[${i}] - ${entry("most", i)}), seen); `
        + `own[${i}] *= ${entry("shrink", i)};`)}
      let sums = ${entries((i) => `dot(scores[${i}], vec4f(1.0))`)};
      total[0] = total[0] * shrink[0] + sums[0];
      total[1] = total[1] * shrink[1] + sums[1];
      ${productOfRegisters("own", "scores", "min(64u, slot.length - key)",
        "values_at(at, slot.chunk, key + inner, at.d + outer, slot.length)", "used_out")}
    }
    total = join_sum(top, side, total[0], total[1]);
    if (params.offByOne != 0u) {
      total[0] += exp(-most[0]);
      total[1] += exp(-most[1]);
    }
    ${eachRow((i) => `{
      acc[${i}] += own[${i}] * (slot.weight / ${entry("total", i)});
      let row = at.first + top + ${i}u;
      if (side == 0u && at.d == 0u && row < at.end) {
        logSums[scalar_of(at, row) * params.slots + number] = ${entry("most", i)} + log_one(${entry("total", i)});
      }
    }`)}
  }
  ${eachRow((i) => `{
    let row = at.first + top + ${i}u;
    let to = scalar_of(at, row) * params.headSize + at.d + side;
    let left = left_of(row < at.end, at.d + side);
    put_out(to, left, acc[${i}] + get_out(to, select(0u, left, params.onto != 0u)));
  }`)}
}`,
  }));

/** `stats` [B,T,Hq,K,2]: log(e + Σ exp(z_s)) and δ, of slots that are not empty. */
export const chunkAttentionQueries = variants((quads: boolean) =>
  program({
    name: "chunkAttentionQueries",
    reads: { q: elements(quads), keys: elements(quads), values: elements(quads), dout: elements(quads), plan: "u32", logSums: "f32" },
    writes: { dq: elements(quads), stats: "f32" },
    params: SIZES,
    workgroup: WORKGROUP,
    code: `${PLACES}${ROW_PLACES}${TILES}${JOINS}${
      access(quads, ["q", "keys", "values", "dout", "dq"], ["dq"])}${ofRows("q", "dout")}${ofPositions("keys", "values")}
fn run(group: u32, lane: u32) {${CORNER}
  let at = place(group);
  if (at.first >= at.end) { return; }
  let used = at.first + top < at.end;
  let used_out = used && at.d + side < params.headSize;
  var acc = array<vec4f, 8>();
  for (var number = 0u; number < at.slots; number++) {
    let slot = slot_at(at.batch, at.block * params.slots + number);
    if (slot.chunk >= params.chunks) { continue; }
    let logs = ${entries((i) => `logSums[scalar_of(at, min(at.first + top + ${i}u, at.end - 1u)) * params.slots + number]`)};
    var delta = array<vec4f, 2>(vec4f(), vec4f());
    // A chunk of several tiles needs δ of all before the gradient of any: a round for that comes first.
    let single = slot.length <= 64u;
    for (var round = select(0u, 1u, single); round < 2u; round++) {
      for (var key = 0u; key < slot.length; key += 64u) {
        var scores = array<vec4f, 8>();
        var dscores = array<vec4f, 8>();
        ${scoresOf("scores", "q", "keys")}
        ${scoresOf("dscores", "dout", "values")}
        let seen = vec4u(key + side) + vec4u(0u, 1u, 2u, 3u) < vec4u(slot.length);
        ${eachRow((i) => `scores[${i}] = select(vec4f(), exp_four(scores[${i}] * params.scale - ${entry("logs", i)}), `
          + `seen & vec4<bool>(at.first + top + ${i}u < at.end));`)}
        if (round == 0u || single) {
          let sums = ${entries((i) => `dot(scores[${i}], dscores[${i}])`)};
          delta[0] += sums[0];
          delta[1] += sums[1];
        }
        if (single) { delta = join_sum(top, side, delta[0], delta[1]); }
        if (round == 1u) {
          ${eachRow((i) => `dscores[${i}] = slot.weight * scores[${i}] * (dscores[${i}] - ${entry("delta", i)});`)}
          ${productOfRegisters("acc", "dscores", "min(64u, slot.length - key)",
            "keys_at(at, slot.chunk, key + inner, at.d + outer, slot.length)", "used_out")}
        }
      }
      if (round == 0u) { delta = join_sum(top, side, delta[0], delta[1]); }
    }
    if (side == 0u && at.d == 0u) {
      ${eachRow((i) => `if (at.first + top + ${i}u < at.end) {
        let to = 2u * (scalar_of(at, at.first + top + ${i}u) * params.slots + number);
        stats[to] = ${entry("logs", i)};
        stats[to + 1u] = ${entry("delta", i)};
      }`)}
    }
  }
  ${eachRow((i) => `{
    let row = at.first + top + ${i}u;
    let to = scalar_of(at, row) * params.headSize + at.d + side;
    let left = left_of(row < at.end, at.d + side);
    put_dq(to, left, acc[${i}] * params.scale + get_dq(to, select(0u, left, params.onto != 0u)));
  }`)}
}`,
  }));

const WEIGHT_LANES = 64;

/** A group is a slot; its lanes share the queries and heads of its block. */
export const chunkAttentionWeights = program({
  name: "chunkAttentionWeights",
  reads: { plan: "u32", stats: "f32" },
  writes: { dweights: "f32" },
  params: SIZES,
  workgroup: WEIGHT_LANES,
  code: `${PLACES}${workgroupReduce("sum", WEIGHT_LANES, false)}
fn run(group: u32, lane: u32) {
  let number = group % (params.blocks * params.slots);
  let batch = group / (params.blocks * params.slots);
  let block = number / params.slots;
  // Rows of one key head, and all key heads: every query and head of the block.
  let first = edge(batch, block + 1u) * params.keyHeads;
  let end = edge(batch, block + 2u) * params.keyHeads;
  var sum = 0.0;
  // Whatever is bound of the memory, all of its slots have been seen to.
  if (slot_at(batch, number).length > 0u) {
    for (var row = first + lane; row < end; row += WORKGROUP) {
      sum += stats[2u * ((batch * params.queries * params.heads + row) * params.slots + number % params.slots) + 1u];
    }
  }
  sum = workgroup_sum(sum, lane);
  if (lane != 0u) { return; }
  if (params.onto != 0u) { sum += dweights[group]; }
  dweights[group] = sum;
}`,
});

/** Slots that a group looks at in one go for those that hold its chunk. */
const LISTED = 4 * WORKGROUP;

/** Groups: 64 columns of D, fastest; then key heads, tiles of 64 positions, chunks, sequences. */
export const chunkAttentionKeys = variants((quads: boolean) =>
  program({
    name: "chunkAttentionKeys",
    reads: { q: elements(quads), keys: elements(quads), values: elements(quads), dout: elements(quads), plan: "u32", stats: "f32" },
    writes: { dkeys: elements(quads), dvalues: elements(quads) },
    params: SIZES,
    workgroup: WORKGROUP,
    code: `${EXP}${PLACES}${TILES}${
      access(quads, ["q", "keys", "values", "dout", "dkeys", "dvalues"], ["dkeys", "dvalues"])}${
      ofRows("q", "dout")}${ofPositions("keys", "values")}
var<workgroup> holding: array<atomic<u32>, ${LISTED / 32}>;
var<workgroup> list: array<u32, ${LISTED}>;
var<workgroup> listed: u32;

// Lists, in their order, which of the slots from \`start\` on hold the chunk, and gives their number.
fn find(batch: u32, chunk: u32, start: u32, lane: u32) -> u32 {
  workgroupBarrier();
  if (lane < ${LISTED / 32}u) { atomicStore(&holding[lane], 0u); }
  workgroupBarrier();
  let end = min(start + ${LISTED}u, params.blocks * params.slots);
  for (var number = start + lane; number < end; number += WORKGROUP) {
    let bit = number - start;
    if (slot_at(batch, number).chunk == chunk) { atomicOr(&holding[bit / 32u], 1u << (bit % 32u)); }
  }
  workgroupBarrier();
  if (lane < ${LISTED / 32}u) {
    var place = 0u;
    for (var word = 0u; word < lane; word++) { place += countOneBits(atomicLoad(&holding[word])); }
    for (var bits = atomicLoad(&holding[lane]); bits != 0u; bits &= bits - 1u) {
      list[place] = start + 32u * lane + countTrailingZeros(bits);
      place++;
    }
    if (lane == ${LISTED / 32 - 1}u) { listed = place; }
  }
  return workgroupUniformLoad(&listed);
}

fn run(group: u32, lane: u32) {${CORNER}
  let columns = (params.headSize + 63u) / 64u;
  let tiles = (params.chunkSize + 63u) / 64u;
  let key = group / columns / params.keyHeads % tiles * 64u;
  let chunk = group / columns / params.keyHeads / tiles % params.chunks;
  var at = Place(group / columns / params.keyHeads / tiles / params.chunks, group / columns % params.keyHeads,
    group % columns * 64u, 0u, 0u, 0u, 0u);
  var acc_k = array<vec4f, 8>();
  var acc_v = array<vec4f, 8>();
  for (var start = 0u; start < params.blocks * params.slots; start += ${LISTED}u) {
    let count = find(at.batch, chunk, start, lane);
    for (var i = 0u; i < count; i++) {
      let number = workgroupUniformLoad(&list[i]);
      let slot = slot_at(at.batch, number);
      let end = edge(at.batch, number / params.slots + 2u);
      let used = key + top < slot.length;
      let used_out = used && at.d + side < params.headSize;
      for (var first = edge(at.batch, number / params.slots + 1u); first < end; first += 64u) {
        var scores = array<vec4f, 8>();
        var dscores = array<vec4f, 8>();
        ${(["scores", "dscores"] as const).map((into) => product(
          into, "params.headSize",
          { along: "inner", value: `${into === "scores" ? "keys" : "values"}_at(at, chunk, key + outer, inner, slot.length)` },
          { along: "inner", value: `${into === "scores" ? "q" : "dout"}_at(at, first + outer, inner, end)` }, "used && first + side < end",
        )).join("\n        ")}
        let rows = vec4u(first + side) + vec4u(0u, 1u, 2u, 3u);
        let safe = min(rows, vec4u(end - 1u));
        let of_rows = 2u * (vec4u(${["x", "y", "z", "w"].map((name) => `scalar_of(at, safe.${name})`)
          .join(", ")}) * params.slots + number % params.slots);
        let logs = vec4f(${["x", "y", "z", "w"].map((name) => `stats[of_rows.${name}]`).join(", ")});
        let delta = vec4f(${["x", "y", "z", "w"].map((name) => `stats[of_rows.${name} + 1u]`).join(", ")});
        ${eachRow((i) => `{
          let seen = (rows < vec4u(end)) & vec4<bool>(key + top + ${i}u < slot.length);
          let share = select(vec4f(), slot.weight * exp_four(scores[${i}] * params.scale - logs), seen);
          scores[${i}] = share;
          dscores[${i}] = select(vec4f(), share * (dscores[${i}] - delta), seen);
        }`)}
        ${productOfRegisters("acc_v", "scores", "min(64u, end - first)", "dout_at(at, first + inner, at.d + outer, end)", "used_out")}
        ${productOfRegisters("acc_k", "dscores", "min(64u, end - first)", "q_at(at, first + inner, at.d + outer, end)", "used_out")}
      }
    }
  }
  ${eachRow((i) => `{
    let position = key + top + ${i}u;
    let to = (((at.batch * params.chunks + chunk) * params.chunkSize + position) * params.keyHeads + at.keyHead) * params.headSize
      + at.d + side;
    let left = left_of(position < params.chunkSize, at.d + side);
    let before = select(0u, left, params.onto != 0u);
    put_dkeys(to, left, acc_k[${i}] * params.scale + get_dkeys(to, before));
    put_dvalues(to, left, acc_v[${i}] + get_dvalues(to, before));
  }`)}
}`,
  }));
