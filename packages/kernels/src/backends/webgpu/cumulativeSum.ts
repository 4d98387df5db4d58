import { cumulativeSumKernels } from "../../ops/cumulativeSum";
import type { KernelsOf } from "../../signature";
import { type Launcher, part, rowParts } from "./launcher";
import { declaredProgram } from "./program";

const WORKGROUP = 64;

/**
 * An invocation walks one column. What a sum loses by rounding is carried along (Neumaier 1974) and added where it is stored.
 */
const cumulativeSumShader = declaredProgram("cumulativeSum", cumulativeSumKernels.cumulativeSum, {
  more: { columns: "u32" },
  workgroup: WORKGROUP,
  code: `
fn run(group: u32, lane: u32) {
  let column = group * WORKGROUP + lane;
  if (column >= params.columns) { return; }
  let start = column / params.inner * params.length * params.inner + column % params.inner;
  var sum = 0.0;
  var lost = 0.0;
  for (var step = 0u; step < params.length; step++) {
    let at = start + select(step, params.length - 1u - step, params.reverse != 0u) * params.inner;
    let value = x[at];
    let next = sum + value;
    let rest = select((value - next) + sum, (sum - next) + value, abs(sum) >= abs(value));
    sum = next;
    // A sum that is not finite lost nothing that could be measured.
    if (abs(next) <= 3.4028234e38) { lost += rest; }
    y[at] = sum + lost;
  }
}`,
});

export const cumulativeSum = (gpu: Launcher): KernelsOf<typeof cumulativeSumKernels> => ({
  cumulativeSum({ x, y, outer, length, inner, reverse }) {
    for (const { start, count } of rowParts(outer, [length * inner], gpu.maxBinding)) {
      const of = (t: typeof x) => part(t, start * length * inner, count * length * inner);
      const columns = count * inner;
      gpu.run(cumulativeSumShader, { x: of(x), y: of(y) }, { columns, outer: count, length, inner, reverse: Number(reverse) },
        Math.ceil(columns / WORKGROUP));
    }
  },
});
