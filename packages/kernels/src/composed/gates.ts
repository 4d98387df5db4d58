/** The gates of ops/gates.ts from softplus, limits and exponentials. */
import { add, exp, mul, neg, softplus } from "../ops/elementwise";
import { clamp } from "../ops/extrema";
import { gatesOp } from "../ops/gates";
import { composed } from "./form";

export const gatesForms = [
  composed(gatesOp, ["ssmGates", "ssmGatesGradient"], ({ raw, bias, aLog }, { minDt, maxDt }) => {
    const dt = clamp(softplus(add(raw, bias)), minDt, maxDt);
    return { dt, a: neg(mul(exp(aLog), dt)) };
  }),
];
