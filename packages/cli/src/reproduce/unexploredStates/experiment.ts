import { charts } from "@lenggen/evals";
import type { Experiment } from "../experiment";
import { reproduceUnexploredStates } from "./run";
import { PRESETS } from "./settings";
import { summary } from "./summary";

export const unexploredStates: Experiment = {
  summary: "recurrent models beyond their training length, and how other initial states mend them",
  presets: Object.keys(PRESETS),
  async run(input) {
    const report = await reproduceUnexploredStates({ ...input, settings: PRESETS[input.preset]! });
    const { buildUnexploredStatesReport } = await import("@lenggen/evals/figures");
    return { report, page: buildUnexploredStatesReport(report), chart: charts(report).ratio, summary: (place) => summary(report, place) };
  },
};
