/**
 * WGSL of the convolution: ops/conv.ts has the formulas. Channels come in units of vec4f where all sizes allow, and lanes next
 * to each other take units next to each other. A lane walks over a few steps of its unit, with the last K rows of u in
 * registers.
 *
 * One launch covers some channels of some sequences (`covered` units from unit `offset` on, those of up to three outputs), and
 * of these the steps from `first` on. x is bound from `before` rows earlier on, `xRows` a sequence.
 */
import { program, variants } from "./program";
import { MATH } from "./wgsl";

/** Outputs of one launch; with what else is bound they reach WebGPU's default limit. */
export const MOST_OUTPUTS = 3;

/** Steps that a lane takes. */
export const STEPS = 16;

/** Units and runs of steps of a group of the gradient. */
export const ACROSS = 32;
export const SLICES = 8;

const WORKGROUP = 256;

/**
 * Kernels up to this width (models have 4) stay in registers: loops over them are written out. Wider ones have arrays and loops,
 * and no vec4f.
 */
const MOST_WRITTEN_OUT = 4;
export const mayBeVectors = (width: number) => width <= MOST_WRITTEN_OUT;

/** `text` for each tap j = from ... to - 1. */
function each(width: number, from: number, to: number, text: (j: string) => string): string {
  if (width > MOST_WRITTEN_OUT) return `for (var j = ${from}u; j < ${to}u; j++) { ${text("j")} }`;
  return Array.from({ length: to - from }, (_, i) => text(`${from + i}u`)).join(" ");
}

