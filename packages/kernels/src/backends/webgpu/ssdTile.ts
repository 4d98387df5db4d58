/**
 * What the scan's programs share: tensors by chunk, cumulative log decays, and matrix products of 64 x 64 tiles, which those
 * of attention use as well.
 *
 * A group of 128 invocations makes one tile of 64 rows and 64 columns, each invocation 8 rows (from `top` on) and 4 columns
 * (from `side` on) of it in registers. Operands pass through workgroup memory in slabs of 16 steps of the inner axis:
 * `tile_a` and `tile_b` hold [16][64] numbers as vec4f, the quads of a row exchanged such that neighbouring lanes use
 * different banks both when they write a transposed slab and when they read.
 *
 * Variables have initial values written out everywhere: a `var` without one that stands in a loop should be zero in each round, but
 * in Dawn's code for Vulkan (npm webgpu 0.6.2) it is only in the first.
 */
import type { BindingType } from "./program";
import { EXP } from "./wgsl";

/** Steps of a chunk. Whatever chunk the op is asked for, the kernels work on this. */
export const CHUNK = 64;

/** Invocations of a group, see above. */
export const WORKGROUP = 128;

/** Sizes that all programs of chunks take; `shares` is the number of groups of heads that share b and c. */
export const SIZES = { time: "u32", chunks: "u32", heads: "u32", headSize: "u32", shares: "u32", stateSize: "u32" } as const;

/** The view of tensors whose rows (P or N long) are all whole quads, or not. */
export const elements = (quads: boolean): BindingType => (quads ? "vec4f" : "f32");

/** Lines for each of an invocation's eight rows. */
export const eachRow = (line: (i: number) => string): string => Array.from({ length: 8 }, (_, i) => line(i)).join("\n");

/**
 * `get_NAME(at, left)`: four neighbours from element `at` on, of which `left` exist; zeros for the others. What lies outside is
 * read all the same (WebGPU allows it, and gives some number) and not used: loads without branches can overlap.
 * `put_NAME(at, left, value)` writes likewise, for the names in `written`.
 */
export function access(quads: boolean, read: readonly string[], written: readonly string[] = []): string {
  const parts = ["x", "y", "z", "w"];
  const get = (name: string) => `fn get_${name}(at: u32, left: u32) -> vec4f {
  ${quads
    ? `return select(vec4f(), ${name}[at / 4u], left > 0u);`
    : `return select(vec4f(), vec4f(${parts.map((_, i) => `${name}[at + ${i}u]`).join(", ")}), vec4u(left) > vec4u(0u, 1u, 2u, 3u));`}
}`;
  const put = (name: string) => `fn put_${name}(at: u32, left: u32, value: vec4f) {
  ${quads
    ? `if (left > 0u) { ${name}[at / 4u] = value; }`
    : parts.map((part, i) => `if (left > ${i}u) { ${name}[at + ${i}u] = value.${part}; }`).join("\n  ")}
}`;
  return [...read.map(get), ...written.map(put)].join("\n");
}

/** `NAME_at(at, t, p)` of tensors [B,T,H,P], step t of the chunk: four neighbours along P, zeros beyond the chunk or P. */
export const vectors = (...names: string[]): string => names.map((name) => `
fn ${name}_at(at: Place, t: u32, p: u32) -> vec4f {
  return get_${name}(((at.first + t) * params.heads + at.head) * params.headSize + p, left_of(t < at.length, params.headSize, p));
}`).join("");

/** `NAME_at(at, t, n)` of tensors [B,T,G,N]: four neighbours along N. */
export const shared = (...names: string[]): string => names.map((name) => `
fn ${name}_at(at: Place, t: u32, n: u32) -> vec4f {
  return get_${name}(((at.first + t) * params.shares + at.share) * params.stateSize + n, left_of(t < at.length, params.stateSize, n));
}`).join("");

/** `NAME_at(at, p, n)` of tensors [B,chunks,H,P,N]: four neighbours along N. */
export const states = (...names: string[]): string => names.map((name) => `
fn ${name}_at(at: Place, p: u32, n: u32) -> vec4f {
  return get_${name}((at.row * params.headSize + p) * params.stateSize + n, left_of(p < params.headSize, params.stateSize, n));
}`).join("");

/** One head in one chunk, and helpers for tails. */
export const PLACES = `
struct Place {
  chunk: u32,
  head: u32,
  share: u32,
  row: u32,    // (batch · chunks + chunk) · heads + head
  first: u32,  // the chunk's first step, counted through the batch: batch · time + 64 · chunk
  length: u32, // its steps, at most 64
}
fn place(batch_chunk: u32, head: u32) -> Place {
  let chunk = batch_chunk % params.chunks;
  let start = chunk * ${CHUNK}u;
  return Place(chunk, head, head / (params.heads / params.shares), batch_chunk * params.heads + head,
    batch_chunk / params.chunks * params.time + start, min(${CHUNK}u, params.time - start));
}
fn left_of(valid: bool, size: u32, at: u32) -> u32 { return select(0u, size - at, valid && at < size); }
fn tiles_of(size: u32) -> u32 { return (size + 63u) / 64u; }
`;

