/** The table of experiments. A new one is a folder beside this file and a line here. */
import type { Experiment } from "./experiment";
import { gcaRetrieval } from "./gcaRetrieval/experiment";
import { published } from "./published/experiment";
import { unexploredStates } from "./unexploredStates/experiment";

export const EXPERIMENTS: Readonly<Record<string, Experiment>> = {
  "unexplored-states": unexploredStates,
  "gca-retrieval": gcaRetrieval,
  published,
};
