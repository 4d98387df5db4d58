import type { memoryKernels } from "../../ops/memory";
import type { KernelsOf } from "../../signature";
import { data } from "./data";

export const memory: KernelsOf<typeof memoryKernels> = {
  fill({ out, value }) {
    data(out).fill(value);
  },
  accumulate({ out, x, scale }) {
    const o = data(out);
    const v = data(x);
    for (let i = 0; i < o.length; i++) o[i] = o[i]! + scale * v[i]!;
  },
};
