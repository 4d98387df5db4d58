import type { OptimizerKernels } from "../../ops/optimizer";
import type { Launch } from "./launch";

export const optimizer = (launch: Launch): OptimizerKernels => ({
  globalNorm: ({ tensors, norm }) => launch("globalNorm", [...tensors, norm], []),
  countNonFinite: ({ tensors, count }) => launch("countNonFinite", [...tensors, count], []),
  unlessCounted: ({ count, x, otherwise, out }) => launch("unlessCounted", [count, x, otherwise, out], []),
  clipFactor: ({ norm, factor, maxNorm }) => launch("clipFactor", [norm, factor], [maxNorm]),
  adamW: ({ items, factor, skip, learningRate, beta1, beta2, eps, correction1, correction2 }) =>
    launch(
      "adamW",
      [factor, skip, ...items.flatMap(({ parameter, gradient, m, v }) => [parameter, gradient, m, v])],
      [learningRate, beta1, beta2, eps, correction1, correction2, ...items.map(({ weightDecay }) => weightDecay)],
    ),
});