/**
 * Cumulative log decays of one head in one chunk: s(t) = a_0 + ... + a_t. Differences of float sums would blur weak
 * steps after a strong one, and compensated sums rest on an order of operations that shader compilers need not keep. So a
 * sum is a pair of whole numbers, x / 2^10 + y / 2^35: differences are exact. A step is at most 128 (exp(-128) is 0), so
 * that neither overflows and x stays exact as a float. A NaN is more than all other steps together can take back.
 *
 * All products use exp of differences s(t) - s(u) with u <= t, never of their negatives.
 */
export const DECAYS = `
${EXP}
const NAN_STEP = 16777216;
const MOST_STEPS = 8388608; // 64 steps of 128
var<private> nan_decay: u32 = 0x7fc00000u;
var<workgroup> sums: array<vec2i, 64>;
var<workgroup> block_sums: array<vec2i, 64>;

// Lane t < 64 gives the log decay of step t, 0 beyond the chunk. Ends with a barrier: all may use sums.
fn cumulate(lane: u32, log_decay: f32) {
  workgroupBarrier();
  if (lane < 64u) {
    let scaled = clamp(log_decay, -128.0, 128.0) * 1024.0;
    let whole = round(scaled);
    let is_nan = (bitcast<u32>(log_decay) & 0x7fffffffu) > 0x7f800000u;
    sums[lane] = select(vec2i(i32(whole), i32(round((scaled - whole) * 33554432.0))), vec2i(NAN_STEP, 0), is_nan);
  }
  workgroupBarrier();
  var sum = vec2i();
  if (lane < 64u) {
    for (var i = lane & 56u; i <= lane; i++) { sum += sums[i]; }
    block_sums[lane] = sum;
  }
  workgroupBarrier();
  if (lane < 64u) {
    for (var i = 7u; i < (lane & 56u); i += 8u) { sum += block_sums[i]; }
    sums[lane] = sum;
  }
  workgroupBarrier();
}
fn value_of(sum: vec2i) -> f32 {
  return select(f32(sum.x) * ${2 ** -10} + f32(sum.y) * ${2 ** -35}, bitcast<f32>(nan_decay), sum.x > MOST_STEPS);
}
fn from_start(t: u32) -> f32 { return exp_one(value_of(sums[t])); }
fn between(t: u32, u: u32) -> f32 { return exp_one(value_of(sums[t] - sums[u])); } // u <= t
fn to_end(u: u32) -> f32 { return between(63u, u); }
`;

/** dt and log decay of step `lane` of a chunk from the tensors dt and a [B,T,H]; zeros beyond it. */
export const STEPS = `
fn step_of(at: Place, lane: u32) -> vec2f {
  let i = (at.first + lane) * params.heads + at.head;
  let log_decay = a[i];
  // The decay of a NaN is multiplied by what came before, if anything did. What comes in at this step is NaN too.
  let is_nan = (bitcast<u32>(log_decay) & 0x7fffffffu) > 0x7f800000u;
  return select(vec2f(), vec2f(select(dt[i], log_decay, is_nan), log_decay), lane < at.length);
}
`;

/**
 * The mask M[t,u] = exp(s(t) - s(u)) for u <= t, else 0, by quads of columns: `mask(t, q)` is M[t, 4q ... 4q + 3]. Left of the
 * diagonal's quad it is a product of exp(s(t) - s(4q + 3)) and exp(s(4q + 3) - s(u)): one exponential instead of four, and
 * as both are at most 1, only what is 0 anyway underflows.
 */
export const MASK = `
var<workgroup> closing: array<vec4f, 16>; // exp(s(4q + 3) - s(u)), u = 4q ... 4q + 3
var<workgroup> corner: array<vec4f, 64>;  // M[t,u], u in t's quad

// After cumulate; before mask there must be a barrier.
fn prepare_mask(lane: u32) {
  if (lane < 64u) {
    let u = lane & 60u;
    corner[lane] = vec4f(between(lane, u), before(lane, u + 1u), before(lane, u + 2u), before(lane, u + 3u));
  } else if (lane < 80u) {
    let u = 4u * (lane - 64u);
    closing[lane - 64u] = vec4f(between(u + 3u, u), between(u + 3u, u + 1u), between(u + 3u, u + 2u), 1.0);
  }
}
fn before(t: u32, u: u32) -> f32 { return select(0.0, between(t, min(u, t)), u <= t); }
fn mask(t: u32, q: u32) -> vec4f {
  let left = between(t, min(4u * q + 3u, t)) * closing[q];
  return select(select(vec4f(), corner[t], q == t / 4u), left, q < t / 4u);
}
`;

