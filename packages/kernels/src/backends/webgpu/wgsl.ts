/** WGSL that several families share: reductions over a group, functions that are right at every size, floats in order. */
import { check } from "../../errors";

type Joiner = "sum" | "max" | "min";
type Joined = "f32" | "vec2f" | "vec4f" | "i32" | "u32";

const JOIN: Readonly<Record<Joiner, (a: string, b: string) => string>> = {
  sum: (a, b) => `${a} + ${b}`,
  max: (a, b) => `max(${a}, ${b})`,
  min: (a, b) => `min(${a}, ${b})`,
};
const ACROSS: Readonly<Record<Joiner, string>> = { sum: "subgroupAdd", max: "subgroupMax", min: "subgroupMin" };

/**
 * Declares `fn workgroup_<joiner>(value: T, lane: u32) -> T` (or `name`): joins the values of all lanes of a group of
 * `width` (a power of two). Every lane gets the same bits, the same on every run, though WGSL does not know them to be
 * uniform. All lanes must call it, in uniform control flow; it may be called again and again, and orders what was
 * written to the group's memory before against what is read after. `subgroups` needs the program to ask for them.
 * Floats under max and min must not be NaN. Group memory: without subgroups width + √width values, else 2 · width.
 */
export function workgroupReduce(joiner: Joiner, width: number, subgroups: boolean, type: Joined = "f32",
  name = `workgroup_${joiner}`): string {
  check(Number.isInteger(Math.log2(width)), "E_ARGUMENT", () => `webgpu: a group of ${width} can't be reduced; it must be a power of two`);
  return subgroups ? bySubgroups(joiner, width, type, name) : byTree(joiner, width, type, name);
}

/**
 * The same for groups of `width` that hold several rows of `lanes` each (both powers of two): `fn row_<joiner>(value: T,
 * lane: u32) -> T` joins the values of the lanes of one's own row. `lane` counts in the whole group.
 */
export function rowReduce(joiner: Joiner, width: number, lanes: number, subgroups: boolean, type: Joined = "f32"): string {
  const name = `row_${joiner}`;
  if (lanes === width) return workgroupReduce(joiner, width, subgroups, type, name);
  return byTree(joiner, lanes, type, name, width / lanes);
}

/** Rows that a lane adds up by itself. */
const FEW_ROWS = 16;

/**
 * Declares `fn join_columns(value: T, lane: u32) -> T` for a group of `width` whose lanes stand in rows of `columns`: lane c
 * below `columns` gets the values of its whole column, joined by `join` (WGSL of two values) in a fixed order; others get
 * nothing of use. All lanes must call it in uniform control flow, once. Group memory: `width` values.
 */
export function columnReduce(width: number, columns: number, type: string, join: (a: string, b: string) => string): string {
  const rows = width / columns;
  const step = (from: number, rows: number) => `
  if (lane < ${from}u) {
    for (var i = 1u; i < ${rows}u; i++) { joined = ${join("joined", `column_slots[lane + i * ${from}u]`)}; }
  }`;
  return `
var<workgroup> column_slots: array<${type}, ${width}>;
fn join_columns(value: ${type}, lane: u32) -> ${type} {
  var joined = value;
  column_slots[lane] = value;
  workgroupBarrier();${rows > FEW_ROWS ? `${step(FEW_ROWS * columns, rows / FEW_ROWS)}
  if (lane < ${FEW_ROWS * columns}u) { column_slots[lane] = joined; }
  workgroupBarrier();` : ""}${step(columns, Math.min(rows, FEW_ROWS))}
  return joined;
}`;
}

/** The least power of two that is at least `size`: of lanes for so many elements. */
export function powerOfTwoFrom(size: number): number {
  return 2 ** Math.ceil(Math.log2(Math.max(1, size)));
}

/** {@link workgroupReduce} for sums: `fn workgroup_sum(value: T, lane: u32) -> T`. */
export function workgroupSum(width: number, subgroups: boolean, type: Joined = "f32"): string {
  return workgroupReduce("sum", width, subgroups, type);
}

/**
 * Two flat steps instead of a tree, since barriers cost more than reads: some lanes join a column of values each, then
 * every lane joins those. Who calls again writes `slots` first, which nobody reads any more, so two barriers will do.
 */
