/**
 * Programs that reduce one axis: src/ops/reduce.ts. Sums are of f32; the largest is sought among floats as integers in order, so
 * that NaN wins.
 */
import { type BindingType, program, variants } from "./program";
import { columnReduce, ORDER, rowReduce } from "./wgsl";

export type Reduction = "sum" | "max";

export const WORKGROUP = 256;
/** Columns side by side in a group of {@link reduceColumns}: 128 bytes, or 512 of vectors. */
export const MOST_COLUMNS = 32;

const PARAMS = { outer: "u32", length: "u32", inner: "u32", block: "u32", blocks: "u32", scale: "f32" } as const;

/** What a reduction does with numbers as they are bound (`Bound`), or four of them: take, join, finish. */
function arithmetic(kind: Reduction, vector: boolean): { bound: BindingType; code: string } {
  if (kind === "sum") {
    const T = vector ? "vec4f" : "f32";
    return {
      bound: T,
      code: `
alias Bound = ${T};
alias Value = ${T};
const EMPTY = Value();
fn take(value: Bound) -> Value { return value; }
fn join(a: Value, b: Value) -> Value { return a + b; }
fn finish(value: Value) -> Bound { return value * params.scale; }
fn across(value: vec4f) -> f32 { return (value.x + value.y) + (value.z + value.w); }
fn finish_one(value: f32) -> f32 { return value * params.scale; }`,
    };
  }
  const each = (f: string, T: string) => (vector ? `${T}(${["x", "y", "z", "w"].map((c) => `${f}(value.${c})`).join(", ")})`
    : `${f}(value)`);
  return {
    bound: vector ? "vec4u" : "u32",
    code: `
${ORDER}
alias Bound = ${vector ? "vec4u" : "u32"};
alias Value = ${vector ? "vec4i" : "i32"};
const EMPTY = Value(-2147483648);
fn take(value: Bound) -> Value { return ${each("order_of", "vec4i")}; }
fn join(a: Value, b: Value) -> Value { return max(a, b); }
fn finish(value: Value) -> Bound { return ${each("bits_of", "vec4u")}; }
fn across(value: vec4i) -> i32 { return max(max(value.x, value.y), max(value.z, value.w)); }
fn finish_one(value: i32) -> u32 { return bits_of(value); }`,
  };
}

/** Joins what is at i, i + step, ... below `end` to `value`: four at a time, so that they do not wait for one another. */
const joinAll = (step: number, at: (i: string) => string) => {
  const take = (k: number) => `take(${at(k === 0 ? "i" : `(i + ${k * step}u)`)})`;
  return `
    for (; i + ${3 * step}u < end; i += ${4
      * step}u) { value = join(value, join(join(${take(0)}, ${take(1)}), join(${take(2)}, ${take(3)}))); }
    for (; i < end; i += ${step}u) { value = join(value, ${take(0)}); }`;
};

type Rows = { readonly kind: Reduction; readonly lanes: number; readonly vector: boolean; readonly subgroups: boolean };

/**
 * x [outer, length] -> out [outer, blocks], blocks of `block` numbers each. `lanes` lanes share a block, so that a group has
 * WORKGROUP / lanes of them. `vector`: x is read by fours; length and block are multiples of 4.
 */
export const reduceRows = variants(({ kind, lanes, vector, subgroups }: Rows) => {
  const { bound, code } = arithmetic(kind, vector);
  const unit = vector ? 4 : 1;
  return program({
    name: `reduce ${kind} of rows`,
    reads: { x: bound },
    writes: { out: kind === "sum" ? "f32" : "u32" },
    params: PARAMS,
    workgroup: WORKGROUP,
    subgroups: subgroups && lanes === WORKGROUP,
    code: `
${code}
${rowReduce(kind, WORKGROUP, lanes, subgroups, kind === "sum" ? "f32" : "i32")}
fn run(group: u32, lane: u32) {
  let index = group * ${WORKGROUP / lanes}u + lane / ${lanes}u;
  let start = index % params.blocks * params.block;
  var value = EMPTY;
  if (index < params.outer * params.blocks) {
    let row = index / params.blocks * params.length;
    let end = (row + min(start + params.block, params.length)) / ${unit}u;
    var i = (row + start) / ${unit}u + lane % ${lanes}u;
    ${joinAll(lanes, (at) => `x[${at}]`)}
  }
  let result = row_${kind}(${vector ? "across(value)" : "value"}, lane);
  if (lane % ${lanes}u == 0u && index < params.outer * params.blocks) { out[index] = finish_one(result); }
}`,
  });
});

/**
 * x [outer, length, inner] -> out [outer, blocks, inner], blocks of `block` rows each. A group has a block and `columns`
 * columns of it; neighbouring lanes have neighbouring columns, and the lanes that share a column take turns with the
 * rows. `vector`: columns are vectors of four, and `inner` counts those.
 */
export const reduceColumns = variants(({ kind, columns, vector }: { kind: Reduction; columns: number; vector: boolean }) => {
  const { bound, code } = arithmetic(kind, vector);
  const rows = WORKGROUP / columns;
  return program({
    name: `reduce ${kind} of columns`,
    reads: { x: bound },
    writes: { out: bound },
    params: PARAMS,
    workgroup: WORKGROUP,
    code: `
${code}
${columnReduce(WORKGROUP, columns, "Value", (a, b) => `join(${a}, ${b})`)}
fn run(group: u32, lane: u32) {
  let tiles = (params.inner + ${columns - 1}u) / ${columns}u;
  let column = group % tiles * ${columns}u + lane % ${columns}u;
  let index = group / tiles;
  let start = index % params.blocks * params.block;
  let end = min(start + params.block, params.length);
  let first = index / params.blocks * params.length;
  var value = EMPTY;
  if (column < params.inner) {
    var i = start + lane / ${columns}u;
    ${joinAll(rows, (at) => `x[(first + ${at}) * params.inner + column]`)}
  }
  value = join_columns(value, lane);
  if (lane < ${columns}u && column < params.inner) { out[index * params.inner + column] = finish(value); }
}`,
  });
});
