import type { Experiment } from "../experiment";
import { accepts } from "./methods";
import { reproduceUnexploredStates } from "./run";
import { PRESETS, withModel } from "./settings";
import { summary } from "./summary";
import { viewOf } from "./view";

export const unexploredStates: Experiment = {
  summary: "recurrent models beyond their training length, and how other initial states mend them",
  presets: Object.keys(PRESETS),
  takes: ["chosen"],
  accepts,
  async run(input) {
    const preset = PRESETS[input.preset]!;
    const settings = input.chosen ? withModel(preset, input.chosen.model) : preset;
    const report = await reproduceUnexploredStates({ ...input, settings },
      async (soFar, done) => input.show(await viewOf(soFar), done));
    return { report, ...await viewOf(report), summary: (place) => summary(report, place) };
  },
};
