/** The recurrence of ops/gatedLinearAttention.ts, one step after the other. */
import { add, exp, mul, scale as scaled } from "../ops/elementwise";
import { gatedLinearAttentionOp } from "../ops/gatedLinearAttention";
import { zeros } from "../ops/memory";
import { sum } from "../ops/reduce";
import { scanOverTime } from "../ops/scanOverTime";
import { reshape } from "../ops/view";
import { composed } from "./form";

export const gatedLinearAttentionForms = [
  composed(gatedLinearAttentionOp, ["gatedLinearAttention", "gatedLinearAttentionGradient"], ({ q, k, v, a, bonus, state }, { scale }) => {
    const [B, T, H, K] = q.shape as [number, number, number, number];
    const V = v.shape[3]!;
    const [decay, query, key] = [exp(a), scaled(q, scale), k].map((t) => reshape(t, [B, T, H, K, 1])) as [typeof q, typeof q, typeof q];
    const weight = bonus && reshape(bonus, [H, K, 1]);
    const rows = { decay, query, key, value: reshape(v, [B, T, H, 1, V]) };
    const { outputs, state: final } = scanOverTime(rows, state ?? zeros(q.device, [B, H, K, V], q.dtype), (before, row) => {
      const input = mul(row.key, row.value);
      const after = add(mul(row.decay, before), input);
      const read = weight ? add(before, mul(weight, input)) : after;
      return { state: after, output: sum(mul(read, row.query), { axes: 2 }) };
    });
    return { y: outputs, state: final };
  }),
];