const common = (width: number, vector: boolean, stateAt: string | undefined) => `${MATH}
const K = ${width}u;
alias Unit = ${vector ? "vec4f" : "f32"};
fn sigmoids(v: Unit) -> Unit { return ${vector ? "vec4f(sigmoid(v.x), sigmoid(v.y), sigmoid(v.z), sigmoid(v.w))" : "sigmoid(v)"}; }
// What step t of a sequence gets in unit c; the state for t < 0.
fn input(item: u32, t: i32, c: u32) -> Unit {
  if (t >= 0) { return x[(item * params.xRows + u32(t + i32(params.before) - i32(params.first))) * params.channels + c]; }
  ${stateAt ? `return ${stateAt}[${stateAt === "small" ? "params.stateAt + " : ""}(item * (K - 1u) + u32(t + i32(K) - 1)) * `
    + "params.channels + c];" : "return Unit();"}
}`;

const SIZES = {
  channels: "u32", offset: "u32", covered: "u32", first: "u32", time: "u32", before: "u32", xRows: "u32",
  // Units of the launch before which output 0, 1 and 2 end.
  end0: "u32", end1: "u32", end2: "u32",
} as const;

/** Where unit c of the launch lies in its output: a chain of ifs, over outputs that are there. */
function perOutput(present: readonly boolean[], text: (output: string, at: string) => string): string {
  return present.map((there, i) => {
    const start = i === 0 ? "0u" : `params.end${i - 1}`;
    const body = there ? text(`out${i}`, `row * (params.end${i} - ${start}) + c - ${start}`) : "";
    return `if (c < params.end${i}) { ${body} }`;
  }).join(" else ");
}

const outputsOf = (present: readonly boolean[], unit: "vec4f" | "f32") => ({
  out0: present[0] ? unit : undefined, out1: present[1] ? unit : undefined, out2: present[2] ? unit : undefined,
});

const AT_A_TIME = 2;

/** What the text of {@link convForward} depends on. */
interface ConvForwardVariant {
  readonly width: number;
  readonly vector: boolean;
  readonly hasBias: boolean;
  readonly hasState: boolean;
  readonly silu: boolean;
  readonly outputs: number;
  readonly last: boolean;
}

/** `last`: the launch has the sequences' last step, and writes the state that they leave. */
export const convForward = variants(({ width, vector, hasBias, hasState, silu, outputs, last }: ConvForwardVariant) => {
  const unit = vector ? "vec4f" : "f32";
  const present = Array.from({ length: outputs }, () => true);
  const loop = (from: number, to: number, text: (j: string) => string) => each(width, from, to, text);
  return program({
    name: "causalConv",
    reads: { x: unit, weight: "f32", bias: hasBias ? unit : undefined, state: hasState ? unit : undefined },
    writes: { ...outputsOf(present, unit), left: last ? unit : undefined },
    params: { ...SIZES, items: "u32", walks: "u32" },
    workgroup: WORKGROUP,
    code: `${common(width, vector, hasState ? "state" : undefined)}
fn put(row: u32, c: u32, value: Unit) { ${perOutput(present, (output, at) => `${output}[${at}] = value;`)} }
fn tap(c: u32, j: u32) -> Unit {
  ${vector ? "let at = c * 4u * K + j; return vec4f(weight[at], weight[at + K], weight[at + 2u * K], weight[at + 3u * K]);"
    : "return weight[c * K + j];"}
}
// Flat over [items, walks of ${STEPS} time, units], and then over the new states [items, K - 1, units].
fn run(group: u32, lane: u32) {
  let flat = group * WORKGROUP + lane;
  let c = flat % params.covered;
  let at = params.offset + c;
  let walk = flat / params.covered % params.walks;
  let item = flat / params.covered / params.walks;
  if (item >= params.items) {
    ${last ? `let j = flat / params.covered - params.items * params.walks;
    let t = i32(params.first + params.time + j % (K - 1u)) - i32(K - 1u);
    if (j < params.items * (K - 1u)) { left[j * params.channels + at] = input(j / (K - 1u), t, at); }` : ""}
    return;
  }
  var taps: array<Unit, ${width}>;
  ${loop(0, width, (j) => `taps[${j}] = tap(at, ${j});`)}
  let start = ${hasBias ? "bias[at]" : "Unit()"};
  let begin = walk * ${STEPS}u;
  let end = min(begin + ${STEPS}u, params.time);
  // u of the steps before, then of ${AT_A_TIME} at a time, so that their reads do not wait for one another.
  var u: array<Unit, ${width - 1 + AT_A_TIME}>;
  ${loop(0, width - 1, (j) => `u[${j}] = input(item, i32(params.first + begin + ${j}) - i32(K - 1u), at);`)}
  for (var s = begin; s < end; s += ${AT_A_TIME}u) {
    ${Array.from({ length: AT_A_TIME },
      (_, i) => `if (s + ${i}u < end) { u[${width - 1 + i}] = input(item, i32(params.first + s + ${i}u), at); }`).join("\n    ")}
    ${Array.from({ length: AT_A_TIME }, (_, i) => `if (s + ${i}u < end) {
      var z = start;
      ${loop(0, width, (j) => `z += taps[${j}] * u[${j} + ${i}u];`)}
      put(item * params.time + s + ${i}u, c, ${silu ? "z * sigmoids(z)" : "z"});
    }`).join("\n    ")}
    ${loop(0, width - 1, (j) => `u[${j}] = u[${j} + ${AT_A_TIME}u];`)}
  }
}`,
  });
});

/**
 * Small inputs of the gradient in one buffer, since it may bind no more: taps [K,C] (turned, so that lanes read them side by
 * side), bias [C] (zeros without one), state and dfinal [items,K-1,C] where there are any.
 */
export const convPack = variants(({ hasBias, hasState, hasFinal }: { hasBias: boolean; hasState: boolean; hasFinal: boolean }) =>
  program({
    name: "causalConvGradient.pack",
    reads: { weight: "f32", bias: hasBias ? "f32" : undefined, state: hasState ? "f32" : undefined, dfinal: hasFinal ? "f32" : undefined },
    writes: { small: "f32" },
    params: { size: "u32", width: "u32", channels: "u32", stateAt: "u32", finalAt: "u32" },
    workgroup: WORKGROUP,
    code: `
fn run(group: u32, lane: u32) {
  let at = group * WORKGROUP + lane;
  if (at >= params.size) { return; }
  let c = at % params.channels;
  let j = at / params.channels;
  var value = 0.0;
  if (j < params.width) { value = weight[c * params.width + j]; }
  ${hasBias ? "else if (j == params.width) { value = bias[c]; }" : ""}
  ${hasState ? "else if (at >= params.stateAt && at < params.finalAt) { value = state[at - params.stateAt]; }" : ""}
  ${hasFinal ? "else if (at >= params.finalAt) { value = dfinal[at - params.finalAt]; }" : ""}
  small[at] = value;
}`,
  }));

/** What the text of {@link convGradient} depends on. */
interface ConvGradientVariant {
  readonly width: number;
  readonly vector: boolean;
  readonly silu: boolean;
  readonly hasState: boolean;
  readonly hasFinal: boolean;
  readonly hasDstate: boolean;
  readonly has0: boolean;
  readonly has1: boolean;
  readonly has2: boolean;
}

/**
 * dx, dstate, and each group's sums for dweight and dbias in partials [items, blocks of ${SLICES * STEPS} time, K + 1, C]. `small` is
 * {@link convPack}'s. Lane: one unit, one walk of ${STEPS} steps. du_t is ready once dz_{t+K-1} is, so that a walk goes on
 * K - 1 steps into the next one's; `gRows` rows of the outputs' gradients are bound for that, from step `first` on.
 */
export const convGradient = variants(({ width, vector, silu, hasState, hasFinal, hasDstate, has0, has1, has2 }: ConvGradientVariant) => {
  const unit = vector ? "vec4f" : "f32";
  const present = [has0, has1, has2];
  const loop = (from: number, to: number, text: (j: string) => string) => each(width, from, to, text);
  return program({
    name: "causalConvGradient",
    reads: { small: unit, x: unit, ...outputsOf(present, unit) },
    writes: { dx: unit, dstate: hasDstate ? unit : undefined, partials: unit },
    params: { ...SIZES, total: "u32", gRows: "u32", tiles: "u32", blocks: "u32", stateAt: "u32", finalAt: "u32" },
    workgroup: ACROSS * SLICES,
    code: `${common(width, vector, hasState ? "small" : undefined)}
fn dout(row: u32, c: u32) -> Unit {
  ${perOutput(present, (output, at) => `return ${output}[${at}];`)}
  return Unit();
}
var<workgroup> slots: array<Unit, ${ACROSS * SLICES}>;
fn run(group: u32, lane: u32) {
  let c = group % params.tiles * ${ACROSS}u + lane % ${ACROSS}u;
  let at = params.offset + c;
  let block = group / params.tiles; // of [items, blocks]
  let item = block / params.blocks;
  let begin = params.first + (block % params.blocks * ${SLICES}u + lane / ${ACROSS}u) * ${STEPS}u;
  let end = min(begin + ${STEPS}u, params.first + params.time);
  var sums: array<Unit, ${width + 1}>; // dweight by tap, then dbias
  if (c < params.covered && begin < end) {
    var taps: array<Unit, ${width}>;
    ${loop(0, width, (j) => `taps[${j}] = small[${j} * params.channels + at];`)}
    let start = small[K * params.channels + at];
    // The last K rows of u and of dz.
    var u: array<Unit, ${width}>;
    var dz: array<Unit, ${width}>;
    ${loop(0, width - 1, (j) => `u[${j}] = input(item, i32(begin + ${j}) - i32(K - 1u), at);`)}
    for (var t = begin; t < end + K - 1u; t++) {
      var d = Unit();
      if (t < params.total) {
        u[${width - 1}] = input(item, i32(t), at);
        d = dout(item * params.gRows + t - params.first, c);
        ${silu ? `var z = start;
        ${loop(0, width, (j) => `z += taps[${j}] * u[${j}];`)}
        let s = sigmoids(z);
        d *= s * (1.0 + z * (1.0 - s));` : ""}
      }
      dz[${width - 1}] = d;
      if (t < end) {
        ${loop(0, width, (j) => `sums[${j}] += d * u[${j}];`)}
        sums[${width}] += d;
      }
      var du = Unit();
      ${loop(0, width, (j) => `du += taps[${j}] * dz[K - 1u - ${j}];`)}
      ${hasFinal ? `if (t >= params.total) { du += small[params.finalAt + (item * (K - 1u) + t - params.total) * params.channels + at]; }`
        : ""}
      if (t >= begin + K - 1u) {
        dx[(item * params.time + t - (K - 1u) - params.first) * params.channels + at] = du;
      }${hasDstate ? ` else if (begin == 0u) {
        dstate[(item * (K - 1u) + t) * params.channels + at] = du;
      }` : ""}
      ${loop(0, width - 1, (j) => `u[${j}] = u[${j} + 1u]; dz[${j}] = dz[${j} + 1u];`)}
    }
  }
  ${loop(0, width + 1, (j) => `slots[lane] = sums[${j}];
  workgroupBarrier();
  if (lane < ${ACROSS}u && c < params.covered) {
    var joined = slots[lane];
    for (var i = lane + ${ACROSS}u; i < ${ACROSS * SLICES}u; i += ${ACROSS}u) { joined += slots[i]; }
    partials[(block * (K + 1u) + ${j}) * params.channels + at] = joined;
  }
  workgroupBarrier();
  `)}
}`,
  });
});
