import type { cumulativeSumKernels } from "../../ops/cumulativeSum";
import type { KernelsOf } from "../../signature";
import { data } from "./data";

export const cumulativeSum: KernelsOf<typeof cumulativeSumKernels> = {
  cumulativeSum({ x, start, y, outer, length, inner, reverse, modulo }) {
    const [xs, starts, ys] = [data(x), start && data(start), data(y)];
    for (let o = 0; o < outer; o++) {
      for (let i = 0; i < inner; i++) {
        let sum = starts ? starts[o * inner + i]! : 0;
        for (let step = 0; step < length; step++) {
          const at = (o * length + (reverse ? length - 1 - step : step)) * inner + i;
          sum += xs[at]!;
          if (modulo > 0) sum -= modulo * Math.floor(sum / modulo);
          ys[at] = sum;
        }
      }
    }
  },
};
