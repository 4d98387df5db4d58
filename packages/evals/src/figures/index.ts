/**
 * @lenggen/evals/figures: charts and pages of reports as SVG and HTML. An entry of its own, since what draws takes Node 0.4 s to load,
 * which nobody who only measures should wait for.
 */
export { heatMap } from "./heatMap";
export { lineChart } from "./lineChart";
export { buildGcaRetrievalReport } from "../report/gcaRetrieval";
export { buildUnexploredStatesReport } from "../report/unexploredStates";
