/**
 * Cross-entropy of the next token, the weighted mean over the step's targets in nats:
 *
 *   L = Σ w_bt · (-log softmax(h_bt · Wᵀ)[target_bt]) / Σ w_bt,   h: hidden states, W: the model's output matrix
 */
import {
  crossEntropy, mul, type Parameters, resolveSettings, scale, type SequenceModel, sum, type Tensor, type Tree,
} from "@lenggen/kernels";
import type { Loss, LossBatch, LossFamily } from "../loss";

/** The micro-batch's part of that mean: one number. `hidden` [B,T,D]. */
export function meanCrossEntropy<State extends Tree>(
  model: SequenceModel<State>, parameters: Parameters, hidden: Tensor, { targets, weights, whole }: LossBatch,
): Tensor {
  const losses = crossEntropy(hidden, model.head(parameters), targets); // [B,T]
  return scale(sum(weights === undefined ? losses : mul(losses, weights)), 1 / whole.weight);
}

/** Cross-entropy of the next token: what all runs have unless another is given. */
export const crossEntropyLoss: LossFamily<Record<never, never>> = {
  summary: "Cross-entropy of the next token.",
  options: {},
  create(_model, options): Loss {
    resolveSettings("cross-entropy", crossEntropyLoss.options, options);
    return {
      name: "cross-entropy",
      settings: {},
      evaluate(model, parameters, batch, state) {
        const { hidden, state: final } = model.forward(parameters, batch.tokens, state, batch.forward);
        return { loss: meanCrossEntropy(model, parameters, hidden, batch), state: final };
      },
    };
  },
};
