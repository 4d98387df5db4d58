/**
 * WGSL of the norms: ops/norm.ts has the formulas. One code serves the plain and the gated norm: both norm u, which is x (plus
 * the residual) or x·silu(gate). A row of several normed groups of neighbours ("norms") counts as so many short rows.
 *
 * A workgroup goes over one row at a time, in units of vec4f where the size allows. Rows of usual width stay in
 * registers between the reduction over them and its use (`kept` units to a lane, written out one by one, so that they are
 * registers on every compiler); longer ones (`kept` 0) are read again.
 */
import { program, variants } from "./program";
import { MATH, workgroupSum } from "./wgsl";

/** How a group goes over a row. */
export interface NormShape {
  /** Units are vec4f, else f32. */
  readonly vector: boolean;
  /** Invocations of a group. */
  readonly lanes: number;
  /** Units that each keeps of a row; 0 when the row is too long for that. */
  readonly kept: number;
  readonly subgroups: boolean;
}

/** The units of rows. */
export const units = (vector: boolean) => `
alias Unit = ${vector ? "vec4f" : "f32"};
fn total(v: Unit) -> f32 { return ${vector ? "(v.x + v.y) + (v.z + v.w)" : "v"}; }`;

/** Declarations that both directions use. */
const common = (gated: boolean, vector: boolean, lanes: number, subgroups: boolean) => `${workgroupSum(lanes, subgroups)}${units(vector)}
${gated ? `${MATH}
fn sigmoids(v: Unit) -> Unit { return ${vector ? "vec4f(sigmoid(v.x), sigmoid(v.y), sigmoid(v.z), sigmoid(v.w))" : "sigmoid(v)"}; }` : ""}`;

/** One copy of `text` per kept unit: its number, and its place in the row. */
export const perUnit = (kept: number, lanes: number, text: (k: number, place: string) => string) =>
  Array.from({ length: kept }, (_, k) => text(k, `(lane + ${k * lanes}u)`)).join("\n  ");

export const normForward = variants((variant: NormShape & { gated: boolean; residual: boolean }) => {
  const { gated, residual, vector, lanes, kept, subgroups } = variant;
  const unit = vector ? "vec4f" : "f32";
  const before = gated
    ? "let z = gate[at]; return x[at] * (z * sigmoids(z));"
    : residual ? "let h = x[at] + residual[at]; sum[at] = h; return h;" : "return x[at];";
  return program({
    name: gated ? "gatedRmsNorm" : "rmsNorm",
    reads: { x: unit, gate: gated ? unit : undefined, residual: residual ? unit : undefined, weight: unit },
    writes: { y: unit, sum: residual ? unit : undefined, rstd: "f32" },
    params: { units: "u32", norms: "u32", size: "f32", eps: "f32" },
    workgroup: lanes,
    subgroups,
    code: `${common(gated, vector, lanes, subgroups)}
fn input(at: u32) -> Unit { ${before} }
fn input_again(at: u32) -> Unit { ${residual ? "return sum[at];" : "return input(at);"} }
// Group: one norm of one row. x, y [rows, norms, units].
fn run(group: u32, lane: u32) {
  let start = group * params.units;
  let column = group % params.norms * params.units;
  var squares = Unit();
  ${kept > 0
    ? perUnit(kept, lanes, (k, place) =>
      `var u${k} = Unit(); if (${place} < params.units) { u${k} = input(start + ${place}); squares += u${k} * u${k}; }`)
    : "for (var i = lane; i < params.units; i += WORKGROUP) { let u = input(start + i); squares += u * u; }"}
  let r = 1.0 / sqrt(workgroup_sum(total(squares), lane) / params.size + params.eps);
  if (lane == 0u) { rstd[group] = r; }
  ${kept > 0
    ? perUnit(kept, lanes, (k, place) => `if (${place} < params.units) { y[start + ${place}] = u${k} * r * weight[column + ${place}]; }`)
    : "for (var i = lane; i < params.units; i += WORKGROUP) { y[start + i] = input_again(start + i) * r * weight[column + i]; }"}
}`,
  });
});

