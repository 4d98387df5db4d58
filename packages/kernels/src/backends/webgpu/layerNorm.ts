import type { layerNormKernels } from "../../ops/layerNorm";
import type { KernelsOf } from "../../signature";
import { Tensor } from "../../tensor";
import { type Launcher, part, rowParts } from "./launcher";
import { layerNormForward, layerNormGradient } from "./layerNormShaders";
import { LEAST_BLOCK, shapeOf } from "./norm";
import { blockRows, sumPartials } from "./partials";

export const layerNorm = (gpu: Launcher): KernelsOf<typeof layerNormKernels> => ({
  layerNorm({ x, weight, bias, y, rows, width, eps }) {
    const [mean, rstd] = [Tensor.empty(x.device, [rows]), Tensor.empty(x.device, [rows])];
    const { vector, lanes, kept, subgroups, units } = shapeOf(gpu, width);
    const shader = layerNormForward({ hasBias: bias !== null, vector, lanes, kept, subgroups });
    for (const { start, count } of rowParts(rows, [width], gpu.maxBinding)) {
      const of = (t: Tensor) => part(t, start * width, count * width);
      gpu.run(
        shader,
        { x: of(x), weight, bias, y: of(y), mean: part(mean, start, count), rstd: part(rstd, start, count) },
        { units, size: width, eps },
        count,
      );
    }
    return { mean, rstd };
  },
  layerNormGradient({ x, weight, saved: { mean, rstd }, dy, dx, dweight, dbias, rows, width }) {
    const { vector, lanes, kept, subgroups, units } = shapeOf(gpu, width);
    const shader = layerNormGradient({ vector, lanes, kept, subgroups });
    const block = blockRows(rows, LEAST_BLOCK);
    // The partial sums for weight and bias lie side by side, which makes them the widest rows.
    const ranges = rowParts(rows, [2 * width], gpu.maxBinding).map((range) => ({ ...range, blocks: Math.ceil(range.count / block) }));
    using partials = Tensor.empty(x.device, [ranges.reduce((sum, { blocks }) => sum + blocks, 0), 2 * width]);
    let done = 0;
    for (const { start, count, blocks } of ranges) {
      const of = (t: Tensor) => part(t, start * width, count * width);
      gpu.run(
        shader,
        {
          x: of(x), weight, mean: part(mean, start, count), rstd: part(rstd, start, count), dy: of(dy), dx: of(dx),
          partials: part(partials, 2 * done * width, 2 * blocks * width),
        },
        { rows: count, block, units, size: width },
        blocks,
      );
      done += blocks;
    }
    sumPartials(gpu, partials, { first: dweight, second: dbias });
  },
});
