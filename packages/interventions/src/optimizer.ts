/** The optimiser of a run: AdamW with clipping, decaying only what the model says. */
import {
  adamW, type AdamWMoments, adamWMoments, clipFactor, countNonFinite, globalNorm, keep, type Parameters, scope, type SequenceModel, type Tensor,
} from "@lenggen/kernels";
import { number, type Settings } from "./settings";

/** AdamW (Loshchilov & Hutter 2019, algorithm 2) with clipping of the gradient's norm. */
export interface OptimizerOptions {
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly weightDecay: number;
  /** Gradients of a larger norm (over all parameters) are scaled down to it; 0 turns clipping off. */
  readonly clip: number;
}

/** Defaults as in Mamba's published training and in StateX. */
export const optimizerSettings: Settings<OptimizerOptions> = {
  beta1: number(0.9, "AdamW: decay of the mean of gradients.", { from: 0, to: 0.999999 }),
  beta2: number(0.95, "AdamW: decay of the mean of squared gradients.", { from: 0, to: 0.999999 }),
  epsilon: number(1e-8, "AdamW: added to the root of the mean of squares.", { above: 0 }),
  weightDecay: number(0.1, "Weight decay, of matrices only: never of norms, biases, A_log, D and dt_bias.", { from: 0 }),
  clip: number(1, "Largest gradient norm; 0 turns clipping off.", { from: 0 }),
};

export type Moments = AdamWMoments<Parameters>;

export function newMoments(parameters: Parameters): Moments {
  return keep(scope(() => adamWMoments(parameters)));
}

/**
 * Update number `step` (from 1), in place. Returns the norm of the gradients before clipping: [1]. With `unlessFinite`, the step's loss [1],
 * nothing changes where that or the norm is not finite.
 */
export function update(
  model: SequenceModel,
  parameters: Parameters,
  gradients: Parameters,
  moments: Moments,
  settings: OptimizerOptions & { readonly learningRate: number; readonly step: number; readonly unlessFinite?: Tensor },
): Tensor {
  const { learningRate, step, beta1, beta2, epsilon: eps, weightDecay, clip, unlessFinite } = settings;
  const norm = globalNorm(gradients);
  const factor = clip > 0 ? clipFactor(norm, clip) : null;
  const skip = unlessFinite && countNonFinite([unlessFinite, norm]);
  const decays = (name: string) => model.decays(name);
  adamW(parameters, gradients, moments, { learningRate, step, beta1, beta2, eps, weightDecay, decays, skip }, factor);
  return norm;
}
