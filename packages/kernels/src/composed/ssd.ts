/** The scan of ops/ssd.ts, one step after the other. */
import { add, exp, mul } from "../ops/elementwise";
import { sum } from "../ops/reduce";
import { ssdOp } from "../ops/ssd";
import { scanOverTime } from "../ops/scanOverTime";
import { reshape } from "../ops/view";
import type { Tensor } from "../tensor";
import { zeros } from "../ops/memory";
import { composed } from "./form";

export const ssdForms = [
  composed(ssdOp, ["ssd", "ssdGradient"], ({ x, dt, a, b, c, d, state }) => {
    const [B, T, H, P] = x.shape as [number, number, number, number];
    const [, , G, N] = b.shape as [number, number, number, number];
    const R = H / G; // heads that share b and c
    const decay = reshape(exp(a), [B, T, G, R, 1, 1]);
    const input = reshape(mul(reshape(dt, [B, T, H, 1]), x), [B, T, G, R, P, 1]);
    const [bs, cs] = [b, c].map((t) => reshape(t, [B, T, G, 1, 1, N])) as [Tensor, Tensor];
    const initial = reshape(state ?? zeros(x.device, [B, H, P, N], x.dtype), [B, G, R, P, N]);
    const { outputs, state: S } = scanOverTime({ decay, input, bs, cs }, initial, (before, row) => {
      const after = add(mul(row.decay, before), mul(row.input, row.bs));
      return { state: after, output: reshape(sum(mul(after, row.cs), { axes: -1 }), [B, H, P]) };
    });
    return { y: d ? add(outputs, mul(reshape(d, [H, 1]), x)) : outputs, state: reshape(S, [B, H, P, N]) };
  }),
];
