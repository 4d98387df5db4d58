/**
 * Programs of the selective scan (ops/selectiveScan.ts), for chunks of 16 steps. A group of 64 invocations has one chunk of a block of
 * channels that share b and c, an invocation one channel with all its states. The decay of a whole chunk is exp(a · the sum of its dt), so
 * that chunks need not wait for one another:
 *
 *   scanEnds      what each chunk makes of a state of zeros, or backwards of a gradient of zeros
 *   scanPass      chunk after chunk: the state at each one's start, or backwards the gradient by the state at its end
 *   scanOutputs   y
 *   scanGradient  all gradients of a chunk: up with the states, which are kept for the way down
 *
 * States of chunks lie [B,chunks,N,D], so that neighbouring invocations read neighbours.
 */
import { program, variants } from "./program";
import { EXP } from "./wgsl";

/** Steps of a chunk. */
export const STEPS = 16;
/** Channels of a group. */
export const CHANNELS = 64;
/** States whose sums over channels are taken at a time. */
const SUMMED = 16;

const SIZES = { time: "u32", chunks: "u32", channels: "u32", shares: "u32", blocks: "u32" } as const;

/** What a group and a lane stand for. Blocks count within the `shares` groups of channels. */
const PLACE = `${EXP}
struct Place { row: u32, chunk: u32, share: u32, block: u32, channel: u32, works: bool }
fn place_of(group: u32, lane: u32) -> Place {
  let blocks = params.shares * params.blocks;
  let pair = group / blocks;
  let share = group % blocks / params.blocks;
  let block = group % params.blocks;
  let inside = block * ${CHANNELS}u + lane;
  let size = params.channels / params.shares;
  let chunk = pair % params.chunks;
  return Place(pair / params.chunks, chunk, share, block, share * size + inside, inside < size);
}
// Steps of its chunk: by the group alone, so that all lanes are known to take the same.
fn length_of(group: u32) -> u32 {
  return min(${STEPS}u, params.time - group / (params.shares * params.blocks) % params.chunks * ${STEPS}u);
}
fn scalar_at(p: Place, t: u32) -> u32 { return (p.row * params.time + p.chunk * ${STEPS}u + t) * params.channels + p.channel; }
fn slot_at(p: Place) -> u32 { return (p.row * params.chunks + p.chunk) * STATES * params.channels + p.channel; }
`;

/** Where b and c [T,G,N] of a step begin. */
const SHARED = `
fn shared_at(p: Place, t: u32) -> u32 { return ((p.row * params.time + p.chunk * ${STEPS}u + t) * params.shares + p.share) * STATES; }
`;

/**
 * `slots`: the state [N,D] that each chunk leaves behind zeros; `spans` [B,chunks,D]: its sum of dt. Backwards from x = dy and b = c: the
 * gradient by the state before it, were there none behind it.
 */
export const scanEnds = variants(({ N, backwards }: { N: number; backwards: boolean }) => program({
  name: backwards ? "selectiveScanEndsGradient" : "selectiveScanEnds",
  reads: { x: "f32", dt: "f32", a: "f32", b: "f32" },
  writes: { slots: "f32", spans: "f32" },
  params: SIZES,
  workgroup: CHANNELS,
  code: `
const STATES = ${N}u;${PLACE}${SHARED}
fn run(group: u32, lane: u32) {
  let p = place_of(group, lane);
  let length = length_of(group);
  if (!p.works) { return; }
  var state: array<f32, ${N}>;
  var span = 0.0;
  for (var i = 0u; i < length; i++) {
    let t = ${backwards ? "length - 1u - i" : "i"};
    let at = scalar_at(p, t);
    let step = dt[at];
    let input = ${backwards ? "x[at]" : "step * x[at]"};
    let place = shared_at(p, t);
    span += step;
    for (var n = 0u; n < STATES; n++) {
      let decay = exp_one(step * a[p.channel * STATES + n]);
      state[n] = ${backwards ? "decay * (state[n] + input * b[place + n])" : "decay * state[n] + input * b[place + n]"};
    }
  }
  let slot = slot_at(p);
  for (var n = 0u; n < STATES; n++) { slots[slot + n * params.channels] = state[n]; }
  spans[(p.row * params.chunks + p.chunk) * params.channels + p.channel] = span;
}`,
}));

