import type { cumulativeSumKernels } from "../../ops/cumulativeSum";
import type { KernelsOf } from "../../signature";
import { data } from "./data";

export const cumulativeSum: KernelsOf<typeof cumulativeSumKernels> = {
  cumulativeSum({ x, y, outer, length, inner, reverse }) {
    const [xs, ys] = [data(x), data(y)];
    for (let o = 0; o < outer; o++) {
      for (let i = 0; i < inner; i++) {
        let sum = 0;
        for (let step = 0; step < length; step++) {
          const at = (o * length + (reverse ? length - 1 - step : step)) * inner + i;
          sum += xs[at]!;
          ys[at] = sum;
        }
      }
    }
  },
};
