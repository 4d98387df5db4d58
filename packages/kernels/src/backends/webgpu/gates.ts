import type { gatesKernels } from "../../ops/gates";
import type { KernelsOf } from "../../signature";
import { Tensor } from "../../tensor";
import { type Launcher, part, rowParts } from "./launcher";
import { blockRows, sumPartials } from "./partials";
import { program, variants } from "./program";
import { floatBits } from "./softFloat";
import { MATH } from "./wgsl";

const WORKGROUP = 256;

/** Elements that an invocation of the forward kernel handles, WORKGROUP apart. */
const EACH = 4;

/** As bits, of which -0 would be the largest. */
const limitsOf = (minDt: number, maxDt: number) => ({ least: floatBits(minDt + 0), most: floatBits(maxDt) });

const LIMITS = { least: "u32", most: "u32" } as const;

/**
 * MATH, and dt from softplus(raw + bias), which is never negative, so that its bits stand in the same order and infinity is a
 * number among others: a shader may not rely on it as a float. NaN stays NaN, and is not bound.
 */
const CLAMPED = `${MATH}
fn clamped(free: f32) -> f32 {
  return select(bitcast<f32>(clamp(bitcast<u32>(free), params.least, params.most)), free, is_nan(free));
}
fn is_bound(free: f32) -> bool {
  let bits = bitcast<u32>(free);
  return (bits < params.least || bits > params.most) && !is_nan(free);
}`;

const forward = program({
  name: "ssmGates",
  reads: { raw: "f32", bias: "f32", aLog: "f32" },
  writes: { dt: "f32", a: "f32" },
  params: { size: "u32", heads: "u32", ...LIMITS },
  workgroup: WORKGROUP,
  code: `${CLAMPED}
// raw, dt, a [size / heads, heads], flat.
fn run(group: u32, lane: u32) {
  for (var i = 0u; i < ${EACH}u; i++) {
    let at = (group * ${EACH}u + i) * WORKGROUP + lane;
    if (at < params.size) {
      let head = at % params.heads;
      let step = clamped(softplus(raw[at] + bias[head]));
      dt[at] = step;
      a[at] = -fine_exp(aLog[head]) * step;
    }
  }
}`,
});

const gradient = variants(({ ddt, da }: { ddt: boolean; da: boolean }) =>
  program({
    name: "ssmGatesGradient",
    reads: { raw: "f32", bias: "f32", aLog: "f32", ddt: ddt ? "f32" : undefined, da: da ? "f32" : undefined },
    writes: { draw: "f32", partials: "f32" },
    params: { rows: "u32", heads: "u32", tiles: "u32", across: "u32", slices: "u32", block: "u32", ...LIMITS },
    workgroup: WORKGROUP,
    code: `${CLAMPED}
// Group: a block of rows times a tile of \`across\` heads. Lane: one head, every \`slices\`th row, so that lanes next to
// each other read numbers next to each other. partials [blocks, 2, heads]: sums for dbias and daLog.
var<workgroup> slots: array<vec2f, WORKGROUP>;
fn run(group: u32, lane: u32) {
  let slice = lane / params.across;
  let head = group % params.tiles * params.across + lane % params.across;
  let block = group / params.tiles;
  let end = min((block + 1u) * params.block, params.rows);
  var sums = vec2f();
  if (slice < params.slices && head < params.heads) {
    let shift = bias[head];
    let decay = fine_exp(aLog[head]);
    for (var row = block * params.block + slice; row < end; row += params.slices) {
      let at = row * params.heads + head;
      let z = raw[at] + shift;
      let free = softplus(z);
      let slope = select(sigmoid(z), 0.0, is_bound(free));
      let into_a = ${da ? "decay * da[at]" : "0.0"};
      let d = (${ddt ? "ddt[at]" : "0.0"} - into_a) * slope;
      draw[at] = d;
      sums += vec2f(d, -into_a * clamped(free));
    }
  }
  slots[lane] = sums;
  workgroupBarrier();
  if (slice > 0u || head >= params.heads) { return; }
  for (var i = 1u; i < params.slices; i++) { sums += slots[i * params.across + lane]; }
  partials[block * 2u * params.heads + head] = sums.x;
  partials[(block * 2u + 1u) * params.heads + head] = sums.y;
}`,
  }));

export const gates = (gpu: Launcher): KernelsOf<typeof gatesKernels> => ({
  ssmGates({ raw, bias, aLog, dt, a, rows, heads, minDt, maxDt }) {
    for (const { start, count } of rowParts(rows, [heads], gpu.maxBinding)) {
      const [from, size] = [start * heads, count * heads];
      const buffers = { raw: part(raw, from, size), bias, aLog, dt: part(dt, from, size), a: part(a, from, size) };
      gpu.run(forward, buffers, { size, heads, ...limitsOf(minDt, maxDt) }, Math.ceil(size / (EACH * WORKGROUP)));
    }
  },

  ssmGatesGradient({ raw, bias, aLog, ddt, da, draw, dbias, daLog, rows, heads, minDt, maxDt }) {
    const across = Math.max(1, Math.min(heads, WORKGROUP));
    const [tiles, slices] = [Math.ceil(heads / across), Math.floor(WORKGROUP / across)];
    const block = blockRows(rows, 4 * slices);
    const ranges = rowParts(rows, [heads], gpu.maxBinding).map((range) => ({ ...range, blocks: Math.ceil(range.count / block) }));
    const blocks = ranges.reduce((sum, range) => sum + range.blocks, 0);
    using partials = Tensor.empty(raw.device, [blocks, 2, heads]);
    let done = 0;
    for (const { start, count, blocks: here } of ranges) {
      const of = (t: Tensor) => part(t, start * heads, count * heads);
      gpu.run(
        gradient({ ddt: ddt !== null, da: da !== null }),
        { raw: of(raw), bias, aLog, ddt: ddt && of(ddt), da: da && of(da), draw: of(draw),
          partials: part(partials, done * 2 * heads, here * 2 * heads) },
        { rows: count, heads, tiles, across, slices, block, ...limitsOf(minDt, maxDt) },
        here * tiles,
      );
      done += here;
    }
    sumPartials(gpu, partials, { first: dbias, second: daLog });
  },
});