function byTree(joiner: Joiner, width: number, type: Joined, name: string, rows = 1): string {
  const columns = 2 ** Math.ceil(Math.log2(width) / 2);
  return `
var<workgroup> ${name}_slots: array<${type}, ${rows * width}>;
var<workgroup> ${name}_columns: array<${type}, ${rows * columns}>;
fn ${name}(value: ${type}, lane: u32) -> ${type} {
  ${name}_slots[lane] = value;
  workgroupBarrier();
  let first = lane / ${width}u * ${columns}u;
  if (lane % ${width}u < ${columns}u) {
    var joined = value;
    for (var i = ${columns}u; i < ${width}u; i += ${columns}u) { joined = ${JOIN[joiner]("joined", `${name}_slots[lane + i]`)}; }
    ${name}_columns[first + lane % ${width}u] = joined;
  }
  workgroupBarrier();
  var result = ${name}_columns[first];
  for (var i = 1u; i < ${columns}u; i++) { result = ${JOIN[joiner]("result", `${name}_columns[first + i]`)}; }
  return result;
}`;
}

/**
 * One lane of each subgroup leaves its subgroup's result in its own slot, then every subgroup joins all slots. WGSL does
 * not say which lanes share a subgroup, nor that a subgroup is full: who there is, is counted by ballot. The slots
 * alternate between two halves, so that one barrier will do: two calls later everyone is past it.
 */
function bySubgroups(joiner: Joiner, width: number, type: Joined, name: string): string {
  const across = ACROSS[joiner];
  // Largest and smallest may be counted several times, sums may not.
  const left = joiner === "sum" ? `select(${type}(), joined, rank == 0u)` : "joined";
  return `
var<workgroup> ${name}_slots: array<${type}, ${2 * width}>;
var<private> ${name}_half: u32;
fn ${name}(value: ${type}, lane: u32) -> ${type} {
  let present = subgroupBallot(true);
  let word = vec4u(0u, 1u, 2u, 3u);
  let at = vec4u(subgroup_lane / 32u);
  let below = select(select(vec4u(0u), vec4u((1u << (subgroup_lane % 32u)) - 1u), word == at), vec4u(0xffffffffu), word < at);
  let rank = dot(countOneBits(present & below), vec4u(1u));
  let members = dot(countOneBits(present), vec4u(1u));
  let joined = ${across}(value);
  let half = ${name}_half;
  ${name}_half = ${width}u - half;
  ${name}_slots[half + lane] = ${left};
  workgroupBarrier();
  var result = ${name}_slots[half + rank];
  for (var i = rank + members; i < ${width}u; i += members) { result = ${JOIN[joiner]("result", `${name}_slots[half + i]`)}; }
  return ${across}(result);
}`;
}

/**
 * Functions with errors of a few units in the last place wherever the result is a normal number, which WGSL's own do not
 * promise: `fine_exp`, `fine_log`, `fine_log1p` (for 0 ... 1), `fine_tanh`, `sigmoid`, `silu`, `softplus`; the limits
 * at ±infinity, NaN for NaN. Also `is_nan`, `not_a_number()` and `infinity()`, which as constants would be errors.
 *
 * The coefficients are minimax fits (Remez) on the ranges named beside them.
 */
export const MATH = `
var<private> nan_bits: u32 = 0x7fc00000u;
var<private> infinity_bits: u32 = 0x7f800000u;
fn not_a_number() -> f32 { return bitcast<f32>(nan_bits); }
fn infinity() -> f32 { return bitcast<f32>(infinity_bits); }
// By bits: compilers may assume that x != x is false.
fn is_nan(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u; }
fn power_of_two(n: i32) -> f32 { return bitcast<f32>(u32(n + 127) << 23u); }

// e^x = 2^n e^r with |r| <= log(2)/2; log(2) in two pieces, of which n times the first is exact.
fn fine_exp(x: f32) -> f32 {
  let bounded = clamp(x, -105.0, 89.0);
  let n = round(bounded * 1.44269504);
  let r = (bounded - n * 0.693359375) + n * 2.1219444e-4;
  let q = 0.5 + r * (0.1666651815 + r * (0.04166620597 + r * (0.008368917741 + r * 0.001395059517)));
  let whole = i32(n);
  let half = whole >> 1u;
  let y = (1.0 + (r + r * r * q)) * power_of_two(half) * power_of_two(whole - half);
  return select(select(y, infinity(), x > 88.722839), x, is_nan(x));
}

// log(1 + f) for 1 + f in 1/√2 ... 2: 2 atanh(s) with s = f / (2 + f), written so that an error of s hardly matters.
fn fine_log1p(f: f32) -> f32 {
  let s = f / (2.0 + f);
  let z = s * s;
  return f - s * (f - z * (0.6666641235 + z * (0.4002169967 + z * (0.2799914181 + z * 0.280244559))));
}

// log(x) = k log(2) + log(1 + f), with 1 + f in 1/√2 ... √2.
fn fine_log(x: f32) -> f32 {
  var bits = bitcast<u32>(x);
  if (bits >= 0x7f800000u) {
    if (bits == 0x80000000u) { return -infinity(); }
    return select(not_a_number(), x, bits == 0x7f800000u);
  }
  if (bits == 0u) { return -infinity(); }
  var k = 0;
  // A subnormal number: its mantissa as a float, times 2^-149.
  if (bits < 0x00800000u) { bits = bitcast<u32>(f32(bits)); k = -149; }
  let shifted = bits - 0x3f3504f3u;
  k += bitcast<i32>(shifted) >> 23u;
  let f = bitcast<f32>((shifted & 0x007fffffu) + 0x3f3504f3u) - 1.0;
  return f32(k) * 0.693359375 + (fine_log1p(f) - f32(k) * 2.1219444e-4);
}

// An odd polynomial for |x| < 0.8, beyond it 1 - 2 / (e^2|x| + 1).
fn fine_tanh(x: f32) -> f32 {
  let size = abs(x);
  let z = x * x;
  let near = x + x * z * (-0.3333329856 + z * (0.1333227009 + z * (-0.05385584012
    + z * (0.02131397463 + z * (-0.00742517272 + z * 0.001593017718)))));
  let far = 1.0 - 2.0 / (fine_exp(2.0 * min(size, 10.0)) + 1.0);
  return select(select(select(-far, far, x > 0.0), near, size < 0.8), x, is_nan(x));
}

fn sigmoid(x: f32) -> f32 {
  let e = fine_exp(-abs(x));
  return select(e, 1.0, x >= 0.0) / (1.0 + e);
}
fn silu(x: f32) -> f32 { return x * sigmoid(x); }
// log(1 + e^x), where e^x alone would overflow.
fn softplus(x: f32) -> f32 { return max(x, 0.0) + fine_log1p(fine_exp(-abs(x))); }
`;

