/**
 * Programs of both delta rules (ops/deltaRule.ts, ops/gatedDeltaRule.ts), which walk along time as the recurrences have it:
 *
 *   deltaColumns    y, the final state, and for the gradient u or e and the states at every 64th step: a group has some columns of a state
 *   deltaBackwards  the gradients by u or e and by v, from the last step to the first: likewise
 *   deltaRows       what is summed over columns, from both: a group has some rows of a state. It runs 64 steps again from a state that was
 *                   kept, in pieces whose states it keeps in memory, and then back
 *   deltaKeys, deltaGates   of the gated rule: sums over the heads that share keys, and over a head's rows
 *
 * In columns the sum over keys, which the next step needs, takes a barrier a step; in rows states and their gradients need no others'
 * numbers, since u or e are known, and sums over columns are taken four steps at a time.
 *
 * Tensors that are read together lie one behind the other, so that eight buffers do: `keys` q, k and, not gated, a, remove and write
 * [B,T,H,K]; `gates` a, beta [B,T,H]; `values` of the gradient dy, v (not gated), u or e, and the gradient by that [B,T,H,V]; `parts` what
 * deltaRows leaves: the gradients of q, k, a and, not gated, of remove and write [B,T,H,K].
 */
import { program, variants } from "./program";
import { CHUNK } from "./ssdTile";
import { MATH } from "./wgsl";

/** Invocations that share a column in deltaColumns, or a row in deltaRows; columns, and rows, of a group. */
export const LANES = 16;
export const COLUMNS = 8;
export const ROWS = 4;

/** Steps whose sums deltaRows takes together; it keeps the states of that many at a time, or of a power of two times as many up to 64. */
export const TOGETHER = 4;

const SIZES = { time: "u32", heads: "u32", keyHeads: "u32", keySize: "u32", valueSize: "u32", scale: "f32" } as const;

/** WGSL: where step t of a sequence and head has its keys, values and gates; sections of `keys` and `values` lie `size` apart. */
const PLACES = `
struct Place { sequence: u32, head: u32, key_head: u32 }
fn place_of(row: u32) -> Place {
  let head = row % params.heads;
  return Place(row / params.heads, head, head / (params.heads / params.keyHeads));
}
fn key_at(at: Place, t: u32) -> u32 { return ((at.sequence * params.time + t) * params.keyHeads + at.key_head) * params.keySize; }
fn value_at(at: Place, t: u32) -> u32 { return ((at.sequence * params.time + t) * params.heads + at.head) * params.valueSize; }
fn gate_at(at: Place, t: u32) -> u32 { return (at.sequence * params.time + t) * params.heads + at.head; }
fn section(of_keys: u32) -> u32 { return of_keys * (arrayLength(&keys) / SECTIONS); }
`;

const sections = (gated: boolean): string => `const SECTIONS = ${gated ? 2 : 5}u;`;

/** The two numbers of a lane, summed over the lanes of its column. Slots alternate between two halves, so that one barrier will do. */
const COLUMN_SUM = `
const LANES = ${LANES}u;
const COLUMNS = ${COLUMNS}u;
var<workgroup> slots: array<vec2f, ${2 * LANES * COLUMNS}>;
var<private> half: u32;
fn column_sum(pair: vec2f, lane: u32) -> vec2f {
  half = WORKGROUP - half;
  slots[half + lane] = pair;
  workgroupBarrier();
  var result = vec2f();
  let first = half + lane / LANES * LANES;
  for (var i = 0u; i < LANES; i++) { result += slots[first + i]; }
  return result;
}
`;

interface Variant {
  readonly gated: boolean;
  /** Elements of a state's column (or row) that one lane has. */
  readonly each: number;
}

