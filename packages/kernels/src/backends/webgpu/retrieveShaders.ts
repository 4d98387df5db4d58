/** The programs of retrieval: ranking, and the gradient. */
import { boundAs } from "./half";
import { program, variants } from "./program";
import { MATH, ORDER, workgroupReduce } from "./wgsl";
import { THREEFRY } from "./random";

/** Lanes of a group that ranks; at least as many as can be kept. */
export const RANK_LANES = 256;
/** Candidates that a group holds: those kept, and a whole round of new ones. */
const CAPACITY = 2 * RANK_LANES;

/**
 * Ranks the candidates from <= slot < end of a row: afterwards `slots`, for i < `filled` <= params.k, has the best first. Needs
 * `fn key_of(row: u32, slot: u32) -> u32`, the larger the better and 0 for none; the lower slot wins ties.
 *
 * Every lane looks at one candidate a round and puts it into a list if it beats the k-th best known. Where in the list is
 * left to chance, but not what is in it, and it is sorted (Batcher's bitonic network) before the best are kept.
 */
const RANKING = `
var<workgroup> keys: array<u32, ${CAPACITY}>;
var<workgroup> slots: array<u32, ${CAPACITY}>;
var<workgroup> found: atomic<u32>;
var<workgroup> filled: u32;
var<workgroup> least: u32;

fn keep_best(lane: u32) {
  let count = workgroupUniformLoad(&filled);
  var size = 2u;
  while (size < count) { size *= 2u; }
  for (var i = count + lane; i < size; i += WORKGROUP) { keys[i] = 0u; slots[i] = 0xffffffffu; }
  workgroupBarrier();
  for (var width = 2u; width <= size; width *= 2u) {
    for (var step = width / 2u; step > 0u; step /= 2u) {
      for (var pair = lane; pair < size / 2u; pair += WORKGROUP) {
        let i = 2u * pair - pair % step;
        let j = i + step;
        let a = vec2u(keys[i], slots[i]);
        let b = vec2u(keys[j], slots[j]);
        let swapped = b.x > a.x || (b.x == a.x && b.y < a.y);
        if (swapped == ((i & width) == 0u)) {
          keys[i] = b.x;
          slots[i] = b.y;
          keys[j] = a.x;
          slots[j] = a.y;
        }
      }
      workgroupBarrier();
    }
  }
  if (lane == 0u) {
    let kept = min(count, params.k);
    least = select(0u, keys[params.k - 1u], count >= params.k);
    filled = kept;
    atomicStore(&found, kept);
  }
  workgroupBarrier();
}

fn rank(row: u32, start: u32, end: u32, lane: u32) {
  if (lane == 0u) {
    filled = 0u;
    least = 0u;
    atomicStore(&found, 0u);
  }
  workgroupBarrier();
  for (var at = start; at < end; at += WORKGROUP) {
    if (workgroupUniformLoad(&filled) > ${CAPACITY - RANK_LANES}u) { keep_best(lane); }
    let slot = at + lane;
    if (slot < end) {
      let key = key_of(row, slot);
      if (key > least) {
        let place = atomicAdd(&found, 1u);
        keys[place] = key;
        slots[place] = slot;
      }
    }
    workgroupBarrier();
    if (lane == 0u) { filled = atomicLoad(&found); }
  }
  keep_best(lane);
}`;

/** Writes indices and weights of a row. Needs `index_of(row, slot)` and `score_of(row, slot)`. */
const FINAL = `
${workgroupReduce("max", RANK_LANES, false)}
${workgroupReduce("sum", RANK_LANES, false)}
fn write(row: u32, lane: u32) {
  let present = lane < filled;
  let slot = slots[lane];
  var score = -3.4e38;
  if (present) { score = score_of(row, slot); }
  let largest = workgroup_max(score, lane);
  let share = select(0.0, fine_exp(score - largest), present);
  let total = workgroup_sum(share, lane);
  if (lane >= params.k) { return; }
  var index = -1;
  if (present) { index = index_of(row, slot); }
  indices[row * params.k + lane] = index;
  weights[row * params.k + lane] = select(0.0, share / total, present);
}`;

/** u in (0, 1) from word (row · landmarks + landmark) of the key, whose number may need more than 32 bits. */
const GUMBEL = `
${THREEFRY}
fn wide_product(a: u32, b: u32) -> vec2u {
  let low = (a & 0xffffu) * (b & 0xffffu);
  let middle = (a >> 16u) * (b & 0xffffu) + (low >> 16u);
  let other = (a & 0xffffu) * (b >> 16u) + (middle & 0xffffu);
  return vec2u((other << 16u) | (low & 0xffffu), (a >> 16u) * (b >> 16u) + (middle >> 16u) + (other >> 16u));
}
fn gumbel(row: u32, landmark: u32) -> f32 {
  let start = wide_product(row, params.landmarks);
  let low = start.x + landmark;
  let high = start.y + select(0u, 1u, low < landmark);
  let words = threefry(vec2u(params.key_low, params.key_high), vec2u((low >> 1u) | (high << 31u), high >> 1u));
  let word = select(words.x, words.y, (low & 1u) == 1u);
  return -fine_log(-fine_log(f32(((word >> 8u) & 0xfffffeu) | 1u) * 0x1p-24));
}`;

