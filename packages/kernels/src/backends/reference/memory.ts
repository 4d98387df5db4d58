import type { MemoryKernels } from "../../ops/memory";
import { data } from "./data";

export const memory: MemoryKernels = {
  fill({ out, value }) {
    data(out).fill(value);
  },
  accumulate({ out, x, scale }) {
    const o = data(out);
    const v = data(x);
    for (let i = 0; i < o.length; i++) o[i] = o[i]! + scale * v[i]!;
  },
};