/** Memory of {@link product}; between products other uses may be made of it, with barriers around. */
export const TILES = `
var<workgroup> tile_a: array<vec4f, 256>;
var<workgroup> tile_b: array<vec4f, 256>;
`;

/**
 * An operand of a product: four neighbours, as WGSL in terms of `outer` (row of A or column of B) and `inner`. They are
 * neighbours along the outer axis, or along the inner one; the first is a multiple of 4 on that axis.
 */
interface Operand {
  readonly along: "outer" | "inner";
  readonly value: string;
}

/** One half of the group's lanes, of which this is lane `part` < 64, writes a slab of an operand. */
function stage(tile: string, { along, value }: Operand): string {
  if (along === "outer") {
    return `
      for (var i = 0u; i < 4u; i++) {
        let inner = slab + 4u * i + part / 16u;
        let outer = 4u * (part % 16u);
        ${tile}[64u * i + (part & 48u) + ((part % 16u) ^ (2u * i))] = ${value};
      }`;
  }
  const row = (j: number) => `let outer = 4u * (part / 4u) + ${j}u; row${j} = ${value};`;
  const column = (j: number, name: string) =>
    `${tile}[64u * (part % 4u) + ${16 * j}u + ((part / 4u) ^ (2u * (part % 4u)))] = vec4f(row0.${name}, row1.${name}, row2.${name}, `
      + `row3.${name});`;
  return `
      let inner = slab + 4u * (part % 4u);
      var row0 = vec4f(); var row1 = vec4f(); var row2 = vec4f(); var row3 = vec4f();
      ${[0, 1, 2, 3].map((j) => `{ ${row(j)} }`).join("\n      ")}
      ${["x", "y", "z", "w"].map((name, j) => column(j, name)).join("\n      ")}`;
}

/**
 * into += A B for a tile, uniformly: A [64, inner], B [inner, 64]. Operands must be 0 beyond `inner`, up to a multiple of 16.
 * Starts with a barrier, if there is anything to add; ends without one. `when`, in terms of `slab` (the first step of 16):
 * whether what an invocation adds can be other than 0 and is used.
 */
export function product(into: string, inner: string, a: Operand, b: Operand, when: string): string {
  return `
  for (var slab = 0u; slab < ${inner}; slab += 16u) {
    workgroupBarrier();
    let part = lane % 64u;
    if (lane < 64u) {${stage("tile_a", a)}
    } else {${stage("tile_b", b)}
    }
    workgroupBarrier();
    if (${when}) {${multiply(into)}
    }
  }`;
}

/** into += A B for the slab that lies in the group's memory. */
function multiply(into: string): string {
  const step = (j: number) => `{
        let low = tile_a[at_a + ${16 * j}u]; let high = tile_a[at_a + ${16 * j + 1}u]; let right = tile_b[at_b + ${16 * j}u];
        ${eachRow((i) => `${into}[${i}] += ${i < 4 ? "low" : "high"}.${"xyzw"[i % 4]} * right;`)}
      }`;
  return `
      for (var quad = 0u; quad < 4u; quad++) {
        let at_a = 64u * quad + ((top / 4u) ^ (2u * quad));
        let at_b = 64u * quad + ((side / 4u) ^ (2u * quad));
        ${[0, 1, 2, 3].map(step).join("\n      ")}
      }`;
}

/**
 * The same where A is what the group's invocations have in registers: `from`, an array of eight vec4f, a tile whose columns are
 * the inner axis. `b` is WGSL of four neighbours along the outer axis.
 */
export function productOfRegisters(into: string, from: string, inner: string, b: string, when: string): string {
  const column = (j: number, high: number) =>
    `tile_a[64u * quad + ${16 * j}u + ((top / 4u + ${high}u) ^ (2u * quad))] = `
      + `vec4f(${[0, 1, 2, 3].map((i) => `${from}[${4 * high + i}].${"xyzw"[j]}`).join(", ")});`;
  return `
  for (var slab = 0u; slab < ${inner}; slab += 16u) {
    workgroupBarrier();
    if (side / 16u == slab / 16u) {
      let quad = side % 16u / 4u;
      ${[0, 1, 2, 3].flatMap((j) => [column(j, 0), column(j, 1)]).join("\n      ")}
    }
    for (var i = 0u; i < 2u; i++) {
      let outer = 4u * (lane % 16u);
      let row = 8u * i + lane / 16u;
      let inner = slab + row;
      tile_b[16u * row + ((lane % 16u) ^ (2u * (row / 4u)))] = ${b};
    }
    workgroupBarrier();
    if (${when}) {${multiply(into)}
    }
  }`;
}

/**
 * The place of an invocation in its tile: 32 neighbouring lanes have a quarter of it, 32 rows and 32 columns. So lanes that run
 * together skip together what lies above a diagonal or beyond a size (`when` of {@link product}).
 */
export const CORNER = `
  let top = lane / 64u * 32u + lane % 32u / 8u * 8u;
  let side = lane / 32u % 2u * 32u + lane % 8u * 4u;
`;
