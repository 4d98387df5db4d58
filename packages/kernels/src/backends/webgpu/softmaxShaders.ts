/**
 * Programs over rows [rows, width]: softmax, its gradient and argmax. `lanes` lanes share a row, so that a group has
 * WORKGROUP / lanes rows; lane l takes the elements l, l + lanes, ... and keeps `kept` of them in registers. With `kept`
 * 0 the row is too long for that, and read twice.
 */
import { program, variants } from "./program";
import { MATH, ORDER, rowReduce } from "./wgsl";

export const WORKGROUP = 256;

/** Lanes of a row, and how many of its elements each keeps (0: it reads them again). */
type RowSoftmax = { readonly lanes: number; readonly kept: number; readonly logarithm: boolean; readonly subgroups: boolean };

const OF_ROWS = { rows: "u32", width: "u32" } as const;

/** Start of `run`: `row`, `first` (lane's own first element), `at` where the row begins and `width`, which is 0 beyond the last row. */
const opening = (lanes: number) => `
  let row = group * ${WORKGROUP / lanes}u + lane / ${lanes}u;
  let first = lane % ${lanes}u;
  let at = row * params.width;
  let width = select(0u, params.width, row < params.rows);`;

/** A loop over the lane's elements: `j` is the place in the row, `k` the register. */
const loop = (lanes: number, kept: number, body: string) =>
  kept > 0
    ? `for (var k = 0u; k < ${kept}u; k++) { let j = first + k * ${lanes}u; if (j < width) { ${body} } }`
    : `for (var j = first; j < width; j += ${lanes}u) { ${body} }`;

/** The lowest finite number stands for "none yet": -infinity would give NaN where it is subtracted from itself. */
const LOWEST = "-3.4028234e38";

export const softmax = variants(({ lanes, kept, logarithm, subgroups }: RowSoftmax) => {
  const joins = rowReduce("max", WORKGROUP, lanes, subgroups) + rowReduce("sum", WORKGROUP, lanes, subgroups);
  // NaN is passed over by the comparison and comes back with the sum.
  const inRegisters = `
  var values: array<f32, ${Math.max(1, kept)}>;
  var most = ${LOWEST};
  ${loop(lanes, kept, "values[k] = x[at + j]; most = select(most, values[k], values[k] > most);")}
  most = row_max(most, lane);
  var total = 0.0;
  ${loop(lanes, kept, `values[k] -= most; let e = fine_exp(values[k]); total += e;${logarithm ? "" : " values[k] = e;"}`)}
  total = row_sum(total, lane);
  ${logarithm ? "let logarithm = fine_log(total);" : ""}
  ${loop(lanes, kept, logarithm ? "y[at + j] = values[k] - logarithm;" : "y[at + j] = values[k] / total;")}`;
  // The sum so far is rescaled whenever a larger element comes.
  const inTwoReadings = `
  var own = ${LOWEST};
  var total = 0.0;
  ${loop(lanes, 0, `
    let value = x[at + j];
    if (value > own) { total = total * fine_exp(own - value) + 1.0; own = value; } else { total += fine_exp(value - own); }`)}
  let most = row_max(own, lane);
  total = row_sum(total * fine_exp(own - most), lane);
  ${logarithm ? "let logarithm = fine_log(total);" : ""}
  ${loop(lanes, 0, logarithm ? "y[at + j] = (x[at + j] - most) - logarithm;" : "y[at + j] = fine_exp(x[at + j] - most) / total;")}`;
  return program({
    name: logarithm ? "logSoftmax" : "softmax",
    reads: { x: "f32" },
    writes: { y: "f32" },
    params: OF_ROWS,
    workgroup: WORKGROUP,
    subgroups: subgroups && lanes === WORKGROUP,
    code: `${MATH}\n${joins}\nfn run(group: u32, lane: u32) {${opening(lanes)}${kept > 0 ? inRegisters : inTwoReadings}\n}`,
  });
});

/** softmax: dx = y (dy - Σ dy·y); logSoftmax: dx = dy - e^y Σ dy. */
export const softmaxGradient = variants(({ lanes, kept, logarithm, subgroups }: RowSoftmax) => {
  const term = logarithm ? "g" : "g * value";
  const result = logarithm ? "g - fine_exp(value) * total" : "value * (g - total)";
  const keeps = kept > 0;
  return program({
    name: logarithm ? "logSoftmaxGradient" : "softmaxGradient",
    reads: { y: "f32", dy: "f32" },
    writes: { dx: "f32" },
    params: OF_ROWS,
    workgroup: WORKGROUP,
    subgroups: subgroups && lanes === WORKGROUP,
    code: `
${MATH}
${rowReduce("sum", WORKGROUP, lanes, subgroups)}
fn run(group: u32, lane: u32) {${opening(lanes)}
  ${keeps ? `var values: array<f32, ${kept}>;\n  var gs: array<f32, ${kept}>;` : ""}
  var total = 0.0;
  ${loop(lanes, kept, `let value = y[at + j]; let g = dy[at + j]; total += ${term};${keeps ? " values[k] = value; gs[k] = g;" : ""}`)}
  total = row_sum(total, lane);
  ${loop(lanes, kept, `let value = ${keeps ? "values[k]" : "y[at + j]"}; let g = ${keeps ? "gs[k]" : "dy[at + j]"}; `
    + `dx[at + j] = ${result};`)}
}`,
  });
});

/**
 * out [rows] gets `start` plus the place of the largest element, the first among equals. `pieces`: the row is one piece of
 * longer ones; `orders` [rows] holds the largest so far, except for the first piece (`start` 0), and out stays where
 * nothing larger comes.
 */
export const argmax = variants(({ lanes, pieces, subgroups }: { lanes: number; pieces: boolean; subgroups: boolean }) =>
  program({
    name: "argmax",
    reads: { x: "u32" },
    writes: { out: "i32", orders: pieces ? "i32" : undefined },
    params: { ...OF_ROWS, start: "u32" },
    workgroup: WORKGROUP,
    subgroups: subgroups && lanes === WORKGROUP,
    code: `
${ORDER}
${rowReduce("max", WORKGROUP, lanes, subgroups, "i32")}
${rowReduce("min", WORKGROUP, lanes, subgroups, "u32")}
fn run(group: u32, lane: u32) {${opening(lanes)}
  var own = i32(-2147483648);
  var place = 0u;
  ${loop(lanes, 0, "let order = order_of(x[at + j]); if (order > own) { own = order; place = j; }")}
  let most = row_max(own, lane);
  let found = row_min(select(0xffffffffu, place, own == most), lane);
  if (first == 0u && row < params.rows) {
    ${pieces ? "if (params.start > 0u && most <= orders[row]) { return; }\n    orders[row] = most;" : ""}
    out[row] = i32(params.start + found);
  }
}`,
  }));