/**
 * WGSL's own exponential and logarithm, for where a few units in the last place don't matter: `exp_one`, `exp_four`, `log_one`.
 * NaN for NaN, and -infinity for the logarithm of 0, which a device may otherwise take for any number (SwiftShader's `exp`
 * makes infinity of NaN, and what is divided by that is 0).
 */
export const EXP = `
fn exp_one(x: f32) -> f32 { return select(exp(x), x, (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u); }
var<private> minus_infinity: u32 = 0xff800000u;
fn log_one(x: f32) -> f32 {
  let bits = bitcast<u32>(x) & 0x7fffffffu;
  return select(select(log(x), x, bits > 0x7f800000u), bitcast<f32>(minus_infinity), bits == 0u);
}
fn exp_four(x: vec4f) -> vec4f { return select(exp(x), x, (bitcast<vec4u>(x) & vec4u(0x7fffffffu)) > vec4u(0x7f800000u)); }
`;

/**
 * Floats as integers in the same order: `order_of(bits) -> i32` and back, `bits_of(order) -> u32`. NaN is the largest, -0
 * is 0. Exact where compilers may flush small numbers and forget about NaN, and it can be joined by the `max` of {@link workgroupReduce}.
 */
export const ORDER = `
fn order_of(bits: u32) -> i32 {
  let size = bits & 0x7fffffffu;
  if (size > 0x7f800000u) { return 0x7fffffff; }
  return select(bitcast<i32>(size), -bitcast<i32>(size), bits != size);
}
fn bits_of(order: i32) -> u32 {
  return select(bitcast<u32>(order), 0x80000000u | bitcast<u32>(-order), order < 0);
}`;

/**
 * `turn_of(angle) -> vec2f`: cosine and sine of an angle of up to a few thousand turns, within 2e-7, which WGSL's own are not by far; not a
 * number where the angle is none. Coefficients, and π/2 in three pieces of which whole multiples of the first two are exact: Cephes sinf
 * and cosf (Moshier).
 */
export const TURN = `
fn turn_of(angle: f32) -> vec2f {
  let n = round(angle * 0.63661977);
  let r = ((angle - n * 1.5703125) - n * 4.837512969970703125e-4) - n * 7.54978995489188216e-8;
  let z = r * r;
  let s = r + r * z * (-1.6666654611e-1 + z * (8.3321608736e-3 + z * -1.9515295891e-4));
  let c = 1.0 - z * 0.5 + z * z * (4.166664568298827e-2 + z * (-1.388731625493765e-3 + z * 2.443315711809948e-5));
  let quarter = i32(n) & 3;
  let turned = select(vec2f(c, s), vec2f(s, c), (quarter & 1) != 0);
  return vec2f(select(turned.x, -turned.x, quarter == 1 || quarter == 2), select(turned.y, -turned.y, quarter >= 2));
}
`;
