/**
 * Fitted noise: a sequence starts from independent Gaussian numbers whose mean and standard deviation, separately for
 * each layer and head, are those of the final states of training sequences (Buitrago Ruiz & Gu 2025).
 */
import {
  add, check, choiceSetting, countSetting, dispose, keep, leaves, mean, mul, normal, numberSetting, resolveSettings, scale, scope,
  type Settings, sqrt, square, sub, type Tensor, type Tree, unlessCounted,
} from "@lenggen/kernels";
import type { InitialStates, Intervention, SavedStates, StateRequest } from "../initialStates";
import { getsNoise, type NoiseOptions, noiseSettings, noisyStates } from "./noise";
import { leavesByPath } from "./reset";

/** Options of {@link fittedNoise}; defaults in its `options`. */
export interface FittedNoiseOptions extends NoiseOptions {
  /** How mean and variance are estimated from the final states of one batch after another. */
  readonly estimator: "running" | "ema" | "once";
  /** `ema`: the share of the estimate that stays when another batch arrives. */
  readonly decay: number;
  /** `once`: how many batches are looked at before the estimate is fixed. */
  readonly onceBatches: number;
}

/**
 * The paper leaves the estimator open. `ema` follows the model while training changes it; `running` weighs all
 * batches alike; `once` fixes the estimate early. Until a first batch has been seen, sequences start from zero.
 */
const settings: Settings<FittedNoiseOptions> = {
  ...noiseSettings(),
  estimator: choiceSetting(["running", "ema", "once"], "ema",
    "Estimate mean and variance over all batches so far, as an exponential moving average, or once from the first batches."),
  decay: numberSetting(0.99, "ema: share of the estimate that stays when another batch arrives.", { from: 0, to: 0.999999 }),
  onceBatches: countSetting(8, "once: batches that are looked at before the estimate is fixed.", 1),
};

/** Weight of batch number n (from 1) in the estimate. All three estimators are one formula with this weight. */
export function weightOfBatch(n: number, { estimator, decay, onceBatches }: FittedNoiseOptions): number {
  if (estimator === "running") return 1 / n;
  if (estimator === "once") return n <= onceBatches ? 1 / n : 0;
  return Math.max(1 / n, 1 - decay); // a plain mean until there are enough batches for the moving one
}

interface Moments {
  /** [1, 1, H, 1, ...]: one number per head, or one in all for a leaf without heads. */
  readonly mean: Tensor;
  readonly variance: Tensor;
}

/** Mean and variance over all axes but that of the heads. */
function momentsOf(state: Tensor, headAxis: number | undefined): Moments {
  const axes = state.shape.map((_, axis) => axis).filter((axis) => axis !== headAxis);
  const average = mean(state, { axes, keepDims: true });
  return { mean: average, variance: mean(square(sub(state, average)), { axes, keepDims: true }) };
}

/**
 * Moments of a mixture of the old estimate with weight 1 - w and a batch with weight w:
 *   mean ← mean + w·δ,   variance ← (1 - w)·variance + w·batch + w·(1 - w)·δ²,   δ = mean of the batch - mean.
 * With w = 1/n this is the pooled variance (Chan, Golub & LeVeque 1983).
 */
function mix(old: Moments, batch: Moments, w: number): Moments {
  const delta = sub(batch.mean, old.mean);
  const within = add(scale(old.variance, 1 - w), scale(batch.variance, w));
  return { mean: add(old.mean, scale(delta, w)), variance: add(within, scale(square(delta), w * (1 - w))) };
}

/** Gaussian initial states with the mean and deviation, per layer and head, of final states (Buitrago Ruiz & Gu 2025). */
export const fittedNoise: Intervention<FittedNoiseOptions> = {
  summary: "Start each sequence from Gaussian noise with the mean and deviation, per layer and head, of final states.",
  order: "independent",
  options: settings,
  create(model, given): InitialStates {
    const options = resolveSettings("fitted-noise", settings, given);
    const about = leavesByPath(model.stateLeaves);
    const estimates = new Map<string, Moments>();
    let batches = 0;

    const noisy = (path: string): boolean => getsNoise(about.get(path), options);
    const draw = noisyStates("fitted-noise", model, options, ({ about: leaf, key, device, shape, dtype }) => {
      const estimate = estimates.get(leaf.path)!;
      return add(mul(normal(key, device, shape, { dtype }), sqrt(estimate.variance)), estimate.mean);
    });
    const put = (path: string, moments: Moments): void => {
      dispose(estimates.get(path));
      estimates.set(path, keep(moments));
    };

    return {
      name: "fitted-noise",
      order: "independent",
      settings: { ...options },
      next: (request) => (batches === 0 ? undefined : draw(request)),
      observe(finalState: Tree, { notFinite }: Pick<StateRequest, "notFinite">) {
        const w = weightOfBatch(++batches, options);
        if (w === 0) return;
        for (const { path, tensor } of leaves(finalState)) {
          if (!noisy(path)) continue;
          const old = estimates.get(path);
          put(path, scope(() => {
            const batch = momentsOf(tensor, about.get(path)!.headAxis);
            const next = old === undefined ? batch : mix(old, batch, w);
            // A batch that is not finite counts as one that was like those before it.
            return notFinite === undefined ? next : {
              mean: unlessCounted(notFinite, next.mean, old?.mean), variance: unlessCounted(notFinite, next.variance, old?.variance),
            };
          }));
        }
      },
      save() {
        const tensors: Record<string, Tensor> = {};
        for (const [path, moments] of estimates) {
          tensors[`mean.${path}`] = moments.mean;
          tensors[`variance.${path}`] = moments.variance;
        }
        return { tensors, values: { batches } };
      },
      restore({ tensors, values }: SavedStates) {
        const saved = (values as { batches?: unknown } | null)?.batches;
        check(Number.isSafeInteger(saved) && (saved as number) >= 0, "E_FORMAT", () =>
          `fitted-noise: the checkpoint must hold a number of batches, not ${JSON.stringify(saved)}`);
        batches = saved as number;
        if (batches === 0) return;
        for (const { path } of model.stateLeaves) {
          if (!noisy(path)) continue;
          const [average, variance] = [tensors[`mean.${path}`], tensors[`variance.${path}`]];
          check(average && variance, "E_FORMAT", () => `fitted-noise: the checkpoint lacks mean or variance of ${path}`);
          put(path, { mean: average, variance });
        }
      },
      dispose() {
        for (const moments of estimates.values()) dispose(moments);
        estimates.clear();
      },
    };
  },
};