/** Groups: 8 columns of a head's state. `states`: what comes in, where `hasState`, and what goes out. */
export const deltaColumns = variants(({ gated, each, keep }: Variant & { keep: boolean }) => program({
  name: gated ? "gatedDeltaRule" : "deltaRule",
  reads: { keys: "f32", gates: gated ? "f32" : undefined, v: "f32" },
  writes: { states: "f32", y: "f32", starts: keep ? "f32" : undefined, known_values: keep ? "f32" : undefined },
  params: { ...SIZES, hasState: "u32" },
  workgroup: LANES * COLUMNS,
  code: `${MATH}${sections(gated)}${PLACES}${COLUMN_SUM}
const EACH = ${each}u;
var<private> S: array<f32, ${each}>;
// What step t reads of the state before it, and its own decay, which is 1 where every channel has its own.
fn reading(at: Place, t: u32, first: u32) -> f32 {
  let key = key_at(at, t) + section(${gated ? 1 : 3}u);
  var sum = 0.0;
  for (var i = 0u; i < EACH; i++) {
    let n = first + i * LANES;
    if (n < params.keySize) { sum += S[i] * keys[key + n]; }
  }
  return sum;
}
fn run(group: u32, lane: u32) {
  let blocks = (params.valueSize + COLUMNS - 1u) / COLUMNS;
  let row = group / blocks;
  let at = place_of(row);
  let column = group % blocks * COLUMNS + lane / LANES;
  let used = column < params.valueSize;
  let first = lane % LANES;
  let state = row * params.keySize * params.valueSize + column;
  for (var i = 0u; i < EACH; i++) {
    let n = first + i * LANES;
    S[i] = 0.0;
    if (used && n < params.keySize && params.hasState != 0u) { S[i] = states[state + n * params.valueSize]; }
  }
  let chunks = (params.time + ${CHUNK - 1}u) / ${CHUNK}u;
  var output = 0.0;
  for (var t = 0u; t <= params.time; t++) {
    var before = 0.0;
    if (t < params.time) { before = reading(at, t, first); }
    let sums = column_sum(vec2f(output, before), lane);
    if (t > 0u && used && first == 0u) { y[value_at(at, t - 1u) + column] = params.scale * sums.x; }
    if (t < params.time) {
      ${keep ? `if (t % ${CHUNK}u == 0u && used) {
        let kept = ((at.sequence * chunks + t / ${CHUNK}u) * params.heads + at.head) * params.keySize * params.valueSize + column;
        for (var i = 0u; i < EACH; i++) {
          let n = first + i * LANES;
          if (n < params.keySize) { starts[kept + n * params.valueSize] = S[i]; }
        }
      }` : ""}
      let key = key_at(at, t);
      var value = 0.0;
      if (used) { value = v[value_at(at, t) + column]; }
      ${gated ? `let decay = fine_exp(gates[gate_at(at, t)]);
      let known = value - decay * sums.y;
      value = gates[arrayLength(&gates) / 2u + gate_at(at, t)] * known;` : "let known = sums.y;"}
      ${keep ? "if (used && first == 0u) { known_values[value_at(at, t) + column] = known; }" : ""}
      output = 0.0;
      for (var i = 0u; i < EACH; i++) {
        let n = first + i * LANES;
        if (n < params.keySize) {
          S[i] = ${gated
            ? "decay * S[i] + keys[section(1u) + key + n] * value"
            : "fine_exp(keys[section(2u) + key + n]) * S[i] + keys[section(4u) + key + n] * known + keys[section(1u) + key + n] * value"};
          output += S[i] * keys[key + n];
        }
      }
    }
  }
  for (var i = 0u; i < EACH; i++) {
    let n = first + i * LANES;
    if (used && n < params.keySize) { states[state + n * params.valueSize] = S[i]; }
  }
}`,
}));

/** Groups as in deltaColumns. `states`: the gradient by the state behind the last step, where `hasState`; becomes that before the first. */
export const deltaBackwards = variants(({ gated, each }: Variant) => program({
  name: gated ? "gatedDeltaRuleGradient" : "deltaRuleGradient",
  reads: { keys: "f32", gates: gated ? "f32" : undefined },
  writes: { values: "f32", states: "f32", dv: "f32" },
  params: { ...SIZES, hasState: "u32" },
  workgroup: LANES * COLUMNS,
  code: `${MATH}${sections(gated)}${PLACES}${COLUMN_SUM}
const EACH = ${each}u;
var<private> G: array<f32, ${each}>;
fn run(group: u32, lane: u32) {
  let blocks = (params.valueSize + COLUMNS - 1u) / COLUMNS;
  let row = group / blocks;
  let at = place_of(row);
  let column = group % blocks * COLUMNS + lane / LANES;
  let used = column < params.valueSize;
  let first = lane % LANES;
  let state = row * params.keySize * params.valueSize + column;
  for (var i = 0u; i < EACH; i++) {
    let n = first + i * LANES;
    G[i] = 0.0;
    if (used && n < params.keySize && params.hasState != 0u) { G[i] = states[state + n * params.valueSize]; }
  }
  let size = arrayLength(&values) / ${gated ? 3 : 4}u;
  for (var step = 0u; step < params.time; step++) {
    let t = params.time - 1u - step;
    let key = key_at(at, t);
    let value = value_at(at, t) + column;
    var dy = 0.0;
    if (used) { dy = params.scale * values[value]; }
    var pair = vec2f();
    for (var i = 0u; i < EACH; i++) {
      let n = first + i * LANES;
      if (n < params.keySize) {
        G[i] += keys[key + n] * dy;
        pair += G[i] * vec2f(keys[section(1u) + key + n], ${gated ? "0.0" : "keys[section(4u) + key + n]"});
      }
    }
    let sums = column_sum(pair, lane);
    ${gated ? `let known = sums.x;
    let decay = fine_exp(gates[gate_at(at, t)]);
    let by_value = gates[arrayLength(&gates) / 2u + gate_at(at, t)] * sums.x;` : `let known = sums.y;
    let by_value = sums.x;`}
    if (used && first == 0u) {
      values[${gated ? 2 : 3}u * size + value] = known;
      dv[value] = by_value;
    }
    for (var i = 0u; i < EACH; i++) {
      let n = first + i * LANES;
      if (n < params.keySize) {
        G[i] = ${gated
          ? "decay * (G[i] - keys[section(1u) + key + n] * by_value)"
          : "fine_exp(keys[section(2u) + key + n]) * G[i] + keys[section(3u) + key + n] * known"};
      }
    }
  }
  for (var i = 0u; i < EACH; i++) {
    let n = first + i * LANES;
    if (used && n < params.keySize) { states[state + n * params.valueSize] = G[i]; }
  }
}`,
}));

