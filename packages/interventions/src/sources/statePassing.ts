/**
 * State passing: a sequence starts from the final state of an unrelated one (Buitrago Ruiz & Gu 2025). As in the paper
 * it is the final state of the batch before, and like there the gradient stops between the two.
 */
import type { Intervention } from "../initialStates";
import { carriedStates, carryOptions, type CarryOptions, carrySettings } from "./carry";

/** Initial states are final states of unrelated sequences (Buitrago Ruiz & Gu 2025). */
export const statePassing: Intervention<CarryOptions> = {
  summary: "Start each sequence from the final state of an unrelated sequence: that of the batch before.",
  order: "independent",
  options: carrySettings(0.1),
  create: (model, options) =>
    carriedStates("state-passing", "independent", model, carryOptions("state-passing", statePassing.options, model, options)),
};
