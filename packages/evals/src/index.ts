/** @lenggen/evals: measures and tasks for length generalisation. */
export { stream, type RunOptions, type StreamChunk, type StreamOptions } from "./stream";
export { joinTokens, type Tokens, type TokenSource, wholeOf } from "@lenggen/kernels";
export { type Interval, meanInterval, ratioInterval, wilsonInterval } from "./statistics";
export { binEdges, logPositions } from "./positions";
export { lossByPosition, type LossByPosition, type LossByPositionOptions, type LossRecord } from "./measures/lossByPosition";
export {
  effectiveRemembrance, type EffectiveRemembrance, type EffectiveRemembranceOptions, type RemembrancePoint,
} from "./measures/effectiveRemembrance";
export { type Moments, stateStatistics, type StateStatistics, type StateStatisticsOptions } from "./measures/stateStatistics";
export {
  askedFromOneStream, type AskedFromOneStream, type AskedFromOneStreamOptions, askedFromOneStreamSettings, type AskedQuestion,
} from "./measures/askedFromOneStream";
export { taskAccuracy, type TaskAccuracy, type TaskAccuracyOptions, type TaskCell } from "./measures/taskAccuracy";
export * from "./tasks";

// What figures and reports are made of; ./figures draws them
export { type Method, METHOD_STYLES, METHODS, type MethodStyle, type Retriever, RETRIEVERS, type Styled } from "./methods";
export type { Axis, ChartSize, LineChart, LinePoint, Series } from "./figures/lineChart";
export type { HeatCell, HeatMap } from "./figures/heatMap";
export { terminalChart, type TerminalOptions } from "./figures/terminal";
export { fixed, formatLength, formatSeconds } from "./figures/format";
export { type Column, details, escape, figure, page, paragraph, section, settingsTable, table } from "./report/html";
export { type ChartName, charts } from "./report/charts";
export { claimInWords, familyFacts, type FamilyFacts } from "./report/families";
export { type Finding, findingInWords, findings, type Verdict } from "./report/findings";
export { type RetrievalChartName, retrievalCharts } from "./report/gcaRetrievalCharts";
export {
  retrievalByLength, type RetrievalFinding, retrievalFindings, retrievalInWords, type RetrievalPoint, streamingChange, taskName,
} from "./report/gcaRetrievalFindings";
export type { GcaRetrievalReport, RetrievalCell, RetrievalModel, StreamingPoint } from "./report/gcaRetrievalTypes";
export type {
  ReportLoss, ReportModel, ReportRemembrance, ReportStateStd, Settings, UnexploredStatesReport,
} from "./report/types";
