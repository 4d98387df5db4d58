/** The scan of ops/ssd.ts, one step after the other. */
import { add, exp, mul } from "../ops/elementwise";
import { sum } from "../ops/reduce";
import { ssdOp } from "../ops/ssd";
import { concat, reshape, slice } from "../ops/view";
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
    const at = (t: Tensor, step: number) => {
      const row = slice(t, 1, step, step + 1);
      return reshape(row, [B, ...t.shape.slice(2)]);
    };
    let S = reshape(state ?? zeros(x.device, [B, H, P, N], x.dtype), [B, G, R, P, N]);
    const rows: Tensor[] = [];
    for (let t = 0; t < T; t++) {
      S = add(mul(at(decay, t), S), mul(at(input, t), at(bs, t)));
      rows.push(reshape(sum(mul(S, at(cs, t)), { axes: -1 }), [B, 1, H, P]));
    }
    const y = concat(rows, 1);
    return { y: d ? add(y, mul(reshape(d, [H, 1]), x)) : y, state: reshape(S, [B, H, P, N]) };
  }),
];
