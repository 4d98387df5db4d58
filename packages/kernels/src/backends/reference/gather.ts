import type { gatherKernels } from "../../ops/gather";
import type { KernelsOf } from "../../signature";
import { data } from "./data";

export const gather: KernelsOf<typeof gatherKernels> = {
  gather({ x, indices, y, outer, size, count, inner }) {
    const [xs, is, ys] = [data(x), data(indices), data(y)];
    for (let at = 0; at < outer * count * inner; at++) {
      const o = Math.floor(at / (count * inner));
      const index = Math.min(is[at]!, size - 1);
      ys[at] = index < 0 ? 0 : xs[(o * size + index) * inner + (at % inner)]!;
    }
  },
  gatherGradient({ indices, dy, dx, outer, size, count, inner }) {
    const [is, g, gx] = [data(indices), data(dy), data(dx)];
    gx.fill(0);
    for (let at = 0; at < outer * count * inner; at++) {
      const o = Math.floor(at / (count * inner));
      const index = Math.min(is[at]!, size - 1);
      if (index < 0) continue;
      const to = (o * size + index) * inner + (at % inner);
      gx[to] = gx[to]! + g[at]!;
    }
  },
};
