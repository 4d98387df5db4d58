import type { memoryKernels } from "../../ops/memory";
import type { KernelsOf } from "../../signature";
import { type Launcher, part, rowParts } from "./launcher";
import { program, variants } from "./program";

const WORKGROUP = 256;

/** Elements that an invocation of a flat kernel handles, WORKGROUP apart. */
const EACH = 4;

const fill = variants((type: "f32" | "i32") =>
  program({
    name: "fill",
    reads: {},
    writes: { out: type },
    params: { size: "u32", value: type },
    workgroup: WORKGROUP,
    code: `
fn run(group: u32, lane: u32) {
  for (var i = 0u; i < ${EACH}u; i++) {
    let at = (group * ${EACH}u + i) * WORKGROUP + lane;
    if (at < params.size) { out[at] = params.value; }
  }
}`,
  }));

const accumulate = variants((type: "f32" | "i32") =>
  program({
    name: "accumulate",
    reads: { x: type },
    writes: { out: type },
    params: { size: "u32", scale: type },
    workgroup: WORKGROUP,
    code: `
fn run(group: u32, lane: u32) {
  for (var i = 0u; i < ${EACH}u; i++) {
    let at = (group * ${EACH}u + i) * WORKGROUP + lane;
    if (at < params.size) { out[at] += params.scale * x[at]; }
  }
}`,
  }));

const typeOf = (dtype: string) => (dtype === "i32" ? "i32" : "f32");

export const memory = (gpu: Launcher): KernelsOf<typeof memoryKernels> => ({
  fill({ out, value }) {
    for (const { start, count } of rowParts(out.size, [1], gpu.maxBinding)) {
      gpu.run(fill(typeOf(out.dtype)), { out: part(out, start, count) }, { size: count, value }, Math.ceil(count / (EACH * WORKGROUP)));
    }
  },
  accumulate({ out, x, scale }) {
    for (const { start, count } of rowParts(out.size, [1], gpu.maxBinding)) {
      const buffers = { x: part(x, start, count), out: part(out, start, count) };
      gpu.run(accumulate(typeOf(out.dtype)), buffers, { size: count, scale }, Math.ceil(count / (EACH * WORKGROUP)));
    }
  },
});
