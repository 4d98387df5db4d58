import type { lerpKernels } from "../../ops/lerp";
import type { KernelsOf } from "../../signature";
import { Tensor } from "../../tensor";
import { type Launcher, part, rowParts } from "./launcher";
import { sumPartials } from "./partials";
import { program, variants } from "./program";

const WORKGROUP = 256;

/** Mixes of one launch: so many that no more than eight buffers are bound. */
const mostMixes = (extra: boolean) => (extra ? 2 : 3);

const forward = variants(({ mixes, extra }: { mixes: number; extra: boolean }) => {
  const bound = (i: number) => (i < mixes ? "f32" : undefined);
  return program({
    name: "lerp",
    reads: {
      a: "f32", b: "f32", share0: bound(0), share1: bound(1), share2: bound(2),
      extra0: extra ? bound(0) : undefined, extra1: extra ? bound(1) : undefined,
    },
    writes: { y0: bound(0), y1: bound(1), y2: bound(2) },
    params: { size: "u32", width: "u32" },
    workgroup: WORKGROUP,
    code: `
fn run(group: u32, lane: u32) {
  let at = group * WORKGROUP + lane;
  if (at >= params.size) { return; }
  let channel = at % params.width;
  let x = a[at];
  let back = b[at] - x;
${Array.from({ length: mixes }, (_, i) => `  y${i}[at] = x + back * (share${i}[channel]${extra ? ` + extra${i}[at]` : ""});`).join("\n")}
}`,
  });
});

/** One mix's part of the gradients of a and b, and dy (b - a), whose sum over rows is that of its share. */
const gradient = variants(({ extra, given }: { extra: boolean; given: boolean }) => program({
  name: "lerpGradient",
  reads: { a: "f32", b: "f32", share: "f32", extra: extra ? "f32" : undefined, dy: given ? "f32" : undefined },
  writes: { da: "f32", db: "f32", slope: "f32" },
  params: { size: "u32", width: "u32", onto: "u32" },
  workgroup: WORKGROUP,
  code: `
fn run(group: u32, lane: u32) {
  let at = group * WORKGROUP + lane;
  if (at >= params.size) { return; }
  let s = share[at % params.width]${extra ? " + extra[at]" : ""};
  let g = ${given ? "dy[at]" : "0.0"};
  let into_a = g * (1.0 - s);
  let into_b = g * s;
  slope[at] = g * (b[at] - a[at]);
  da[at] = select(into_a, da[at] + into_a, params.onto == 1u);
  db[at] = select(into_b, db[at] + into_b, params.onto == 1u);
}`,
}));

export const lerp = (gpu: Launcher): KernelsOf<typeof lerpKernels> => ({
  lerp({ a, b, shares, extra, outputs, rows, width, count }) {
    const most = mostMixes(extra !== null);
    for (const { start, count: here } of rowParts(rows, [width], gpu.maxBinding)) {
      const [from, size] = [start * width, here * width];
      const of = (t: Tensor | undefined) => t && part(t, from, size);
      for (let first = 0; first < count; first += most) {
        const mixes = Math.min(most, count - first);
        const [share0, share1, share2] = shares.slice(first, first + mixes);
        const [y0, y1, y2] = outputs.slice(first, first + mixes).map(of);
        const [extra0, extra1] = [0, 1].map((i) => extra && i < mixes ? part(extra, (first + i) * rows * width + from, size) : null);
        gpu.run(forward({ mixes, extra: extra !== null }),
          { a: of(a), b: of(b), share0, share1, share2, extra0, extra1, y0, y1, y2 }, { size, width }, Math.ceil(size / WORKGROUP));
      }
    }
  },

  lerpGradient({ a, b, shares, extra, douts, da, db, dshares, dextra, rows, width }) {
    const slopes = dextra ?? Tensor.empty(a.device, [rows, width]);
    shares.forEach((share, j) => {
      using slope = slopes.window([rows, width], dextra ? j * rows * width : 0);
      const dy = douts[j] ?? null;
      for (const { start, count: here } of rowParts(rows, [width], gpu.maxBinding)) {
        const [from, size] = [start * width, here * width];
        const of = (t: Tensor) => part(t, from, size);
        gpu.run(gradient({ extra: extra !== null, given: dy !== null }),
          { a: of(a), b: of(b), share, extra: extra && part(extra, j * rows * width + from, size), dy: dy && of(dy), da: of(da), db: of(db),
            slope: of(slope) },
          { size, width, onto: Number(j > 0) }, Math.ceil(size / WORKGROUP));
      }
      sumPartials(gpu, slope, { first: dshares[j]! });
    });
    if (!dextra) slopes.dispose();
  },
});
