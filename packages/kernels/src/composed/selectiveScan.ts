/** The scan of ops/selectiveScan.ts, one step after the other. */
import { add, exp, mul } from "../ops/elementwise";
import { zeros } from "../ops/memory";
import { sum } from "../ops/reduce";
import { scanOverTime } from "../ops/scanOverTime";
import { selectiveScanOp } from "../ops/selectiveScan";
import { reshape } from "../ops/view";
import type { Tensor } from "../tensor";
import { composed } from "./form";

export const selectiveScanForms = [
  composed(selectiveScanOp, ["selectiveScan", "selectiveScanGradient"], ({ x, dt, a, b, c, d, state }) => {
    const [B, T, D] = x.shape as [number, number, number];
    const [, , G, N] = b.shape as [number, number, number, number];
    const R = D / G; // channels that share b and c
    const rates = reshape(a, [G, R, N]);
    const steps = reshape(dt, [B, T, G, R, 1]);
    const input = reshape(mul(dt, x), [B, T, G, R, 1]);
    const [bs, cs] = [b, c].map((t) => reshape(t, [B, T, G, 1, N])) as [Tensor, Tensor];
    const initial = reshape(state ?? zeros(x.device, [B, D, N], x.dtype), [B, G, R, N]);
    const { outputs, state: S } = scanOverTime({ steps, input, bs, cs }, initial, (before, row) => {
      const after = add(mul(exp(mul(row.steps, rates)), before), mul(row.input, row.bs));
      return { state: after, output: reshape(sum(mul(after, row.cs), { axes: -1 }), [B, D]) };
    });
    return { y: d ? add(outputs, mul(d, x)) : outputs, state: reshape(S, [B, D, N]) };
  }),
];