/**
 * Groups: 4 rows of a head's state. `states` as in deltaBackwards, in a copy of its own; `history` [piece,B,H,K,V]: what lanes keep for
 * themselves.
 */
export const deltaRows = variants(({ gated, each }: Variant) => {
  const quantities = gated ? 3 : 5;
  const numbers = quantities * ROWS * TOGETHER;
  return program({
    name: gated ? "gatedDeltaRuleGradient" : "deltaRuleGradient",
    reads: { keys: "f32", gates: gated ? "f32" : undefined, values: "f32", starts: "f32" },
    writes: { states: "f32", history: "f32", parts: "f32" },
    params: { ...SIZES, hasState: "u32", rows: "u32", piece: "u32" },
    workgroup: LANES * ROWS,
    code: `${MATH}${sections(gated)}${PLACES}
const LANES = ${LANES}u;
const EACH = ${each}u;
const QUANTITIES = ${quantities}u;
var<private> S: array<f32, ${each}>;
var<private> G: array<f32, ${each}>;
var<workgroup> slots: array<f32, ${numbers * LANES}>;
// Numbers of row n at a step: what the state forgets, and what it takes for the known and for the given value of a column.
struct Step { decay: f32, into: f32, under: f32, query: f32, remove: f32 }
fn step_of(at: Place, t: u32, n: u32) -> Step {
  if (n >= params.keySize) { return Step(); }
  let key = key_at(at, t) + n;
  ${gated
    ? `let decay = fine_exp(gates[gate_at(at, t)]);
  let rate = gates[arrayLength(&gates) / 2u + gate_at(at, t)];
  return Step(decay, rate * keys[section(1u) + key], rate, keys[key], keys[section(1u) + key]);`
    : `let decay = fine_exp(keys[section(2u) + key]);
  return Step(decay, keys[section(4u) + key], keys[section(1u) + key], keys[key], keys[section(3u) + key]);`}
}
fn run(group: u32, lane: u32) {
  let blocks = (params.keySize + ${ROWS - 1}u) / ${ROWS}u;
  let row = group / blocks;
  let at = place_of(row);
  let own = lane / LANES;
  let n = group % blocks * ${ROWS}u + own;
  let first = lane % LANES;
  let square = params.keySize * params.valueSize;
  let state = (row * params.keySize + n) * params.valueSize;
  let size = arrayLength(&values) / ${gated ? 3 : 4}u;
  let kept_values = ${gated ? 1 : 2}u * size;
  let inside = n < params.keySize;
  for (var i = 0u; i < EACH; i++) {
    let column = first + i * LANES;
    G[i] = 0.0;
    if (inside && column < params.valueSize && params.hasState != 0u) { G[i] = states[state + column]; }
  }
  let chunks = (params.time + ${CHUNK - 1}u) / ${CHUNK}u;
  let pieces = (params.time + params.piece - 1u) / params.piece;
  for (var piece = 0u; piece < pieces; piece++) {
    let begin = (pieces - 1u - piece) * params.piece;
    let end = min(params.time, begin + params.piece);
    let chunk = begin / ${CHUNK}u;
    let start = (((at.sequence * chunks + chunk) * params.heads + at.head) * params.keySize + n) * params.valueSize;
    for (var i = 0u; i < EACH; i++) {
      let column = first + i * LANES;
      S[i] = 0.0;
      if (inside && column < params.valueSize) { S[i] = starts[start + column]; }
    }
    for (var t = chunk * ${CHUNK}u; t < end; t++) {
      let step = step_of(at, t, n);
      let value = value_at(at, t);
      for (var i = 0u; i < EACH; i++) {
        let column = first + i * LANES;
        if (inside && column < params.valueSize) {
          if (t >= begin) { history[(t - begin) * params.rows * square + state + column] = S[i]; }
          S[i] = step.decay * S[i] + step.into * values[kept_values + value + column];${gated ? "" : `
          S[i] += step.under * values[size + value + column];`}
        }
      }
    }
    for (var back = begin; back < end; back += ${TOGETHER}u) {
      for (var j = 0u; j < ${TOGETHER}u; j++) {
        if (back + j < end) {
          let t = end - 1u - (back - begin) - j;
          let step = step_of(at, t, n);
          let value = value_at(at, t);
          var sums = array<f32, ${quantities}>();
          for (var i = 0u; i < EACH; i++) {
            let column = first + i * LANES;
            if (inside && column < params.valueSize) {
              let before = history[(t - begin) * params.rows * square + state + column];
              let dy = params.scale * values[value + column];
              let known = values[kept_values + value + column];
              let by_known = values[kept_values + size + value + column];
              G[i] += step.query * dy;
              sums[0] += S[i] * dy;
              ${gated ? `let decayed = step.decay * before;
              let left = G[i] - step.into * by_known;
              sums[1] += step.under * (G[i] * known - decayed * by_known);
              sums[2] += left * decayed;
              G[i] = step.decay * left;` : `sums[1] += G[i] * values[size + value + column];
              sums[2] += step.decay * G[i] * before;
              sums[3] += before * by_known;
              sums[4] += G[i] * known;
              G[i] = step.decay * G[i] + step.remove * by_known;`}
              S[i] = before;
            }
          }
          for (var number = 0u; number < QUANTITIES; number++) {
            slots[((j * QUANTITIES + number) * ${ROWS}u + own) * LANES + first] = sums[number];
          }
        }
      }
      workgroupBarrier();
      for (var number = lane; number < ${numbers}u; number += WORKGROUP) {
        let j = number / (QUANTITIES * ${ROWS}u);
        let target_row = group % blocks * ${ROWS}u + number % ${ROWS}u;
        if (back + j < end && target_row < params.keySize) {
          let t = end - 1u - (back - begin) - j;
          var sum = 0.0;
          for (var i = 0u; i < LANES; i++) { sum += slots[number * LANES + i]; }
          let place = ((at.sequence * params.time + t) * params.heads + at.head) * params.keySize + target_row;
          parts[number / ${ROWS}u % QUANTITIES * (arrayLength(&parts) / QUANTITIES) + place] = sum;
        }
      }
      workgroupBarrier();
    }
  }
  for (var i = 0u; i < EACH; i++) {
    let column = first + i * LANES;
    if (inside && column < params.valueSize) { states[state + column] = G[i]; }
  }
}`,
  });
});

