/**
 * Cross-entropy with a penalty on the norm of the final state, so that what a model carries out of a sequence stays small:
 *
 *   L = cross-entropy + λ · 1/S · Σ_b ‖s_b‖² / n
 *
 * s_b holds the n numbers of all recurrent parts of the state in which sequence b of the step's S ends, so that ‖s_b‖² / n is their mean
 * square and λ means the same for states of any size. Windows (a convolution's last inputs) are copies of inputs and are left out. It is
 * the L2 activation regularisation of recurrent networks (Merity, McCann & Socher 2017) on the one state that the next chunk starts from.
 */
import {
  add, check, leaves, numberSetting, resolveSettings, scale, type SequenceModel, type Settings, square, sum, type Tensor, type Tree,
} from "@lenggen/kernels";
import type { Loss, LossFamily } from "../loss";
import { meanCrossEntropy } from "./crossEntropy";

/** Options of {@link stateNormLoss}; defaults in its `options`. */
export interface StateNormOptions {
  /** λ */
  readonly weight: number;
}

const settings: Settings<StateNormOptions> = {
  weight: numberSetting(0.01, "Weight of the final state's mean square beside the cross-entropy, in nats.", { from: 0 }),
};

/** Mean square of the recurrent numbers of each sequence's state, summed over sequences: one number. */
function squaredNorms(state: Tree, recurrent: ReadonlySet<string>): Tensor {
  const parts = leaves(state).filter(({ path }) => recurrent.has(path)).map(({ tensor }) => tensor);
  const numbers = parts.reduce((total, { size, shape }) => total + size / shape[0]!, 0);
  return scale(parts.map((part) => sum(square(part))).reduce((a, b) => add(a, b)), 1 / numbers);
}

function recurrentLeaves(model: SequenceModel): ReadonlySet<string> {
  const found = model.stateLeaves.filter(({ kind }) => kind === "recurrent").map(({ path }) => path);
  check(found.length > 0, "E_CONFIG", () =>
    `state-norm: a model of family ${model.family} has no recurrent state to keep small; train it with cross-entropy`);
  return new Set(found);
}

/** Cross-entropy and a penalty on the norm of the final state. */
export const stateNormLoss: LossFamily<StateNormOptions> = {
  summary: "Cross-entropy, and a penalty on the norm of the state that a sequence ends in.",
  options: settings,
  create(model, given): Loss {
    const { weight } = resolveSettings("state-norm", settings, given);
    const recurrent = recurrentLeaves(model);
    return {
      name: "state-norm",
      settings: { weight },
      evaluate(own, parameters, batch, state) {
        const { hidden, state: final } = own.forward(parameters, batch.tokens, state, batch.forward);
        const crossEntropy = meanCrossEntropy(own, parameters, hidden, batch);
        const stateNorm = scale(squaredNorms(final, recurrent), weight / batch.whole.sequences);
        return { loss: add(crossEntropy, stateNorm), state: final, terms: { crossEntropy, stateNorm } };
      },
    };
  },
};
