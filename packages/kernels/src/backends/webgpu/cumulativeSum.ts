import type { cumulativeSumKernels } from "../../ops/cumulativeSum";
import type { KernelsOf } from "../../signature";
import { type Launcher, part, rowParts } from "./launcher";
import { program, variants } from "./program";

const WORKGROUP = 64;

/**
 * An invocation walks one column. What a sum loses by rounding is carried along (Neumaier 1974) and added where it is stored. A modulo
 * comes in three pieces, of which whole multiples of the first two are exact for a few thousand turns in one step.
 */
const cumulativeSumShader = variants(({ started, reduced }: { started: boolean; reduced: boolean }) => program({
  name: "cumulativeSum",
  reads: { x: "f32", start: started ? "f32" : undefined },
  writes: { y: "f32" },
  params: { columns: "u32", length: "u32", inner: "u32", reverse: "u32", modulo: "f32", high: "f32", middle: "f32", low: "f32" },
  workgroup: WORKGROUP,
  code: `
var<private> sum: f32;
var<private> lost: f32;
fn include(value: f32) {
  let next = sum + value;
  let rest = select((value - next) + sum, (sum - next) + value, abs(sum) >= abs(value));
  sum = next;
  // A sum that is not finite lost nothing that could be measured.
  if (abs(next) <= 3.4028234e38) { lost += rest; }
}
fn run(group: u32, lane: u32) {
  let column = group * WORKGROUP + lane;
  if (column >= params.columns) { return; }
  let first = column / params.inner * params.length * params.inner + column % params.inner;
  sum = ${started ? "start[column]" : "0.0"};
  lost = 0.0;
  for (var step = 0u; step < params.length; step++) {
    let at = first + select(step, params.length - 1u - step, params.reverse != 0u) * params.inner;
    include(x[at]);${reduced ? `
    let turns = floor((sum + lost) / params.modulo);
    if (turns != 0.0) {
      include(-turns * params.high);
      include(-turns * params.middle);
      include(-turns * params.low);
    }` : ""}
    y[at] = sum + lost;
  }
}`,
}));

/** The number without its last twelve binary digits as a float has them. */
function shortened(x: number): number {
  const unit = 2 ** (Math.floor(Math.log2(Math.abs(x) || 1)) - 11);
  return Math.round(x / unit) * unit;
}

export const cumulativeSum = (gpu: Launcher): KernelsOf<typeof cumulativeSumKernels> => ({
  cumulativeSum({ x, start: from, y, outer, length, inner, reverse, modulo }) {
    const high = shortened(modulo);
    const middle = shortened(modulo - high);
    for (const { start, count } of rowParts(outer, [length * inner], gpu.maxBinding)) {
      const of = (t: typeof x) => part(t, start * length * inner, count * length * inner);
      const columns = count * inner;
      gpu.run(cumulativeSumShader({ started: from !== null, reduced: modulo > 0 }),
        { x: of(x), start: from && part(from, start * inner, columns), y: of(y) },
        { columns, length, inner, reverse: Number(reverse), modulo, high, middle, low: modulo - high - middle },
        Math.ceil(columns / WORKGROUP));
    }
  },
});
