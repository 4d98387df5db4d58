/** The loss of ops/crossEntropy.ts from whole logits. */
import { crossEntropyOp } from "../ops/crossEntropy";
import { neg } from "../ops/elementwise";
import { gather } from "../ops/gather";
import { linear } from "../ops/matmul";
import { logSoftmax } from "../ops/reduce";
import { reshape } from "../ops/view";
import { composed } from "./form";

export const crossEntropyForms = [
  // gather gives 0, and no gradient, where the target is negative.
  composed(crossEntropyOp, ["crossEntropy", "crossEntropyGradient"], ({ hidden, weight, targets }) => ({
    losses: reshape(neg(gather(logSoftmax(linear(hidden, weight)), reshape(targets, [...targets.shape, 1]))), targets.shape),
  })),
];
