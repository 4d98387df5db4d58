/**
 * Random noise: a sequence starts from independent Gaussian numbers of mean 0 and one standard deviation for all layers
 * and heads (Buitrago Ruiz & Gu 2025). It explores states that training from zero never sees, but not those that long
 * sequences reach; fitted noise is closer.
 */
import { normal, numberSetting, resolveSettings, type Settings } from "@lenggen/kernels";
import type { Intervention } from "../initialStates";
import { type NoiseOptions, noiseSettings, noisyStates } from "./noise";

/** Options of {@link randomNoise}; defaults in its `options`. */
export interface RandomNoiseOptions extends NoiseOptions {
  /** Standard deviation of every element. */
  readonly std: number;
}

/**
 * The paper does not give its value of std. The authors' plot of a Mamba-2's pooled state has a standard deviation of
 * 1.0 after 50 tokens and 1.3 after the training length: 1 is that order. A model whose states are of another size
 * wants its own (`lenggen eval state-statistics` measures it).
 */
const settings: Settings<RandomNoiseOptions> = {
  ...noiseSettings(),
  std: numberSetting(1, "Standard deviation of the noise, the same for all layers and heads.", { above: 0 }),
};

/** Gaussian initial states of one deviation (Buitrago Ruiz & Gu 2025). */
export const randomNoise: Intervention<RandomNoiseOptions> = {
  summary: "Start each sequence from Gaussian noise of one standard deviation for all layers and heads.",
  order: "independent",
  options: settings,
  create(model, given) {
    const options = resolveSettings("random-noise", settings, given);
    return {
      name: "random-noise",
      order: "independent",
      settings: { ...options },
      next: noisyStates("random-noise", model, options, ({ key, device, shape, dtype }) =>
        normal(key, device, shape, { std: options.std, dtype })),
      observe: () => undefined,
      save: () => ({ tensors: {}, values: null }),
      restore: () => undefined,
      dispose: () => undefined,
    };
  },
};
