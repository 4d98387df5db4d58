import type { GateKernels } from "../../ops/gates";
import type { Launch } from "./launch";

export const gates = (launch: Launch): GateKernels => ({
  ssmGates: ({ raw, bias, aLog, dt, a, rows, heads, minDt, maxDt }) =>
    launch("ssmGates", [raw, bias, aLog, dt, a], [rows, heads, minDt, maxDt]),
  ssmGatesGradient: ({ raw, bias, aLog, ddt, da, draw, dbias, daLog, rows, heads, minDt, maxDt }) =>
    launch("ssmGatesGradient", [raw, bias, aLog, ddt, da, draw, dbias, daLog], [rows, heads, minDt, maxDt]),
});
