import { type GcaRetrievalReport, type LineChart, retrievalCharts } from "@lenggen/evals";
import type { Experiment } from "../experiment";
import { reproduceGcaRetrieval } from "./run";
import { PRESETS } from "./settings";
import { summary } from "./summary";

export const gcaRetrieval: Experiment = {
  summary: "attention that retrieves chunks, trained on short texts and asked for keys in texts of up to 16 million bytes",
  presets: Object.keys(PRESETS),
  takes: [],
  models: (preset) => PRESETS[preset]!.models.map(({ method }) => method),
  async run(input) {
    const view = async (report: GcaRetrievalReport) => {
      const { buildGcaRetrievalReport } = await import("@lenggen/evals/figures");
      return { page: buildGcaRetrievalReport(report), chart: mainChart(report) };
    };
    const report = await reproduceGcaRetrieval({ ...input, settings: PRESETS[input.preset]! },
      async (soFar, done) => input.show(await view(soFar), done));
    return { report, ...await view(report), summary: (place) => summary(report, place) };
  },
};

/** Accuracy by length on the first task: a terminal has room for one panel. */
function mainChart(report: GcaRetrievalReport): LineChart | undefined {
  const chart = retrievalCharts(report).accuracy;
  const main = chart?.series[0]?.panel;
  return chart && { ...chart, y: { ...chart.y, label: `${chart.y.label}: ${main?.toLowerCase()}` },
    series: chart.series.filter(({ panel }) => panel === main) };
}
