import { ROPE_BLOCK, type ropeKernels } from "../../ops/rope";
import type { KernelsOf } from "../../signature";
import { type Launcher, part, rowParts } from "./launcher";
import { program } from "./program";

const WORKGROUP = 256;

/** Invocations: a pair (i, i + D/2) of a head of a step each, neighbours along i. */
const rotation = program({
  name: "rope",
  reads: { x: "f32", table: "f32" },
  writes: { out: "f32" },
  params: { first: "u32", count: "u32", time: "u32", heads: "u32", headSize: "u32", fineRows: "u32", sign: "f32" },
  workgroup: WORKGROUP,
  code: `
fn run(group: u32, lane: u32) {
  let number = group * WORKGROUP + lane;
  if (number >= params.count) { return; }
  let half = params.headSize / 2u;
  let i = number % half;
  let t = (params.first + number / half / params.heads) % params.time;
  let fine = t % ${ROPE_BLOCK}u * params.headSize + i;
  let coarse = (params.fineRows + t / ${ROPE_BLOCK}u) * params.headSize + i;
  let one = vec2f(table[fine], table[fine + half]);
  let other = vec2f(table[coarse], table[coarse + half]);
  let cosine = one.x * other.x - one.y * other.y;
  let sine = (one.y * other.x + one.x * other.y) * params.sign;
  let at = number / half * params.headSize + i;
  let a = x[at];
  let b = x[at + half];
  out[at] = a * cosine - b * sine;
  out[at + half] = b * cosine + a * sine;
}`,
});

export const rope = (gpu: Launcher): KernelsOf<typeof ropeKernels> => ({
  rope({ x, table, out, batch, time, heads, headSize, back }) {
    const width = heads * headSize;
    for (const { start, count: rows } of rowParts(batch * time, [width], gpu.maxBinding)) {
      const count = (rows * width) / 2;
      gpu.run(
        rotation,
        { x: part(x, start * width, rows * width), table, out: part(out, start * width, rows * width) },
        { first: start % time, count, time, heads, headSize, fineRows: Math.min(time, ROPE_BLOCK), sign: back ? -1 : 1 },
        Math.ceil(count / WORKGROUP),
      );
    }
  },
});
