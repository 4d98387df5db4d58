/** AdamW (Loshchilov & Hutter 2019, algorithm 2) with clipping of the gradient's norm, decaying only what the model says. */
import {
  adamW, type AdamWMoments, adamWMoments, clipFactor, dispose, keep, leaves, numberSetting, type Parameters, resolveSettings, scope,
  type SequenceModel, type Settings, type Tensor,
} from "@lenggen/kernels";
import type { Optimizer, OptimizerFamily, SavedOptimizer, UpdateRequest } from "../optimizer";
import { savedLike } from "./saved";

/** Options of {@link adamWOptimizer}; defaults in its `options`. */
export interface AdamWOptimizerOptions {
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly weightDecay: number;
  /** Gradients of a larger norm (over all parameters) are scaled down to it; 0 turns clipping off. */
  readonly clip: number;
}

/** Defaults as in Mamba's published training and in StateX. */
export const adamWSettings: Settings<AdamWOptimizerOptions> = {
  beta1: numberSetting(0.9, "AdamW: decay of the mean of gradients.", { from: 0, to: 0.999999 }),
  beta2: numberSetting(0.95, "AdamW: decay of the mean of squared gradients.", { from: 0, to: 0.999999 }),
  epsilon: numberSetting(1e-8, "AdamW: added to the root of the mean of squares.", { above: 0 }),
  weightDecay: numberSetting(0.1, "Weight decay, of matrices only: never of norms, biases, A_log, D and dt_bias.", { from: 0 }),
  clip: numberSetting(1, "Largest gradient norm; 0 turns clipping off.", { from: 0 }),
};

/** First and second moments of some parameters, and their update: all of AdamW's memory, for other optimisers too. */
export class AdamWMemory {
  #moments: AdamWMoments<Parameters> = { m: {}, v: {} };

  constructor(private readonly model: Pick<SequenceModel, "decays">, private readonly options: AdamWOptimizerOptions) {}

  init(parameters: Parameters): void {
    this.#put(keep(scope(() => adamWMoments(parameters))));
  }

  /** `factor`: scales the gradients, see {@link clipping}. */
  update(parameters: Parameters, gradients: Parameters, { learningRate, step, skip }: UpdateRequest, factor: Tensor | null): void {
    if (leaves(parameters).length === 0) return;
    const { beta1, beta2, epsilon: eps, weightDecay } = this.options;
    const decays = (name: string): boolean => this.model.decays(name);
    adamW(parameters, gradients, this.#moments, { learningRate, step, beta1, beta2, eps, weightDecay, decays, skip }, factor);
  }

  save(): Record<string, Tensor> {
    const named = (prefix: string, tree: unknown): [string, Tensor][] =>
      leaves(tree).map(({ path, tensor }) => [`${prefix}.${path}`, tensor]);
    return Object.fromEntries([...named("m", this.#moments.m), ...named("v", this.#moments.v)]);
  }

  restore(saved: SavedOptimizer, parameters: Parameters): void {
    this.#put({ m: savedLike(saved, "m.", parameters), v: savedLike(saved, "v.", parameters) });
  }

  dispose(): void {
    this.#put({ m: {}, v: {} });
  }

  #put(moments: AdamWMoments<Parameters>): void {
    dispose(this.#moments);
    this.#moments = moments;
  }
}

/** What gradients of that norm are multiplied with to clip them: a tensor [1]; null where clipping is off. */
export function clipping(clip: number, { gradientNorm }: UpdateRequest): Tensor | null {
  return clip > 0 ? clipFactor(gradientNorm, clip) : null;
}

/** AdamW with clipping: what all runs have unless another is given. */
export const adamWOptimizer: OptimizerFamily<AdamWOptimizerOptions> = {
  summary: "AdamW for all parameters.",
  learningRate: 1e-3,
  options: adamWSettings,
  create(model, given): Optimizer {
    const options = resolveSettings("optimizer", adamWSettings, given);
    const memory = new AdamWMemory(model, options);
    return {
      name: "adamw",
      settings: { ...options },
      learningRate: adamWOptimizer.learningRate,
      remembers: 2,
      init: (parameters) => memory.init(parameters),
      update: (parameters, gradients, request) =>
        scope(() => memory.update(parameters, gradients, request, clipping(options.clip, request))),
      save: () => memory.save(),
      restore: (saved, parameters) => memory.restore(saved, parameters),
      dispose: () => memory.dispose(),
    };
  },
};
