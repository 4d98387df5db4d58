import type { ConvKernels } from "../../ops/conv";
import type { Launch } from "./launch";

export const conv = (launch: Launch): ConvKernels => ({
  causalConv: ({ x, weight, bias, state, final, outputs, batch, steps, channels, width, silu }) =>
    launch(
      "causalConv",
      [x, weight, bias, state, final, ...outputs],
      [batch, steps, channels, width, Number(silu), ...outputs.map((t) => t.shape[2]!)],
    ),
  causalConvGradient: ({ x, weight, bias, state, dfinal, dx, dweight, dbias, dstate, douts, batch, steps, channels, width, silu, split }) =>
    launch(
      "causalConvGradient",
      [x, weight, bias, state, dfinal, dx, dweight, dbias, dstate, ...douts],
      [batch, steps, channels, width, Number(silu), ...split],
    ),
});
