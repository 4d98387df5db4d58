/** The table of experiments. A new one is a folder beside this file and a line here. */
import type { Experiment } from "./experiment";
import { unexploredStates } from "./unexploredStates/experiment";

export const EXPERIMENTS: Readonly<Record<string, Experiment>> = {
  "unexplored-states": unexploredStates,
};
