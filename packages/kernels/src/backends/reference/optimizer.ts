import type { optimizerKernels } from "../../ops/optimizer";
import type { KernelsOf } from "../../signature";
import { data } from "./data";

export const optimizer: KernelsOf<typeof optimizerKernels> = {
  globalNorm({ tensors, norm }) {
    let squares = 0;
    for (const t of tensors) for (const x of data(t)) squares += x * x;
    data(norm)[0] = Math.sqrt(squares);
  },
  clipFactor({ norm, factor, maxNorm }) {
    data(factor)[0] = Math.min(1, maxNorm / data(norm)[0]!);
  },
  adamW({ parameters, gradients, m, v, weightDecays, factor, skip, learningRate, beta1, beta2, eps, correction1, correction2 }) {
    if (skip && data(skip)[0]! > 0) return;
    const scale = factor ? data(factor)[0]! : 1;
    parameters.forEach((parameter, k) => {
      const [p, g, ms, vs] = [data(parameter), data(gradients[k]!), data(m[k]!), data(v[k]!)];
      for (let i = 0; i < p.length; i++) {
        const gi = scale * g[i]!;
        const mi = beta1 * ms[i]! + (1 - beta1) * gi;
        const vi = beta2 * vs[i]! + (1 - beta2) * gi * gi;
        ms[i] = mi;
        vs[i] = vi;
        p[i] = p[i]! - learningRate * (weightDecays[k]! * p[i]! + mi / correction1 / (Math.sqrt(vi / correction2) + eps));
      }
    });
  },
  countNonFinite({ tensors, count }) {
    let n = 0;
    for (const t of tensors) for (const x of data(t)) if (!Number.isFinite(x)) n++;
    data(count)[0] = Math.min(n, 2 ** 31 - 1);
  },
  unlessCounted({ count, x, otherwise, out }) {
    if (data(count)[0] === 0) data(out).set(data(x));
    else if (otherwise) data(out).set(data(otherwise));
    else data(out).fill(0);
  },
};
