import { gatherKernels } from "../../ops/gather";
import type { KernelsOf } from "../../signature";
import { type Launcher, part, rowParts } from "./launcher";
import { declaredProgram } from "./program";

const WORKGROUP = 64;

/** An invocation for each element that is picked. */
const gatherForward = declaredProgram("gather", gatherKernels.gather, {
  more: { total: "u32" },
  workgroup: WORKGROUP,
  code: `
fn run(group: u32, lane: u32) {
  let at = group * WORKGROUP + lane;
  if (at >= params.total) { return; }
  let outer = at / (params.count * params.inner);
  let index = min(indices[at], i32(params.size) - 1);
  var value = 0.0;
  if (index >= 0) { value = x[(outer * params.size + u32(index)) * params.inner + at % params.inner]; }
  y[at] = value;
}`,
});

/** An invocation for each column, which nobody else writes: sums have one order. */
const gatherBackward = declaredProgram("gatherGradient", gatherKernels.gatherGradient, {
  more: { total: "u32" },
  workgroup: WORKGROUP,
  code: `
fn run(group: u32, lane: u32) {
  let column = group * WORKGROUP + lane;
  if (column >= params.total) { return; }
  let outer = column / params.inner;
  let target_at = outer * params.size * params.inner + column % params.inner;
  let source = outer * params.count * params.inner + column % params.inner;
  for (var s = 0u; s < params.size; s++) { dx[target_at + s * params.inner] = 0.0; }
  for (var c = 0u; c < params.count; c++) {
    let index = min(indices[source + c * params.inner], i32(params.size) - 1);
    if (index >= 0) { dx[target_at + u32(index) * params.inner] += dy[source + c * params.inner]; }
  }
}`,
});

export const gather = (gpu: Launcher): KernelsOf<typeof gatherKernels> => ({
  gather({ x, indices, y, outer, size, count, inner }) {
    for (const rows of rowParts(outer, [size * inner, count * inner], gpu.maxBinding)) {
      const of = (t: typeof x, width: number) => part(t, rows.start * width, rows.count * width);
      const total = rows.count * count * inner;
      const buffers = { x: of(x, size * inner), indices: of(indices, count * inner), y: of(y, count * inner) };
      gpu.run(gatherForward, buffers, { total, outer: rows.count, size, count, inner }, Math.ceil(total / WORKGROUP));
    }
  },
  gatherGradient({ indices, dy, dx, outer, size, count, inner }) {
    for (const rows of rowParts(outer, [size * inner, count * inner], gpu.maxBinding)) {
      const of = (t: typeof dx, width: number) => part(t, rows.start * width, rows.count * width);
      const total = rows.count * inner;
      const buffers = { indices: of(indices, count * inner), dy: of(dy, count * inner), dx: of(dx, size * inner) };
      gpu.run(gatherBackward, buffers, { total, outer: rows.count, size, count, inner }, Math.ceil(total / WORKGROUP));
    }
  },
});