/**
 * An invocation walks the chunks with one state of one channel, in place: `slots` has what each chunk adds, and gets what there was
 * before. `incoming` and `outgoing` [B,D,N].
 */
export const scanPass = variants(({ N, backwards, hasIncoming, hasOutgoing }: {
  N: number; backwards: boolean; hasIncoming: boolean; hasOutgoing: boolean;
}) => program({
  name: backwards ? "selectiveScanPassGradient" : "selectiveScanPass",
  reads: { a: "f32", spans: "f32", incoming: hasIncoming ? "f32" : undefined },
  writes: { slots: "f32", outgoing: hasOutgoing ? "f32" : undefined },
  params: { chunks: "u32", channels: "u32", count: "u32" },
  workgroup: 256,
  code: `
const STATES = ${N}u;${EXP}
fn run(group: u32, lane: u32) {
  let i = group * WORKGROUP + lane;
  if (i >= params.count) { return; }
  let channel = i % params.channels;
  let n = i / params.channels % STATES;
  let row = i / (params.channels * STATES);
  let own = (row * params.channels + channel) * STATES + n;
  let rate = a[channel * STATES + n];
  var state = ${hasIncoming ? "incoming[own]" : "0.0"};
  for (var number = 0u; number < params.chunks; number++) {
    let chunk = row * params.chunks + ${backwards ? "params.chunks - 1u - number" : "number"};
    let at = (chunk * STATES + n) * params.channels + channel;
    let added = slots[at];
    slots[at] = state;
    state = exp_one(rate * spans[chunk * params.channels + channel]) * state + added;
  }
  ${hasOutgoing ? "outgoing[own] = state;" : ""}
}`,
}));

/** y, which holds x before, and the state behind the last chunk. `only`: one chunk, whose `start` is the state [B,D,N] that came in. */
export const scanOutputs = variants(({ N, only, hasSkip, hasStart }: { N: number; only: boolean; hasSkip: boolean; hasStart: boolean }) =>
  program({
    name: "selectiveScanOutputs",
    reads: { dt: "f32", a: "f32", b: "f32", c: "f32", d: hasSkip ? "f32" : undefined, start: hasStart ? "f32" : undefined },
    writes: { y: "f32", out: "f32" },
    params: SIZES,
    workgroup: CHANNELS,
    code: `
const STATES = ${N}u;${PLACE}${SHARED}
fn run(group: u32, lane: u32) {
  let p = place_of(group, lane);
  let length = length_of(group);
  if (!p.works) { return; }
  let own = (p.row * params.channels + p.channel) * STATES;
  var state: array<f32, ${N}>;
  var rates: array<f32, ${N}>;
  for (var n = 0u; n < STATES; n++) {
    rates[n] = a[p.channel * STATES + n];
    ${hasStart ? `state[n] = start[${only ? "own + n" : "slot_at(p) + n * params.channels"}];` : ""}
  }
  for (var t = 0u; t < length; t++) {
    let at = scalar_at(p, t);
    let step = dt[at];
    let x = y[at];
    let place = shared_at(p, t);
    var sum = ${hasSkip ? "d[p.channel] * x" : "0.0"};
    for (var n = 0u; n < STATES; n++) {
      state[n] = exp_one(step * rates[n]) * state[n] + step * x * b[place + n];
      sum += state[n] * c[place + n];
    }
    y[at] = sum;
  }
  if (p.chunk + 1u == params.chunks) { for (var n = 0u; n < STATES; n++) { out[own + n] = state[n]; } }
}`,
  }));

/** Where the sections of the gradient's work buffer begin; b, c, a and d are copies, so that few buffers are bound. */
const WORK = { a: "u32", b: "u32", c: "u32", d: "u32", ends: "u32", da: "u32", dd: "u32", sums: "u32", half: "u32" } as const;

/**
 * The gradient of each chunk. `starts`: the states [N,D] at starts of chunks. In work: `ends`, the gradients by the states at their ends
 * [B,chunks,N,D] (with `only`, which is one chunk, [B,D,N] as they came in, and then as they go out), and for sums to come da
 * [B,chunks,N,D], dd [B,chunks,D], and of each block of channels db and dc [blocks, 2, half].
 */
