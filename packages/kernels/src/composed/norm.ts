/** The norms of ops/norm.ts and ops/layerNorm.ts from sums, roots and products. */
import { add, addScalar, div, mul, silu, sqrt, square, sub } from "../ops/elementwise";
import { layerNormOp } from "../ops/layerNorm";
import { addRmsNormOp, gatedRmsNormOp, rmsNormOp } from "../ops/norm";
import { mean } from "../ops/reduce";
import { reshape } from "../ops/view";
import type { Tensor } from "../tensor";
import { composed } from "./form";

const alongRows = { axes: -1, keepDims: true } as const;

/** x / √(mean(x²) + eps) */
const normed = (x: Tensor, eps: number) => div(x, sqrt(addScalar(mean(square(x), alongRows), eps)));

export const normForms = [
  composed(rmsNormOp, ["rmsNorm", "rmsNormGradient"], ({ x, weight }, { eps }) => ({ y: mul(normed(x, eps), weight) })),
  composed(addRmsNormOp, ["rmsNorm", "rmsNormGradient"], ({ x, residual, weight }, { eps }) => {
    const sum = add(x, residual);
    return { normed: mul(normed(sum, eps), weight), residual: sum };
  }),
  composed(gatedRmsNormOp, ["gatedRmsNorm", "gatedRmsNormGradient"], ({ y, gate, weight }, { eps, groups }) => {
    const width = y.shape.at(-1)!;
    const blocks = reshape(mul(y, silu(gate)), [...y.shape.slice(0, -1), groups, width / groups]);
    return { out: mul(reshape(normed(blocks, eps), y.shape), weight) };
  }),
  composed(layerNormOp, ["layerNorm", "layerNormGradient"], ({ x, weight, bias }, { eps }) => {
    const scaled = mul(normed(sub(x, mean(x, alongRows)), eps), weight);
    return { y: bias ? add(scaled, bias) : scaled };
  }),
];
