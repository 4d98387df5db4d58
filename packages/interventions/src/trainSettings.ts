/** The numbers among a run's settings: how often things happen, the schedule, the optimiser. */
import { countSetting, resolveSettings, type Settings } from "@lenggen/kernels";
import { adamWSettings } from "./optimizers/adamW";
import { scheduleSettings } from "./schedule";

/** How often things happen in a run. */
export interface TrainCounts {
  /** Micro-batches per step; their gradients add up. 1 unless given. */
  readonly microBatches: number;
  /** Steps between checkpoints; the start and the end are always saved. 500 unless given. */
  readonly checkpointEvery: number;
  /** How many checkpoints are kept. 2 unless given. */
  readonly keepCheckpoints: number;
  /** Steps between lines of metrics; 1 unless given. */
  readonly logEvery: number;
  /**
   * Steps in a row whose loss or gradient is not finite that are skipped: they change neither parameters nor moments and hand on no state.
   * One more ends the run. 0 unless given: the first one does.
   */
  readonly skipNotFinite: number;
}

const countSettings: Settings<TrainCounts> = {
  microBatches: countSetting(1, "Micro-batches per step; their gradients add up.", 1),
  checkpointEvery: countSetting(500, "Steps between checkpoints.", 1),
  keepCheckpoints: countSetting(2, "How many checkpoints are kept.", 1),
  logEvery: countSetting(1, "Steps between lines of metrics.", 1),
  skipNotFinite: countSetting(
    0, "Steps in a row whose loss or gradient is not finite that are skipped; one more ends the run. 0: the first does.",
  ),
};

/** Every setting of the trainer and of its default optimiser with default, meaning and range, for help texts and documentation. */
export const TRAINER_SETTINGS = { ...countSettings, ...scheduleSettings, ...adamWSettings };

/** The counts among the options, with defaults filled in. */
export function resolveCounts(
  { microBatches, checkpointEvery, keepCheckpoints, logEvery, skipNotFinite }: Partial<TrainCounts>,
): TrainCounts {
  return resolveSettings("training", countSettings, { microBatches, checkpointEvery, keepCheckpoints, logEvery, skipNotFinite });
}