/** The gated rule's dq and dk: an invocation adds up the parts of the heads that share an element. Groups: 64 elements. */
export const deltaKeys = program({
  name: "gatedDeltaRuleGradient",
  reads: { parts: "f32" },
  writes: { dq: "f32", dk: "f32" },
  params: { keyHeads: "u32", heads: "u32", keySize: "u32", count: "u32" },
  workgroup: 64,
  code: `
fn run(group: u32, lane: u32) {
  let at = group * WORKGROUP + lane;
  if (at >= params.count) { return; }
  let shares = params.heads / params.keyHeads;
  let pair = at / params.keySize; // step · key heads + key head
  let first = pair * shares * params.keySize + at % params.keySize;
  let size = arrayLength(&parts) / 3u;
  var sums = vec2f();
  for (var i = 0u; i < shares; i++) {
    let part = first + i * params.keySize;
    sums += vec2f(parts[part], parts[size + part]);
  }
  dq[at] = sums.x;
  dk[at] = sums.y;
}`,
});

/** The gated rule's da and dbeta: an invocation has a step of a head. Groups: 64 of them. */
export const deltaGates = program({
  name: "gatedDeltaRuleGradient",
  reads: { parts: "f32", values: "f32" },
  writes: { da: "f32", dbeta: "f32" },
  params: { keySize: "u32", valueSize: "u32", count: "u32" },
  workgroup: 64,
  code: `
fn run(group: u32, lane: u32) {
  let at = group * WORKGROUP + lane;
  if (at >= params.count) { return; }
  let size = arrayLength(&values) / 3u;
  var by_decay = 0.0;
  for (var n = 0u; n < params.keySize; n++) { by_decay += parts[2u * (arrayLength(&parts) / 3u) + at * params.keySize + n]; }
  var by_rate = 0.0;
  for (var j = at * params.valueSize; j < (at + 1u) * params.valueSize; j++) { by_rate += values[size + j] * values[2u * size + j]; }
  da[at] = by_decay;
  dbeta[at] = by_rate;
}`,
});
