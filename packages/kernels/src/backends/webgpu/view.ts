import { collapse, type Layout } from "../../ops/layout";
import type { viewKernels } from "../../ops/copy";
import type { KernelsOf } from "../../signature";
import type { Launcher } from "./launcher";
import { type Box, boxes, mostElements, nest, type Operand, placeOf } from "./nest";
import { program, variants } from "./program";

const COPY = nest({ name: "copyStrided", element: "u32", reads: ["x"], result: () => "x" });

/** Side of the square that a group turns around. */
const TILE = 32;

/**
 * Transposes the two last axes of a box whose others are `rank - 2` batch axes: x walks on by one element along q, out
 * along p. A group reads a square of rows of x into its memory and writes it as rows of out, so that lanes next to each other
 * always have addresses next to each other; rows of 33 keep columns off each other's memory banks.
 */
const transpose = variants((rank: number) => {
  const axes = Array.from({ length: rank - 2 }, (_, i) => i);
  const at = (name: string) => [`params.${name}_base`, ...axes.map((i) => `i${i} * params.${name}_step${i}`)].join(" + ");
  const numbers = ["p", "q", "x_base", "x_step_p", "out_base", "out_step_q",
    ...axes.flatMap((i) => [`size${i}`, `x_step${i}`, `out_step${i}`])];
  return program({
    name: "copyStrided transposed",
    reads: { x: "u32" },
    writes: { out: "u32" },
    params: Object.fromEntries(numbers.map((name) => [name, "u32" as const])) as Record<string, "u32">,
    workgroup: 256,
    code: `
var<workgroup> tile: array<u32, ${TILE * (TILE + 1)}>;
fn run(group: u32, lane: u32) {
  let column = lane % ${TILE}u;
  let row = lane / ${TILE}u;
  var rest = group;
  let p0 = rest % ((params.p + ${TILE - 1}u) / ${TILE}u) * ${TILE}u; rest /= (params.p + ${TILE - 1}u) / ${TILE}u;
  let q0 = rest % ((params.q + ${TILE - 1}u) / ${TILE}u) * ${TILE}u; rest /= (params.q + ${TILE - 1}u) / ${TILE}u;
  ${axes.map((i) => `let i${i} = rest % params.size${i}; rest /= params.size${i};`).join("\n  ")}
  let source = ${at("x")};
  let target_at = ${at("out")};
  for (var i = row; i < ${TILE}u; i += ${256 / TILE}u) {
    let p = p0 + i;
    let q = q0 + column;
    if (p < params.p && q < params.q) { tile[i * ${TILE + 1}u + column] = x[source + p * params.x_step_p + q]; }
  }
  workgroupBarrier();
  for (var i = row; i < ${TILE}u; i += ${256 / TILE}u) {
    let p = p0 + column;
    let q = q0 + i;
    if (p < params.p && q < params.q) { out[target_at + q * params.out_step_q + p] = tile[column * ${TILE + 1}u + i]; }
  }
}`,
  });
});

/** The axis along which x walks on by one while out does so along the last, or undefined: then there is nothing to gain by tiles. */
function turnedAxis({ sizes, strides: [xs, outs] }: Layout): number | undefined {
  const last = sizes.length - 1;
  if (last < 1 || outs![last] !== 1 || xs![last]! < 8) return undefined;
  const axis = xs!.findIndex((step, i) => step === 1 && sizes[i]! >= 8);
  return axis >= 0 && sizes[last]! >= 8 ? axis : undefined;
}

function launchTransposed(gpu: Launcher, operands: readonly [Operand, Operand], { sizes, strides, starts, extents }: Box, q: number): void {
  const [xs, outs] = strides as [readonly number[], readonly number[]];
  const p = sizes.length - 1;
  const [x, out] = operands.map((operand, k) => placeOf(operand, starts[k]!, extents[k]!)) as [ReturnType<typeof placeOf>,
    ReturnType<typeof placeOf>];
  const numbers: Record<string,
    number> = { p: sizes[p]!, q: sizes[q]!, x_base: x.base, x_step_p: xs[p]!, out_base: out.base, out_step_q: outs[q]! };
  const batch = sizes.flatMap((_, axis) => (axis === p || axis === q ? [] : [axis]));
  batch.forEach((axis, i) => Object.assign(numbers,
    { [`size${i}`]: sizes[axis]!, [`x_step${i}`]: xs[axis]!, [`out_step${i}`]: outs[axis]! }));
  const groups = batch.reduce((product, axis) => product * sizes[axis]!, Math.ceil(sizes[p]! / TILE) * Math.ceil(sizes[q]! / TILE));
  gpu.run(transpose(sizes.length), { x: x.part, out: out.part }, numbers, groups);
}

export const view = (gpu: Launcher): KernelsOf<typeof viewKernels> => ({
  copyStrided({ x, out, xOffset, outOffset, layout }) {
    if (layout.sizes.includes(0)) return;
    const whole = collapse(layout);
    const [xs, outs] = whole.strides;
    if (whole.sizes.length === 1 && xs![0] === 1 && outs![0] === 1 && x.buffer !== out.buffer) {
      return gpu.copy(x, xOffset, out, outOffset, whole.sizes[0]!);
    }
    const operands = [{ tensor: x, start: xOffset }, { tensor: out, start: outOffset }] as const;
    for (const box of boxes(whole, mostElements(gpu))) {
      const q = turnedAxis(box);
      if (q !== undefined) launchTransposed(gpu, operands, box, q);
      else COPY(gpu, operands.map(({ tensor, start }, k) => ({ tensor, start: start + box.starts[k]! })), box);
    }
  },
});