/**
 * partials [blocks, norms, units] gets each block's sum for dweight. `also` is dresidual, or with a gate dgate.
 *
 * Beside u, the kept units of a row are dy (`g`) and with a gate x and gate (`v`, `z`), from which u is made again.
 */
export const normGradient = variants((variant: NormShape & { gated: boolean; hasDsum: boolean; hasAlso: boolean }) => {
  const { gated, hasDsum, hasAlso, vector, lanes, kept, subgroups } = variant;
  const unit = vector ? "vec4f" : "f32";
  const normed = gated ? "unit.v * (unit.z * unit.s)" : "unit.v";
  return program({
    name: gated ? "gatedRmsNormGradient" : "rmsNormGradient",
    reads: { x: unit, gate: gated ? unit : undefined, weight: unit, rstd: "f32", dy: unit, dsum: hasDsum ? unit : undefined },
    writes: { dx: unit, also: hasAlso ? unit : undefined, partials: unit },
    params: { rows: "u32", block: "u32", units: "u32", norms: "u32", size: "f32" },
    workgroup: lanes,
    subgroups,
    code: `${common(gated, vector, lanes, subgroups)}
// What one place of a row has: dy, x, and with a gate that and its sigmoid.
struct Place { g: Unit, v: Unit,${gated ? " z: Unit, s: Unit," : ""} }
fn place_at(at: u32) -> Place {
  ${gated ? "let z = gate[at]; return Place(dy[at], x[at], z, sigmoids(z));" : "return Place(dy[at], x[at]);"}
}
fn normed(unit: Place) -> Unit { return ${normed}; }
// Writes the gradients of a place and returns its part in dweight.
fn finish(at: u32, unit: Place, w: Unit, r: f32, projection: f32) -> Unit {
  let u = normed(unit) * r;
  let du = r * (unit.g * w - u * projection);
  ${gated
    ? "dx[at] = du * (unit.z * unit.s); also[at] = du * unit.v * (unit.s * (1.0 + unit.z * (1.0 - unit.s)));"
    : `let d = du${hasDsum ? " + dsum[at]" : ""}; dx[at] = d;${hasAlso ? " also[at] = d;" : ""}`}
  return unit.g * u;
}
// Group: one norm of a block of rows. x, dy, dx [rows, norms, units].
fn run(group: u32, lane: u32) {
  let column = group % params.norms * params.units;
  let first = group / params.norms * params.block;
  let end = min(first + params.block, params.rows);
  let into = group * params.units;
  ${perUnit(kept, lanes, (k, place) =>
    `var sum${k} = Unit(); var w${k} = Unit(); if (${place} < params.units) { w${k} = weight[column + ${place}]; }`)}
  for (var row = first; row < end; row++) {
    let norm = row * params.norms + group % params.norms;
    let start = norm * params.units;
    let r = rstd[norm];
    var dots = Unit();
  ${kept > 0
    ? perUnit(kept, lanes, (k, place) =>
      `  var place${k} = Place(); if (${place} < params.units) { place${k} = place_at(start + ${place}); dots += place${k}.g * w${k} * `
        + `normed(place${k}); }`)
    : "  for (var i = lane; i < params.units; i += WORKGROUP) { let unit = place_at(start + i); dots += unit.g * weight[column + i] * "
      + "normed(unit); }"}
    let projection = workgroup_sum(total(dots), lane) * r / params.size;
  ${kept > 0
    ? perUnit(kept, lanes, (k, place) =>
      `  if (${place} < params.units) { sum${k} += finish(start + ${place}, place${k}, w${k}, r, projection); }`)
    : `  for (var i = lane; i < params.units; i += WORKGROUP) {
      let part = finish(start + i, place_at(start + i), weight[column + i], r, projection);
      partials[into + i] = select(partials[into + i] + part, part, row == first);
    }`}
  }
  ${perUnit(kept, lanes, (k, place) => `if (${place} < params.units) { partials[into + ${place}] = sum${k}; }`)}
}`,
  });
});