/**
 * Ranks stretches of `scores` [sequences, rows, columns], products of queries first_row on and landmarks first_column on. Groups: rows of
 * all sequences × splits of `stretch` columns. The best of a split go to `partials` [3: keys, landmarks, scores; rows of all sequences;
 * parts; k] from part first_part on or, when there is one part only, to the results.
 */
export const rankScores = variants(({ noisy, final }: { noisy: boolean; final: boolean }) =>
  program({
    name: "retrieve.rank",
    reads: { scores: "f32" },
    writes: final ? { indices: "i32", weights: "f32", partials: undefined } : { indices: undefined, weights: undefined, partials: "u32" },
    params: {
      sequences: "u32", rows: "u32", columns: "u32", k: "u32", lead: "i32", splits: "u32", stretch: "u32", parts: "u32",
      first_part: "u32", scale: "f32",
      first_column: "u32", all_rows: "u32", first_row: "u32", landmarks: "u32", key_low: "u32", key_high: "u32",
    },
    workgroup: RANK_LANES,
    code: `
${MATH}${ORDER}${noisy ? GUMBEL : ""}
fn score_of(row: u32, slot: u32) -> f32 { return scores[row * params.columns + slot] * params.scale; }
fn index_of(row: u32, slot: u32) -> i32 { return i32(params.first_column + slot); }
fn key_of(row: u32, slot: u32) -> u32 {
  var score = score_of(row, slot);
  let finite = (bitcast<u32>(score) & 0x7f800000u) != 0x7f800000u;
  ${noisy ? "score += gumbel(row / params.rows * params.all_rows + params.first_row + row % params.rows, params.first_column + slot);" : ""}
  return select(0u, bitcast<u32>(order_of(bitcast<u32>(score))) ^ 0x80000000u, finite);
}
${RANKING}${final ? FINAL : ""}

fn run(group: u32, lane: u32) {
  let row = group / params.splits;
  let split = group % params.splits;
  // Of these columns, a query sees those of earlier chunks.
  let visible = u32(clamp(params.lead + i32(row % params.rows), 0, i32(params.columns)));
  rank(row, split * params.stretch, min((split + 1u) * params.stretch, visible), lane);
  ${final ? "write(row, lane);" : `
  if (lane >= params.k) { return; }
  let present = lane < filled;
  let slot = slots[lane];
  let size = params.sequences * params.rows * params.parts * params.k;
  let at = (row * params.parts + params.first_part + split) * params.k + lane;
  partials[at] = select(0u, keys[lane], present);
  partials[size + at] = params.first_column + slot;
  partials[2u * size + at] = 0u;
  if (present) { partials[2u * size + at] = bitcast<u32>(score_of(row, slot)); }`}
}`,
  }));

/**
 * Joins the parts of a row; groups are rows. Parts follow each other as their landmarks do, so that the lower slot is the lower
 * landmark among equals.
 */
export const joinRanks = program({
  name: "retrieve.join",
  reads: { partials: "u32" },
  writes: { indices: "i32", weights: "f32" },
  params: { k: "u32", size: "u32", slots: "u32" },
  workgroup: RANK_LANES,
  code: `
${MATH}
fn key_of(row: u32, slot: u32) -> u32 { return partials[row * params.slots + slot]; }
fn index_of(row: u32, slot: u32) -> i32 { return i32(partials[params.size + row * params.slots + slot]); }
fn score_of(row: u32, slot: u32) -> f32 { return bitcast<f32>(partials[2u * params.size + row * params.slots + slot]); }
${RANKING}${FINAL}
fn run(group: u32, lane: u32) {
  rank(group, 0u, params.slots, lane);
  write(group, lane);
}`,
});

const QUERY_LANES = 64;

/**
 * The scores' gradient ds [rows, k], and with it that of the queries, from the landmarks (of all sequences one after another) from
 * first_landmark on that are bound. A group is a row; its lanes have a number of the width each, or four.
 */
