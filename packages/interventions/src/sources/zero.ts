/** Every sequence starts from the zero state: ordinary training, and the control of every comparison. */
import { resolveSettings } from "@lenggen/kernels";
import type { InitialStates, Intervention } from "../initialStates";

/** Zero initial states. */
export const zero: Intervention<Record<never, never>> = {
  summary: "Start every sequence from the zero state, as in ordinary training.",
  order: "independent",
  options: {},
  create(_model, options): InitialStates {
    resolveSettings("zero", zero.options, options);
    return {
      name: "zero",
      order: "independent",
      settings: {},
      next: () => undefined,
      observe: () => undefined,
      save: () => ({ tensors: {}, values: null }),
      restore: () => undefined,
      dispose: () => undefined,
    };
  },
};