export const scanGradient = variants(({ N, only, hasSkip, hasStart, hasEnd }: {
  N: number; only: boolean; hasSkip: boolean; hasStart: boolean; hasEnd: boolean;
}) => program({
  name: "selectiveScanGradient",
  reads: { x: "f32", dt: "f32", dy: "f32", starts: hasStart ? "f32" : undefined },
  writes: { work: "f32", dx: "f32", ddt: "f32" },
  params: { ...SIZES, ...WORK },
  workgroup: CHANNELS,
  code: `
const STATES = ${N}u;${PLACE}${SHARED}
var<workgroup> terms: array<f32, ${CHANNELS * (SUMMED + 1)}>;
// Sums of ${SUMMED} states' terms over the channels, to work from \`to\` on; all lanes call it.
fn put_sums(lane: u32, to: u32, count: u32) {
  workgroupBarrier();
  if (lane < count) {
    var total = 0.0;
    for (var i = 0u; i < ${CHANNELS}u; i++) { total += terms[i * ${SUMMED + 1}u + lane]; }
    work[to + lane] = total;
  }
  workgroupBarrier();
}
fn run(group: u32, lane: u32) {
  let p = place_of(group, lane);
  let length = length_of(group);
  let own = (p.row * params.channels + p.channel) * STATES;
  let slot = slot_at(p);
  let sums = params.sums + p.block * 2u * params.half;
  var state: array<f32, ${N}>;
  var G: array<f32, ${N}>;
  var rates: array<f32, ${N}>;
  var da: array<f32, ${N}>;
  var before: array<f32, ${STEPS * N}>;
  if (p.works) {
    for (var n = 0u; n < STATES; n++) {
      rates[n] = work[params.a + p.channel * STATES + n];
      ${hasEnd ? `G[n] = work[params.ends + ${only ? "own + n" : "slot + n * params.channels"}];` : ""}
      ${hasStart ? `state[n] = starts[${only ? "own + n" : "slot + n * params.channels"}];` : ""}
    }
  }
  for (var t = 0u; t < length; t++) {
    var step = 0.0;
    var input = 0.0;
    var dout = 0.0;
    if (p.works) {
      let at = scalar_at(p, t);
      step = dt[at];
      input = step * x[at];
      dout = dy[at];
    }
    let place = shared_at(p, t);
    for (var first = 0u; first < STATES; first += ${SUMMED}u) {
      let count = min(${SUMMED}u, STATES - first);
      for (var j = 0u; j < count; j++) {
        let n = first + j;
        before[t * STATES + n] = state[n];
        state[n] = exp_one(step * rates[n]) * state[n] + input * work[params.b + place + n];
        terms[lane * ${SUMMED + 1}u + j] = select(0.0, dout * state[n], p.works);
      }
      put_sums(lane, sums + params.half + place + first, count);
    }
  }
  var dd = 0.0;
  for (var i = 0u; i < length; i++) {
    let t = length - 1u - i;
    var step = 0.0;
    var value = 0.0;
    var dout = 0.0;
    if (p.works) {
      let at = scalar_at(p, t);
      step = dt[at];
      value = x[at];
      dout = dy[at];
    }
    let place = shared_at(p, t);
    var through_input = 0.0;
    var through_decay = 0.0;
    for (var first = 0u; first < STATES; first += ${SUMMED}u) {
      let count = min(${SUMMED}u, STATES - first);
      for (var j = 0u; j < count; j++) {
        let n = first + j;
        let here = G[n] + dout * work[params.c + place + n];
        through_input += here * work[params.b + place + n];
        terms[lane * ${SUMMED + 1}u + j] = select(0.0, step * value * here, p.works);
        G[n] = exp_one(step * rates[n]) * here;
        let w = G[n] * before[t * STATES + n];
        through_decay += w * rates[n];
        da[n] += step * w;
      }
      put_sums(lane, sums + place + first, count);
    }
    if (p.works) {
      let at = scalar_at(p, t);
      dx[at] = step * through_input${hasSkip ? " + work[params.d + p.channel] * dout" : ""};
      ddt[at] = value * through_input + through_decay;
      dd += dout * value;
    }
  }
  if (p.works) {
    for (var n = 0u; n < STATES; n++) {
      work[params.da + slot + n * params.channels] = da[n];
      ${only ? "work[params.ends + own + n] = G[n];" : ""}
    }
    work[params.dd + (p.row * params.chunks + p.chunk) * params.channels + p.channel] = dd;
  }
}`,
}));
