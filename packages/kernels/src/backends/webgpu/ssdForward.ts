/**
 * Programs of the scan's forward (Dao & Gu 2024, section 6), for chunks of 64 steps. With s(t) = a_0 + ... + a_t inside the
 * chunk and S its state at the start:
 *
 *   ssdStates   L = Σ_u exp(s(last) - s(u)) dt_u x_u b_uᵀ, what the chunk adds to the state; scores K[t,u] = c_t · b_u
 *   ssdPass     S of the next chunk = exp(s(last)) S + L, chunk after chunk
 *   ssdOutputs  y_t = exp(s(t)) S c_t + Σ_{u<=t} K[t,u] exp(s(t) - s(u)) dt_u x_u + d x_t
 *
 * and ssdStep for a single step. States of chunks are [B,chunks,H,P,N].
 */
import { program, variants } from "./program";
import { access, CORNER, DECAYS, eachRow, elements, MASK, PLACES, product, shared, SIZES, states, STEPS, TILES, vectors,
  WORKGROUP } from "./ssdTile";
import { EXP } from "./wgsl";

/**
 * A tile of Σ_u weights[u] vectors_u sharedᵀ_u as a function: what a chunk adds to a state, or to a state's gradient. `weights`:
 * WGSL of lane u's weight once the decays are summed, with `step` = (dt, a). `store`: WGSL that takes `value`, rows from
 * (p, n) of the state `at`, as four neighbours along n.
 */
export const stateTile = (vector: string, row: string, weights: string, store: string): string => `
var<workgroup> weights: array<f32, 64>;
// tile: (tile of P) · tiles of N + tile of N
fn state_tile(batch_chunk: u32, head: u32, tile: u32, lane: u32) {${CORNER}
  let p0 = tile / tiles_of(params.stateSize) * 64u;
  let n0 = tile % tiles_of(params.stateSize) * 64u;
  let at = place(batch_chunk, head);
  let step = step_of(at, lane);
  cumulate(lane, step.y);
  if (lane < 64u) { weights[lane] = ${weights}; }
  var acc = array<vec4f, 8>();
  ${product("acc", "at.length", { along: "outer", value: `weights[inner] * ${vector}_at(at, inner, p0 + outer)` },
    { along: "outer", value: `${row}_at(at, inner, n0 + outer)` },
    "p0 + top < params.headSize && n0 + side < params.stateSize")}
  let n = n0 + side;
  ${eachRow((i) => `{ let p = p0 + top + ${i}u; let value = acc[${i}]; ${store} }`)}
}
`;

/** Where four neighbours along n of a state's row p lie, and how many: arguments of put and get. */
export const STATE_AT = "(at.row * params.headSize + p) * params.stateSize + n, left_of(p < params.headSize, params.stateSize, n)";

/** Where a tile [64,64] of steps and steps before them has anything to add. */
export const CAUSAL = "side <= top + 7u && top < at.length";

/** Scores K[t,u] = c_t · b_u of one group of heads in one chunk, zeros beyond the chunk: adds to `into`. For u > t unfinished. */
export const scores = (into: string): string => product(
  into, "params.stateSize", { along: "inner", value: "c_at(at, outer, inner)" },
  { along: "inner", value: "b_at(at, outer, inner)" }, CAUSAL);

/**
 * Groups: a tile [64,64] of L for each chunk, head and tile of P and N (`params.stateTiles`), then the scores of each chunk
 * and group of heads (may be left out). work [vec4f]: exp(s(last)) for each chunk and head, then scores [64,64] from
 * `params.squares` on. `only`: one chunk; `out` is then the final state itself.
 */
