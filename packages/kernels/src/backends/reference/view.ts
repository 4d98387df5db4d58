import type { viewKernels } from "../../ops/copy";
import type { KernelsOf } from "../../signature";
import { data } from "./data";
import { walk } from "./walk";

export const view: KernelsOf<typeof viewKernels> = {
  copyStrided({ x, out, xOffset, outOffset, layout }) {
    const [xs, o] = [data(x), data(out)];
    walk(layout, (_, from, to) => (o[outOffset + to] = xs[xOffset + from]!));
  },
};
