/**
 * Reading many tensors at once, for their norm and for what is not finite in them: one pass over up to seven tensors a
 * dispatch, which leaves a few numbers per group, then one group that adds those up. The order of all sums is fixed by the
 * sizes, and so are the bits.
 *
 * Squares of float32 numbers leave float32's range long before their root does, so numbers are squared in three classes:
 * small ones scaled up, large ones scaled down (Blue, "A portable Fortran program to find the Euclidean norm of a vector",
 * ACM TOMS 4, 1978). Only the largest class that occurs, and its neighbour, count. Infinite numbers and NaN are known by
 * their bits, and left out of all float arithmetic: WGSL may assume that there are none.
 */
import { Tensor } from "../../tensor";
import { type Launcher, type Part, part, rowParts } from "./launcher";
import { program, variants } from "./program";
import { SOFT_FLOAT, softLiteral } from "./softFloat";

const WORKGROUP = 256;
/** Numbers that an invocation reads, WORKGROUP apart. */
const EACH = 32;
/** All but one of WebGPU's eight storage buffers. */
const MOST_TENSORS = 7;
/**
 * Numbers below 2⁻⁴⁷ and above 2⁴⁷ are squared after scaling: no sum of 2³² squares overflows, and none is denormal but of denormal
 * numbers.
 */
const [SMALL, LARGE] = [2 ** -47, 2 ** 47];
const [SCALE_UP, SCALE_DOWN] = [2 ** 94, 2 ** -81];
/** Words of a group's result: the sums of the three classes, then how many numbers are infinite and NaN. */
const WORDS = 5;

/** Of one invocation, then of the whole group in its first one. */
const TALLY = `
var<private> sums = vec3f(0.0);   // squares of small, middling and large numbers
var<private> counts = vec2u(0u);  // infinite, NaN
var<workgroup> group_sums: array<vec3f, WORKGROUP>;
var<workgroup> group_counts: array<vec2u, WORKGROUP>;

// a + b, at most 2^31 - 1 like both.
fn saturated(a: vec2u, b: vec2u) -> vec2u { return min(a + b, vec2u(0x7fffffffu)); }

fn gather(lane: u32) {
  group_sums[lane] = sums;
  group_counts[lane] = counts;
  for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) {
      group_sums[lane] += group_sums[lane + half];
      group_counts[lane] = saturated(group_counts[lane], group_counts[lane + half]);
    }
  }
}`;

/**
 * Group g of `count` tensors reads WORKGROUP · EACH numbers of tensor i, where end(i - 1) <= g < end(i), and writes partials[first
 * + g].
 */
const survey = variants((count: number) => {
  const each = <T>(body: (i: number) => T): T[] => Array.from({ length: count }, (_, i) => body(i));
  return program({
    name: "survey",
    reads: Object.fromEntries(each((i) => [`x${i}`, "u32" as const])),
    writes: { partials: "u32" },
    params: { first: "u32", ...Object.fromEntries(each((i) => [[`size${i}`, "u32" as const], [`end${i}`, "u32" as const]]).flat()) },
    workgroup: WORKGROUP,
    code: `${TALLY}
fn take(bits: u32) {
  let size = bits & 0x7fffffffu;
  let finite = size < 0x7f800000u;
  counts += select(vec2u(u32(size == 0x7f800000u), u32(size > 0x7f800000u)), vec2u(0u), finite);
  let x = bitcast<f32>(select(0u, size, finite));
  let small = x < ${SMALL};
  let large = x > ${LARGE};
  // Devices may take a subnormal number for 0, so it is made of its bits, its whole multiple of 2⁻¹⁴⁹.
  let scaled = select(x * select(select(1.0, ${SCALE_DOWN}, large), ${SCALE_UP}, small), f32(size) * ${SCALE_UP
    * 2 ** -149}, size < 0x00800000u);
  sums += select(vec3f(0.0), vec3f(scaled * scaled), vec3<bool>(small, !small && !large, large));
}
${each((i) => `
fn read${i}(block: u32, lane: u32) {
  for (var j = 0u; j < ${EACH}u; j++) {
    let at = (block * ${EACH}u + j) * WORKGROUP + lane;
    if (at < params.size${i}) { take(x${i}[at]); }
  }
}`).join("")}

fn run(group: u32, lane: u32) {
  ${each((i) => `if (group < params.end${i}) { read${i}(group${i > 0 ? ` - params.end${i - 1}` : ""}, lane); }`).join("\n  else ")}
  gather(lane);
  if (lane != 0u) { return; }
  let at = (params.first + group) * ${WORDS}u;
  for (var i = 0u; i < 3u; i++) { partials[at + i] = bitcast<u32>(group_sums[0][i]); }
  partials[at + 3u] = group_counts[0].x;
  partials[at + 4u] = group_counts[0].y;
}`,
  });
});