export const ssdStates = variants(({ quads, only, hasState }: { quads: boolean; only: boolean; hasState: boolean }) =>
  program({
    name: "ssdStates",
    reads: { x: elements(quads), dt: "f32", a: "f32", b: elements(quads), c: elements(quads),
      state: hasState && only ? elements(quads) : undefined },
    writes: { out: elements(quads), work: "vec4f" },
    params: { ...SIZES, stateTiles: "u32", squares: "u32" },
    workgroup: WORKGROUP,
    code: `${PLACES}${DECAYS}${STEPS}${TILES}${access(quads, ["x", "b", "c", ...(hasState && only ? ["state"] : [])], ["out"])}
${vectors("x")}${shared("b", "c")}
${stateTile("x", "b", "step.x * to_end(lane)",
  `put_out(${STATE_AT}, value${hasState && only ? ` + from_start(63u) * get_state(${STATE_AT})` : ""});`)}
fn score_tile(index: u32, lane: u32) {${CORNER}
  let at = place(index / params.shares, index % params.shares * (params.heads / params.shares));
  var acc = array<vec4f, 8>();
  ${scores("acc")}
  ${eachRow((i) => `work[params.squares + index * 1024u + (top + ${i}u) * 16u + side / 4u] = acc[${i}];`)}
}
fn run(group: u32, lane: u32) {
  if (group >= params.stateTiles) {
    score_tile(group - params.stateTiles, lane);
    return;
  }
  let tiles = tiles_of(params.headSize) * tiles_of(params.stateSize);
  let pair = group / tiles;
  state_tile(pair / params.heads, pair % params.heads, group % tiles, lane);
  if (lane == 0u && group % tiles == 0u) { work[pair] = vec4f(from_start(63u)); }
}`,
  }));

/** What the text of {@link ssdPass} depends on. */
interface SsdPassVariant {
  readonly quads: boolean;
  readonly backwards: boolean;
  readonly hasIncoming: boolean;
  readonly hasOutgoing: boolean;
}

/**
 * Walks the chunks of each sequence and head, an element of the state (a quad where possible) to an invocation, in
 * place: `slots` has what each chunk adds, and gets what there was before: the state at the chunk's start, or, backwards, the
 * gradient by the state at its end. `incoming` and `outgoing` [B,H,P,N]: the first one and the last. exp(s(last))
 * of a chunk and head lies in work at (batch · chunks + chunk) · heads + head, `stride` apart, from `offset` on.
 */
export const ssdPass = variants(({ quads, backwards, hasIncoming, hasOutgoing }: SsdPassVariant) => {
  const type = elements(quads);
  return program({
    name: backwards ? "ssdPassGradient" : "ssdPass",
    reads: { work: "vec4f", incoming: hasIncoming ? type : undefined },
    writes: { slots: type, outgoing: hasOutgoing ? type : undefined },
    params: { chunks: "u32", heads: "u32", size: "u32", count: "u32", stride: "u32", offset: "u32" },
    workgroup: 256,
    code: `
fn row_of(i: u32, number: u32) -> u32 {
  let chunk = ${backwards ? "params.chunks - 1u - number" : "number"};
  let pair = i / params.size;
  return (pair / params.heads * params.chunks + chunk) * params.heads + pair % params.heads;
}
fn run(group: u32, lane: u32) {
  let i = group * WORKGROUP + lane;
  if (i >= params.count) { return; }
  var state = ${hasIncoming ? "incoming[i]" : `${type}()`};
  var row = row_of(i, 0u);
  var next = slots[row * params.size + i % params.size];
  for (var number = 0u; number < params.chunks; number++) {
    let added = next;
    let slot = row * params.size + i % params.size;
    let factor = work[row * params.stride + params.offset].x;
    if (number + 1u < params.chunks) {
      // Asked for before the store below, which the compiler may not pass.
      row = row_of(i, number + 1u);
      next = slots[row * params.size + i % params.size];
    }
    slots[slot] = state;
    state = factor * state + added;
  }
  ${hasOutgoing ? "outgoing[i] = state;" : ""}
}`,
  });
});

/**
 * Groups: a tile [64 time, 64 of P] of y for each chunk, head and tile of P. `hasStarts`: some chunk has a state to start
 * from: all but the first, and that if `params.hasState`.
 */
