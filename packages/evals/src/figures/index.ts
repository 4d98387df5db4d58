/**
 * @lenggen/evals/figures: charts and pages of reports as SVG and HTML. An entry of its own, since the library that draws takes half a
 * second to load in Node, which nobody who only measures should wait for.
 */
export { heatMap } from "./heatMap";
export { lineChart } from "./lineChart";
export { buildGcaRetrievalReport } from "../report/gcaRetrieval";
export { buildUnexploredStatesReport } from "../report/unexploredStates";
