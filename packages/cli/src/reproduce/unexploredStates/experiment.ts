import { charts, type UnexploredStatesReport } from "@lenggen/evals";
import type { Experiment } from "../experiment";
import { accepts } from "./methods";
import { reproduceUnexploredStates } from "./run";
import { PRESETS, withModel } from "./settings";
import { summary } from "./summary";

export const unexploredStates: Experiment = {
  summary: "recurrent models beyond their training length, and how other initial states mend them",
  presets: Object.keys(PRESETS),
  accepts,
  async run(input) {
    const view = async (report: UnexploredStatesReport) => {
      const { buildUnexploredStatesReport } = await import("@lenggen/evals/figures");
      return { page: buildUnexploredStatesReport(report), chart: charts(report).ratio };
    };
    const preset = PRESETS[input.preset]!;
    const settings = input.chosen ? withModel(preset, input.chosen.model) : preset;
    const report = await reproduceUnexploredStates({ ...input, settings },
      async (soFar, done) => input.show(await view(soFar), done));
    return { report, ...await view(report), summary: (place) => summary(report, place) };
  },
};
