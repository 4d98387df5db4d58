import type { Experiment } from "../experiment";
import { summary } from "../unexploredStates/summary";
import { viewOf } from "../unexploredStates/view";
import { type PublishedInput, reproducePublished } from "./run";
import { PUBLISHED_PRESETS } from "./settings";

export const published: Experiment = {
  summary: "a checkpoint that others trained: measured far beyond its training length, mended by other initial states, measured again",
  presets: Object.keys(PUBLISHED_PRESETS),
  takes: ["checkpoint", "text", "heldOut", "field", "tokenizer", "trainLength", "methods"],
  needs: "checkpoint",
  async run(input) {
    const report = await reproducePublished(input as PublishedInput,
      async (soFar, done) => input.show(await viewOf(soFar), done));
    return { report, ...await viewOf(report), summary: (place) => summary(report, place) };
  },
};
