import type { whereKernels } from "../../ops/where";
import type { KernelsOf } from "../../signature";
import { data } from "./data";

export const where: KernelsOf<typeof whereKernels> = {
  where({ condition, a, b, y }) {
    const [cs, as, bs, ys] = [data(condition), a && data(a), b && data(b), data(y)];
    for (let i = 0; i < ys.length; i++) ys[i] = (cs[i] !== 0 ? as?.[i] : bs?.[i]) ?? 0;
  },
};
