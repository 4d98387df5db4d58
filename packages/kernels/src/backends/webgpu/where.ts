import type { whereKernels } from "../../ops/where";
import type { KernelsOf } from "../../signature";
import type { Tensor } from "../../tensor";
import { type Launcher, part, rowParts } from "./launcher";
import { program, variants } from "./program";

const WORKGROUP = 256;

/** By their bits, which no device changes then. */
const whereShader = variants(({ hasA, hasB }: { hasA: boolean; hasB: boolean }) =>
  program({
    name: "where",
    reads: { condition: "u32", a: hasA ? "u32" : undefined, b: hasB ? "u32" : undefined },
    writes: { y: "u32" },
    params: { size: "u32" },
    workgroup: WORKGROUP,
    code: `
fn run(group: u32, lane: u32) {
  let at = group * WORKGROUP + lane;
  if (at >= params.size) { return; }
  // Both zeros are 0.
  if ((condition[at] & 0x7fffffffu) != 0u) { y[at] = ${hasA ? "a[at]" : "0u"}; } else { y[at] = ${hasB ? "b[at]" : "0u"}; }
}`,
  }));

export const where = (gpu: Launcher): KernelsOf<typeof whereKernels> => ({
  where({ condition, a, b, y }) {
    for (const { start, count: size } of rowParts(y.size, [1], gpu.maxBinding)) {
      const of = (t: Tensor | null) => t && part(t, start, size);
      gpu.run(whereShader({ hasA: a !== null, hasB: b !== null }), { condition: of(condition), a: of(a), b: of(b), y: of(y) }, { size },
        Math.ceil(size / WORKGROUP));
    }
  },
});
