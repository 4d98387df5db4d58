/** @lenggen/evals: measures and tasks for length generalisation, with figures and reports. */
export { stream, type RunOptions, type StreamChunk, type StreamOptions, type Tokens } from "./stream";
export { type Interval, meanInterval, ratioInterval, wilsonInterval } from "./statistics";
export { binEdges, logPositions } from "./positions";
export { lossByPosition, type LossByPosition, type LossByPositionOptions, type LossRecord } from "./measures/lossByPosition";
export {
  effectiveRemembrance, type EffectiveRemembrance, type EffectiveRemembranceOptions, type RemembrancePoint,
} from "./measures/effectiveRemembrance";
export { type Moments, stateStatistics, type StateStatistics, type StateStatisticsOptions } from "./measures/stateStatistics";
export { taskAccuracy, type TaskAccuracy, type TaskAccuracyOptions, type TaskCell } from "./measures/taskAccuracy";
export * from "./tasks";
