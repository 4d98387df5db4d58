/** The scans of ops/deltaRule.ts and ops/gatedDeltaRule.ts, one step after the other. */
import { deltaRuleOp } from "../ops/deltaRule";
import { add, exp, mul, scale as times, sub } from "../ops/elementwise";
import { gatedDeltaRuleOp } from "../ops/gatedDeltaRule";
import { zeros } from "../ops/memory";
import { sum } from "../ops/reduce";
import { scanOverTime } from "../ops/scanOverTime";
import { reshape } from "../ops/view";
import type { Tensor } from "../tensor";
import { composed } from "./form";

/** The product of a state [...,K,V] transposed with a key [...,K,1], as [...,1,V]. */
const read = (state: Tensor, key: Tensor) => sum(mul(state, key), { axes: -2, keepDims: true });

export const deltaRuleForms = [
  composed(deltaRuleOp, ["deltaRule", "deltaRuleGradient"], ({ q, k, v, a, remove, write, state }, { scale }) => {
    const [B, T, H, K] = q.shape as [number, number, number, number];
    const V = v.shape[3]!;
    const key = (x: Tensor) => reshape(x, [B, T, H, K, 1]);
    const given = {
      decay: key(exp(a)), query: key(times(q, scale)), under: key(k), out: key(remove), into: key(write),
      value: reshape(v, [B, T, H, 1, V]),
    };
    const initial = state ?? zeros(v.device, [B, H, K, V], v.dtype);
    const { outputs, state: final } = scanOverTime(given, initial, (before, { decay, query, under, out, into, value }) => {
      const after = add(add(mul(decay, before), mul(into, read(before, out))), mul(under, value));
      return { state: after, output: reshape(read(after, query), [B, H, V]) };
    });
    return { y: outputs, state: final };
  }),
  composed(gatedDeltaRuleOp, ["gatedDeltaRule", "gatedDeltaRuleGradient"], ({ q, k, v, a, beta, state }, { scale }) => {
    const [B, T, H, K] = q.shape as [number, number, number, number];
    const [HV, V] = v.shape.slice(2) as [number, number];
    const R = HV / H; // value heads that share q and k
    const key = (x: Tensor) => reshape(x, [B, T, H, 1, K, 1]);
    const gate = (x: Tensor) => reshape(x, [B, T, H, R, 1, 1]);
    const given = {
      decay: gate(exp(a)), rate: gate(beta), query: key(times(q, scale)), under: key(k), value: reshape(v, [B, T, H, R, 1, V]),
    };
    const initial = reshape(state ?? zeros(v.device, [B, HV, K, V], v.dtype), [B, H, R, K, V]);
    const { outputs, state: final } = scanOverTime(given, initial, (before, { decay, rate, query, under, value }) => {
      const decayed = mul(decay, before);
      const after = add(decayed, mul(under, mul(rate, sub(value, read(decayed, under)))));
      return { state: after, output: reshape(read(after, query), [B, HV, V]) };
    });
    return { y: outputs, state: reshape(final, [B, HV, K, V]) };
  }),
];
