import type { ViewKernels } from "../../ops/view";
import { data } from "./data";
import { walk } from "./walk";

export const view: ViewKernels = {
  copyStrided({ x, out, xOffset, outOffset, layout }) {
    const [xs, o] = [data(x), data(out)];
    walk(layout, (_, from, to) => (o[outOffset + to] = xs[xOffset + from]!));
  },
};