const summary = (name: string, result: string) =>
  program({
    name,
    reads: { partials: "u32" },
    writes: { out: "u32" },
    params: { size: "u32" },
    workgroup: WORKGROUP,
    code: `${SOFT_FLOAT}${TALLY}
fn run(group: u32, lane: u32) {
  for (var i = lane; i < params.size; i += WORKGROUP) {
    let at = i * ${WORDS}u;
    sums += bitcast<vec3f>(vec3u(partials[at], partials[at + 1u], partials[at + 2u]));
    counts = saturated(counts, vec2u(partials[at + 3u], partials[at + 4u]));
  }
  gather(lane);
  if (lane == 0u) { out[0] = ${result}(group_sums[0], group_counts[0]); }
}
${RESULTS}`,
  });

const RESULTS = `
// The sum of one class and of the next smaller one, brought to its scale.
fn merged(sum: f32, smaller: f32, scale: u32) -> u32 {
  return soft_add(bitcast<u32>(sum), soft_mul(soft_mul(bitcast<u32>(smaller), scale), scale));
}

// The root of all squares. In integers, so that no scale is lost on the way and only the norm itself can overflow.
fn norm_of(sums: vec3f, counts: vec2u) -> u32 {
  if (counts.y > 0u) { return SOFT_NAN; }
  if (counts.x > 0u) { return SOFT_INFINITY; }
  if (sums.z > 0.0) { return soft_mul(soft_sqrt(merged(sums.z, sums.y, ${softLiteral(SCALE_DOWN)})), ${softLiteral(1 / SCALE_DOWN)}); }
  if (sums.y > 0.0) { return soft_sqrt(merged(sums.y, sums.x, ${softLiteral(1 / SCALE_UP)})); }
  return soft_mul(soft_sqrt(bitcast<u32>(sums.x)), ${softLiteral(1 / SCALE_UP)});
}

fn count_of(sums: vec3f, counts: vec2u) -> u32 { return min(counts.x + counts.y, 0x7fffffffu); }`;

const normSummary = summary("globalNorm", "norm_of");
const countSummary = summary("countNonFinite", "count_of");

/**
 * Writes the norm of all numbers of `tensors`, or how many are not finite, into `out` [1]. One dispatch per seven tensors, and one
 * more.
 */
export function surveyTensors(gpu: Launcher, what: "norm" | "count", tensors: readonly Tensor[], out: Tensor): void {
  const pieces = tensors.flatMap((t): Part[] => rowParts(t.size, [1], gpu.maxBinding).map(({ start, count }) => part(t, start, count)))
    .filter(({ length }) => length > 0);
  const groupsOf = ({ length }: Part): number => Math.ceil(length / (WORKGROUP * EACH));
  const total = pieces.reduce((sum, piece) => sum + groupsOf(piece), 0);
  const partials = Tensor.empty(out.device, [total * WORDS], "i32");
  let first = 0;
  for (let i = 0; i < pieces.length; i += MOST_TENSORS) {
    const bound = pieces.slice(i, i + MOST_TENSORS);
    const params: Record<string, number> = {};
    let end = 0;
    bound.forEach((piece, j) => {
      params[`size${j}`] = piece.length;
      params[`end${j}`] = end += groupsOf(piece);
    });
    const buffers = Object.fromEntries(bound.map((piece, j) => [`x${j}`, piece]));
    gpu.run(survey(bound.length), { ...buffers, partials }, { first, ...params }, end);
    first += end;
  }
  gpu.run(what === "norm" ? normSummary : countSummary, { partials, out }, { size: total }, 1);
  partials.dispose();
}
