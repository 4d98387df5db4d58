/** Learning rates over a run. */
import { check, choiceSetting, countSetting, numberSetting, type Settings } from "@lenggen/kernels";
import type { JsonRecord } from "./json";

/** Learning rate over the steps: warm-up, then constant or half a cosine. */
export interface ScheduleOptions {
  /** After the warm-up: stay at `learningRate`, or fall along half a cosine. */
  readonly schedule: "constant" | "cosine";
  /** Updates that the schedule goes over; 0: the run's steps. A run that may go on for more steps later, or ends sooner, names it. */
  readonly scheduleSteps: number;
  readonly learningRate: number;
  /** Updates over which the rate rises from zero. */
  readonly warmup: number;
  /** `cosine`: rate of the last update, as a share of `learningRate`. */
  readonly finalShare: number;
}

export const scheduleSettings: Settings<ScheduleOptions> = {
  schedule: choiceSetting(
    ["constant", "cosine"], "cosine", "Keep the learning rate after the warm-up, or let it fall along half a cosine.",
  ),
  scheduleSteps: countSetting(
    0, "Updates that the schedule goes over, whatever the run's steps; 0 means those. Give it for a cosine run that is to go on later.",
  ),
  learningRate: numberSetting(1e-3, "Highest learning rate.", { from: 0 }),
  warmup: countSetting(0, "Updates over which the learning rate rises from zero."),
  finalShare: numberSetting(0.1, "cosine: rate of the last update, as a share of the highest.", { from: 0, to: 1 }),
};

/**
 * Rate of update number `step` (from 1) of a schedule over `steps` updates. The last warm-up update has the full rate, the last of all
 * the final one, as has every update behind it. A schedule of a single update has the full rate there: it can't both start and end.
 */
export function learningRateAt(step: number, steps: number, options: Omit<ScheduleOptions, "scheduleSteps">): number {
  const { schedule, learningRate, warmup, finalShare } = options;
  if (step < warmup) return (learningRate * step) / warmup;
  if (schedule === "constant" || (step === 1 && steps === 1)) return learningRate;
  const progress = Math.min(1, (step - warmup) / Math.max(1, steps - warmup));
  return learningRate * (finalShare + (1 - finalShare) * 0.5 * (1 + Math.cos(Math.PI * progress)));
}

/** As `run.json` has it: a length that is the run's own is left out. */
export function recordedSchedule({ scheduleSteps, ...others }: ScheduleOptions): JsonRecord {
  return scheduleSteps === 0 ? others : { ...others, scheduleSteps };
}

/** Updates that the schedule of a run of so many steps goes over. */
export function scheduleLength({ scheduleSteps }: ScheduleOptions, steps: number): number {
  return scheduleSteps === 0 ? steps : scheduleSteps;
}

/** Throws `E_CONFIG` for a warm-up that does not end within the schedule: the rate would only ever rise. */
export function checkWarmup(schedule: ScheduleOptions, steps: number): void {
  const length = scheduleLength(schedule, steps);
  check(schedule.warmup <= length, "E_CONFIG", () =>
    `schedule: warmup is ${schedule.warmup}, longer than the ${schedule.scheduleSteps === 0 ? "run" : "schedule"} of ${length} steps, `
    + "in which "
    + `the learning rate would only rise and never reach ${schedule.learningRate}; give a warmup of at most ${length}, `
    + "or as scheduleSteps the "
    + "length of the whole schedule");
}