export const ssdOutputs = variants(({ quads, hasSkip, hasStarts }: { quads: boolean; hasSkip: boolean; hasStarts: boolean }) =>
  program({
    name: "ssdOutputs",
    reads: {
      x: elements(quads), dt: "f32", a: "f32", c: elements(quads), d: hasSkip ? "f32" : undefined,
      starts: hasStarts ? elements(quads) : undefined, work: "vec4f",
    },
    writes: { y: elements(quads) },
    params: { ...SIZES, hasState: "u32", squares: "u32" },
    workgroup: WORKGROUP,
    code: `${PLACES}${DECAYS}${STEPS}${MASK}${TILES}${access(quads, ["x", "c", ...(hasStarts ? ["starts"] : [])], ["y"])}
${vectors("x")}${shared("c")}${hasStarts ? states("starts") : ""}
var<workgroup> weights: array<f32, 64>;
fn weights_at(u: u32) -> vec4f { return vec4f(weights[u], weights[u + 1u], weights[u + 2u], weights[u + 3u]); }
fn run(group: u32, lane: u32) {${CORNER}
  let tiles = tiles_of(params.headSize);
  let p0 = group % tiles * 64u;
  let pair = group / tiles;
  let at = place(pair / params.heads, pair % params.heads);
  let square = params.squares + (pair / params.heads * params.shares + at.share) * 1024u;
  let step = step_of(at, lane);
  cumulate(lane, step.y);
  prepare_mask(lane);
  if (lane < 64u) { weights[lane] = step.x; }
  let used = top < at.length && p0 + side < params.headSize;
  var acc = array<vec4f, 8>();
  ${hasStarts ? `if (at.chunk > 0u || params.hasState != 0u) {
  ${product("acc", "params.stateSize", { along: "inner", value: "c_at(at, outer, inner)" },
    { along: "inner", value: "starts_at(at, p0 + outer, inner)" }, "used")}
  ${eachRow((i) => `acc[${i}] *= from_start(top + ${i}u);`)}
  }` : ""}
  ${product("acc", "at.length",
    { along: "inner", value: "work[square + outer * 16u + inner / 4u] * mask(outer, inner / 4u) * weights_at(inner)" },
    { along: "outer", value: "x_at(at, inner, p0 + outer)" }, "used && top + 7u >= slab")}
  let p = p0 + side;
  ${eachRow((i) => `{
    let t = top + ${i}u;
    let value = acc[${i}]${hasSkip ? " + d[at.head] * x_at(at, t, p)" : ""};
    put_y(((at.first + t) * params.heads + at.head) * params.headSize + p, left_of(t < at.length, params.headSize, p), value);
  }`)}
}`,
  }));

/**
 * One step: S <- exp(a) S + dt x bᵀ, y = S c + d x. x comes in y, so that eight buffers do. Groups: 8 rows p of a head's
 * state, 16 invocations for each.
 */
export const ssdStep = variants(({ quads, hasSkip, hasState }: { quads: boolean; hasSkip: boolean; hasState: boolean }) =>
  program({
    name: "ssdStep",
    reads: {
      dt: "f32", a: "f32", b: elements(quads), c: elements(quads), d: hasSkip ? "f32" : undefined,
      state: hasState ? elements(quads) : undefined,
    },
    writes: { y: "f32", out: elements(quads) },
    params: { heads: "u32", headSize: "u32", shares: "u32", stateSize: "u32" },
    workgroup: WORKGROUP,
    code: `${hasState ? EXP : ""}${access(quads, ["b", "c", ...(hasState ? ["state"] : [])], ["out"])}
var<workgroup> products: array<f32, WORKGROUP>;
fn run(group: u32, lane: u32) {
  let blocks = (params.headSize + 7u) / 8u;
  let pair = group / blocks; // batch · heads + head
  let head = pair % params.heads;
  let share = pair / params.heads * params.shares + head / (params.heads / params.shares);
  let p = group % blocks * 8u + lane / 16u;
  let size = params.stateSize;
  let row = pair * params.headSize + p;
  var input = 0.0;
  var dot_product = 0.0;
  if (p < params.headSize) {
    input = y[row];
    let value = dt[pair] * input;
    ${hasState ? "let decay = exp_one(a[pair]);" : ""}
    for (var n = 4u * (lane % 16u); n < size; n += 64u) {
      let next = value * get_b(share * size + n, size - n)${hasState ? " + decay * get_state(row * size + n, size - n)" : ""};
      put_out(row * size + n, size - n, next);
      dot_product += dot(next, get_c(share * size + n, size - n));
    }
  }
  products[lane] = dot_product;
  storageBarrier();
  workgroupBarrier();
  if (lane % 16u == 0u && p < params.headSize) {
    var sum = 0.0;
    for (var i = 0u; i < 16u; i++) { sum += products[lane + i]; }
    y[row] = sum${hasSkip ? " + d[head] * input" : ""};
  }
}`,
  }));
