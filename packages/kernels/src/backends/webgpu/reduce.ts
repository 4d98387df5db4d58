import type { rowKernels } from "../../ops/reduce";
import type { passKernels } from "../../ops/sums";
import type { KernelsOf } from "../../signature";
import type { Tensor } from "../../tensor";
import { type Launcher, type Part, part } from "./launcher";
import { memory } from "./memory";
import { reduceAxis } from "./reduceAxis";
import { softmaxKernels } from "./softmax";

const whole = (t: Tensor): Part => part(t, 0, t.size);

export const reduce = (gpu: Launcher): KernelsOf<typeof passKernels & typeof rowKernels> => ({
  reduceSum({ x, out, scale, ...sizes }) {
    if (out.size === 0) return;
    if (sizes.length === 0) return memory(gpu).fill({ out, value: 0 });
    reduceAxis(gpu, "sum", whole(x), whole(out), sizes, scale);
  },
  reduceMax({ x, out, ...sizes }) {
    if (out.size > 0) reduceAxis(gpu, "max", whole(x), whole(out), sizes, 1);
  },
  ...softmaxKernels(gpu),
});
