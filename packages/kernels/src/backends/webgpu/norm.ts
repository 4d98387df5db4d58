import type { normKernels } from "../../ops/norm";
import type { KernelsOf } from "../../signature";
import { Tensor } from "../../tensor";
import { type Launcher, part, rowParts } from "./launcher";
import { normForward, normGradient, type NormShape } from "./normShaders";
import { blockRows, sumPartials } from "./partials";

/** Rows that a group of the gradient takes at least: its partial sum for the weight is then little beside them. */
export const LEAST_BLOCK = 8;

/** Units of a row that an invocation keeps in registers; longer rows are read twice. */
const MOST_KEPT = 8;

/** How a group goes over one row of `size` numbers: about four units to a lane. */
export function shapeOf(gpu: Launcher, size: number): NormShape & { readonly units: number } {
  const vector = size % 4 === 0;
  const units = vector ? size / 4 : size;
  const lanes = Math.min(256, Math.max(32, 2 ** Math.ceil(Math.log2(units / 4))));
  const each = Math.ceil(units / lanes);
  return { vector, lanes, kept: each <= MOST_KEPT ? each : 0, subgroups: gpu.subgroups, units };
}

interface Norm {
  readonly rows: number;
  readonly width: number;
  readonly groups: number;
  readonly x: Tensor;
  readonly weight: Tensor;
  readonly rstd: Tensor;
}

export const norm = (gpu: Launcher): KernelsOf<typeof normKernels> => {
  /** Row ranges with a way to take a tensor's part of them. */
  const rangesOf = ({ rows, width, groups }: Omit<Norm, "rstd">) =>
    rowParts(rows, [width, groups], gpu.maxBinding).map(({ start, count }) => ({
      count,
      of: (t: Tensor | null) => t && part(t, start * width, count * width),
      rstdOf: (t: Tensor) => part(t, start * groups, count * groups),
    }));

  const forward = (args: Omit<Norm,
    "rstd"> & { gate: Tensor | null; residual: Tensor | null; y: Tensor; sum: Tensor | null; eps: number }) => {
    const { x, gate, residual, weight, y, sum, rows, width, groups, eps } = args;
    const rstd = Tensor.empty(x.device, [rows, groups]);
    const { units, ...shape } = shapeOf(gpu, width / groups);
    const shader = normForward({ gated: gate !== null, residual: residual !== null, ...shape });
    for (const { count, of, rstdOf } of rangesOf(args)) {
      const buffers = { x: of(x), gate: of(gate), residual: of(residual), weight, y: of(y), sum: of(sum), rstd: rstdOf(rstd) };
      gpu.run(shader, buffers, { units, norms: groups, size: width / groups, eps }, count * groups);
    }
    return { rstd };
  };

  const gradient = (args: Norm & {
    gate: Tensor | null; dy: Tensor; dsum: Tensor | null; dx: Tensor; also: Tensor | null; dweight: Tensor;
  }): void => {
    const { x, gate, weight, rstd, dy, dsum, dx, also, dweight, rows, width, groups } = args;
    const { units, ...shape } = shapeOf(gpu, width / groups);
    const shader = normGradient({ gated: gate !== null, hasDsum: dsum !== null, hasAlso: also !== null, ...shape });
    const block = blockRows(rows, LEAST_BLOCK);
    const ranges = rangesOf(args).map((range) => ({ ...range, blocks: Math.ceil(range.count / block) }));
    const blocks = ranges.reduce((sum, range) => sum + range.blocks, 0);
    using partials = Tensor.empty(x.device, [blocks, width]);
    let done = 0;
    for (const { count, of, rstdOf, blocks: here } of ranges) {
      const buffers = {
        x: of(x), gate: of(gate), weight, rstd: rstdOf(rstd), dy: of(dy), dsum: of(dsum), dx: of(dx), also: of(also),
        partials: part(partials, done * width, here * width),
      };
      gpu.run(shader, buffers, { rows: count, block, units, norms: groups, size: width / groups }, here * groups);
      done += here;
    }
    sumPartials(gpu, partials, { first: dweight });
  };

  return {
    rmsNorm: ({ x, residual, weight, y, sum, rows, width, eps }) =>
      forward({ x, gate: null, residual, weight, y, sum, rows, width, groups: 1, eps }),
    rmsNormGradient: ({ x, weight, saved: { rstd }, dy, dsum, dx, dresidual, dweight, rows, width }) =>
      gradient({ x, gate: null, weight, rstd, dy, dsum, dx, also: dresidual, dweight, rows, width, groups: 1 }),
    gatedRmsNorm: ({ y, gate, weight, out, rows, width, groups, eps }) =>
      forward({ x: y, gate, residual: null, weight, y: out, sum: null, rows, width, groups, eps }),
    gatedRmsNormGradient: ({ y, gate, weight, saved: { rstd }, dout, dy, dgate, dweight, rows, width, groups }) =>
      gradient({ x: y, gate, weight, rstd, dy: dout, dsum: null, dx: dy, also: dgate, dweight, rows, width, groups }),
  };
};