export const queryGradients = variants(({ vector, wanted }: { vector: boolean; wanted: boolean }) =>
  program({
    name: "retrieve.queries",
    reads: { indices: "i32", weights: "f32", dweights: "f32", landmarks: wanted ? boundAs(vector) : undefined },
    writes: { ds: "f32", dqueries: wanted ? boundAs(vector) : undefined },
    params: {
      k: "u32", width: "u32", first_row: "u32", all_rows: "u32", all_landmarks: "u32", first_landmark: "u32", landmark_count: "u32",
      onto: "u32", scale: "f32",
    },
    workgroup: QUERY_LANES,
    code: `
${workgroupReduce("sum", QUERY_LANES, false)}
var<workgroup> own: array<f32, ${RANK_LANES}>;
var<workgroup> places: array<u32, ${RANK_LANES}>;
fn run(group: u32, lane: u32) {
  let at = group * params.k;
  let sequence = (params.first_row + group) / params.all_rows;
  var inner = 0.0;
  for (var i = lane; i < params.k; i += WORKGROUP) {
    if (indices[at + i] >= 0) { inner += weights[at + i] * dweights[at + i]; }
  }
  inner = workgroup_sum(inner, lane);
  for (var i = lane; i < params.k; i += WORKGROUP) {
    let index = indices[at + i];
    let gradient = select(0.0, params.scale * weights[at + i] * (dweights[at + i] - inner), index >= 0);
    ds[at + i] = gradient;
    own[i] = gradient;
    // What is not bound lies beyond all that is.
    places[i] = select(0xffffffffu, sequence * params.all_landmarks + u32(index) - params.first_landmark, index >= 0);
  }${wanted ? `
  workgroupBarrier();
  for (var d = lane; d < params.width; d += WORKGROUP) {
    var sum = ${boundAs(vector)}();
    for (var i = 0u; i < params.k; i++) {
      if (places[i] < params.landmark_count) { sum += own[i] * landmarks[places[i] * params.width + d]; }
    }
    let to = group * params.width + d;
    if (params.onto == 1u) { sum += dqueries[to]; }
    dqueries[to] = sum;
  }` : ""}
}`,
  }));

/** Landmarks of a group, and lanes that share one. */
const LANDMARK_ROWS = 16;
const LANDMARK_LANES = 16;
const ENTRIES = LANDMARK_ROWS * LANDMARK_LANES;

/** Groups of {@link landmarkGradients} for so many landmarks of a sequence; `units` are numbers of the width, or fours. */
export const landmarkTiles = (landmarks: number): number => Math.ceil(landmarks / LANDMARK_ROWS);
export const landmarkSlices = (units: number): number => Math.ceil(units / LANDMARK_LANES);

/**
 * dlandmarks [sequences, count, width], of landmarks first_landmark on: each is the sum of ds · query over all entries (a query and
 * one of its k) that kept it, in their order. A group takes 16 landmarks and 16 columns of the width, and goes through all entries,
 * 256 at a time: each lane looks at one and marks it in a mask of the landmark that it names.
 */
export const landmarkGradients = variants((vector: boolean) =>
  program({
    name: "retrieve.landmarks",
    reads: { indices: "i32", ds: "f32", queries: boundAs(vector) },
    writes: { dlandmarks: boundAs(vector) },
    params: { k: "u32", width: "u32", entries: "u32", count: "u32", first_landmark: "u32", tiles: "u32", slices: "u32", onto: "u32" },
    workgroup: ENTRIES,
    code: `
const WORDS = ${ENTRIES / 32}u;
var<workgroup> masks: array<atomic<u32>, ${(LANDMARK_ROWS * ENTRIES) / 32}>;
fn run(group: u32, lane: u32) {
  let slice = group % params.slices;
  let tile = group / params.slices % params.tiles;
  let sequence = group / params.slices / params.tiles;
  let row = lane / ${LANDMARK_LANES}u;
  let landmark = tile * ${LANDMARK_ROWS}u + row;
  let d = slice * ${LANDMARK_LANES}u + lane % ${LANDMARK_LANES}u;
  let column = min(d, params.width - 1u);
  let first_query = sequence * (params.entries / params.k);
  var sum = ${boundAs(vector)}();
  for (var at = 0u; at < params.entries; at += WORKGROUP) {
    if (lane < ${(LANDMARK_ROWS * ENTRIES) / 32}u) { atomicStore(&masks[lane], 0u); }
    workgroupBarrier();
    if (at + lane < params.entries) {
      let index = indices[sequence * params.entries + at + lane];
      // An index of -1 is beyond all landmarks too.
      let named = u32(index) - params.first_landmark - tile * ${LANDMARK_ROWS}u;
      if (index >= 0 && named < ${LANDMARK_ROWS}u) { atomicOr(&masks[named * WORDS + lane / 32u], 1u << (lane % 32u)); }
    }
    workgroupBarrier();
    for (var word = 0u; word < WORDS; word++) {
      var marked = atomicLoad(&masks[row * WORDS + word]);
      while (marked != 0u) {
        let entry = at + 32u * word + countTrailingZeros(marked);
        marked &= marked - 1u;
        sum += ds[sequence * params.entries + entry] * queries[(first_query + entry / params.k) * params.width + column];
      }
    }
    workgroupBarrier();
  }
  if (landmark >= params.count || d >= params.width) { return; }
  let to = (sequence * params.count + landmark) * params.width + d;
  if (params.onto == 1u) { sum += dlandmarks[to]; }
  dlandmarks[to] = sum;
}`,
  }));
