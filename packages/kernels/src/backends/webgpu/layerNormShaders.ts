/** WGSL of layer norm: ops/layerNorm.ts has the formulas, normShaders.ts says how a group goes over rows. */
import { type NormShape, perUnit, units } from "./normShaders";
import { program, variants } from "./program";
import { workgroupReduce, workgroupSum } from "./wgsl";

export const layerNormForward = variants(({ hasBias, vector, lanes, kept, subgroups }: NormShape & { hasBias: boolean }) => {
  const unit = vector ? "vec4f" : "f32";
  const bias = (at: string) => (hasBias ? ` + bias[${at}]` : "");
  return program({
    name: "layerNorm",
    reads: { x: unit, weight: unit, bias: hasBias ? unit : undefined },
    writes: { y: unit, mean: "f32", rstd: "f32" },
    params: { units: "u32", size: "f32", eps: "f32" },
    workgroup: lanes,
    subgroups,
    code: `${workgroupSum(lanes, subgroups)}${units(vector)}
// Group: one row. x, y [rows, units]. Squares are taken from the mean: the mean square less the squared mean loses all
// digits where the mean is large.
fn run(group: u32, lane: u32) {
  let start = group * params.units;
  var sums = Unit();
  ${kept > 0
    ? perUnit(kept, lanes, (k, place) => `var u${k} = Unit(); if (${place} < params.units) { u${k} = x[start + ${place}]; sums += u${k}; }`)
    : "for (var i = lane; i < params.units; i += WORKGROUP) { sums += x[start + i]; }"}
  let m = workgroup_sum(total(sums), lane) / params.size;
  var squares = Unit();
  ${kept > 0
    ? perUnit(kept, lanes, (k, place) => `if (${place} < params.units) { u${k} -= m; squares += u${k} * u${k}; }`)
    : "for (var i = lane; i < params.units; i += WORKGROUP) { let u = x[start + i] - m; squares += u * u; }"}
  let r = 1.0 / sqrt(workgroup_sum(total(squares), lane) / params.size + params.eps);
  if (lane == 0u) { mean[group] = m; rstd[group] = r; }
  ${kept > 0
    ? perUnit(kept, lanes, (k, place) =>
      `if (${place} < params.units) { y[start + ${place}] = u${k} * r * weight[${place}]${bias(place)}; }`)
    : `for (var i = lane; i < params.units; i += WORKGROUP) { y[start + i] = (x[start + i] - m) * r * weight[i]${bias("i")}; }`}
}`,
  });
});

/** partials [blocks, 2, units] gets each block's sums for dweight and dbias. */
export const layerNormGradient = variants(({ vector, lanes, kept, subgroups }: NormShape) => {
  const unit = vector ? "vec4f" : "f32";
  return program({
    name: "layerNormGradient",
    reads: { x: unit, weight: unit, mean: "f32", rstd: "f32", dy: unit },
    writes: { dx: unit, partials: unit },
    params: { rows: "u32", block: "u32", units: "u32", size: "f32" },
    workgroup: lanes,
    subgroups,
    code: `${workgroupReduce("sum", lanes, subgroups, "vec2f")}${units(vector)}
// Group: a block of rows. x, dy, dx [rows, units]. A kept place of a row has dy (g) and the normed x (n).
fn run(group: u32, lane: u32) {
  let first = group * params.block;
  let end = min(first + params.block, params.rows);
  let into = group * 2u * params.units;
  ${perUnit(kept, lanes, (k, place) =>
    `var dw${k} = Unit(); var db${k} = Unit(); var w${k} = Unit(); if (${place} < params.units) { w${k} = weight[${place}]; }`)}
  for (var row = first; row < end; row++) {
    let start = row * params.units;
    let m = mean[row];
    let r = rstd[row];
    var levels = Unit();
    var dots = Unit();
  ${kept > 0
    ? perUnit(kept, lanes, (k, place) => `  var g${k} = Unit(); var n${k} = Unit();
    if (${place} < params.units) {
      g${k} = dy[start + ${place}]; n${k} = (x[start + ${place}] - m) * r;
      levels += g${k} * w${k}; dots += g${k} * w${k} * n${k};
    }`)
    : `  for (var i = lane; i < params.units; i += WORKGROUP) {
      let g = dy[start + i] * weight[i];
      levels += g; dots += g * ((x[start + i] - m) * r);
    }`}
    let means = workgroup_sum(vec2f(total(levels), total(dots)), lane) / params.size;
  ${kept > 0
    ? perUnit(kept, lanes, (k, place) => `  if (${place} < params.units) {
      dx[start + ${place}] = r * (g${k} * w${k} - means.x - n${k} * means.y);
      dw${k} += g${k} * n${k}; db${k} += g${k};
    }`)
    : `  for (var i = lane; i < params.units; i += WORKGROUP) {
      let g = dy[start + i];
      let n = (x[start + i] - m) * r;
      dx[start + i] = r * (g * weight[i] - means.x - n * means.y);
      let also = params.units + i;
      partials[into + i] = select(partials[into + i] + g * n, g * n, row == first);
      partials[into + also] = select(partials[into + also] + g, g, row == first);
    }`}
  }
  ${perUnit(kept, lanes, (k, place) =>
    `if (${place} < params.units) { partials[into + ${place}] = dw${k}; partials[into + params.units + ${place}] = db${k}; }`)}
}`,
  });
});
