import type { turnKernels } from "../../ops/turn";
import type { KernelsOf } from "../../signature";
import { type Launcher, part, rowParts } from "./launcher";
import { program, variants } from "./program";
import { TURN } from "./wgsl";

const WORKGROUP = 256;

const params = { count: "u32", ranks: "u32", groups_of_x: "u32", heads: "u32", size: "u32", angles: "u32" } as const;

/** Invocations: a pair of a head of a row each, which goes through the ranks. */
const pairOf = (halves: boolean) => `
  let number = group * WORKGROUP + lane;
  if (number >= params.count) { return; }
  let half = params.size / 2u;
  let i = number % half;
  let head = number / half % params.heads;
  let row = number / half / params.heads;
  let one = ${halves ? "i" : "2u * i"};
  let other = ${halves ? "i + half" : "2u * i + 1u"};
  let place = (row * params.heads + head) * params.angles + i;
  var turned = vec2f(1.0, 0.0);
  if (i < params.angles) { turned = turn_of(angle[place]); }`;

const forward = variants(({ halves, biased }: { halves: boolean; biased: boolean }) => program({
  name: "turn",
  reads: { x: "f32", bias: biased ? "f32" : undefined, angle: "f32" },
  writes: { y: "f32" },
  params,
  workgroup: WORKGROUP,
  code: `${TURN}
fn run(group: u32, lane: u32) {${pairOf(halves)}
  for (var r = 0u; r < params.ranks; r++) {
    let at = ((row * params.ranks + r) * params.groups_of_x + head * params.groups_of_x / params.heads) * params.size;
    let bias_at = (r * params.heads + head) * params.size;
    let a = x[at + one]${biased ? " + bias[bias_at + one]" : ""};
    let b = x[at + other]${biased ? " + bias[bias_at + other]" : ""};
    let to = ((row * params.ranks + r) * params.heads + head) * params.size;
    y[to + one] = a * turned.x - b * turned.y;
    y[to + other] = a * turned.y + b * turned.x;
  }
}`,
}));

const gradient = variants(({ halves }: { halves: boolean }) => program({
  name: "turnGradient",
  reads: { angle: "f32", y: "f32", dy: "f32" },
  writes: { back: "f32", dangle: "f32" },
  params,
  workgroup: WORKGROUP,
  code: `${TURN}
fn run(group: u32, lane: u32) {${pairOf(halves)}
  var sum = 0.0;
  for (var r = 0u; r < params.ranks; r++) {
    let at = ((row * params.ranks + r) * params.heads + head) * params.size;
    let da = dy[at + one];
    let db = dy[at + other];
    back[at + one] = da * turned.x + db * turned.y;
    back[at + other] = db * turned.x - da * turned.y;
    sum += db * y[at + one] - da * y[at + other];
  }
  if (i < params.angles) { dangle[place] = sum; }
}`,
}));

export const turn = (gpu: Launcher): KernelsOf<typeof turnKernels> => ({
  turn({ x, bias, angle, y, rows, ranks, groups, heads, size, angles, halves }) {
    const [given, made, turns] = [ranks * groups * size, ranks * heads * size, heads * angles];
    for (const { start, count } of rowParts(rows, [given, made, turns], gpu.maxBinding)) {
      const pairs = (count * heads * size) / 2;
      gpu.run(forward({ halves, biased: bias !== null }),
        { x: part(x, start * given, count * given), bias, angle: part(angle, start * turns, count * turns),
          y: part(y, start * made, count * made) },
        { count: pairs, ranks, groups_of_x: groups, heads, size, angles }, Math.ceil(pairs / WORKGROUP));
    }
  },
  turnGradient({ angle, y, dy, back, dangle, rows, ranks, groups, heads, size, angles, halves }) {
    const [made, turns] = [ranks * heads * size, heads * angles];
    for (const { start, count } of rowParts(rows, [made, turns], gpu.maxBinding)) {
      const pairs = (count * heads * size) / 2;
      const [whole, some] = [(t: typeof y) => part(t, start * made, count * made), (t: typeof y) => part(t, start * turns, count * turns)];
      gpu.run(gradient({ halves }), { angle: some(angle), y: whole(y), dy: whole(dy), back: whole(back), dangle: some(dangle) },
        { count: pairs, ranks, groups_of_x: groups, heads, size, angles }, Math.ceil(pairs / WORKGROUP));
    }
  },
});
