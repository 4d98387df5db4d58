/** Learning rates over a run. */
import { choice, count, number, type Settings } from "./settings";

/** Learning rate over the steps: warm-up, then constant or half a cosine. */
export interface ScheduleOptions {
  /** After the warm-up: stay at `learningRate`, or fall along half a cosine. */
  readonly schedule: "constant" | "cosine";
  readonly learningRate: number;
  /** Updates over which the rate rises from zero. */
  readonly warmup: number;
  /** `cosine`: rate of the last update, as a share of `learningRate`. */
  readonly finalShare: number;
}

export const scheduleSettings: Settings<ScheduleOptions> = {
  schedule: choice(["constant", "cosine"], "cosine", "Keep the learning rate after the warm-up, or let it fall along half a cosine."),
  learningRate: number(1e-3, "Highest learning rate.", { from: 0 }),
  warmup: count(0, "Updates over which the learning rate rises from zero."),
  finalShare: number(0.1, "cosine: rate of the last update, as a share of the highest.", { from: 0, to: 1 }),
};

/** Rate of update number `step` (from 1) of `steps`. The last warm-up update has the full rate, the last of all the final one. */
export function learningRateAt(step: number, steps: number, options: ScheduleOptions): number {
  const { schedule, learningRate, warmup, finalShare } = options;
  if (step < warmup) return (learningRate * step) / warmup;
  if (schedule === "constant") return learningRate;
  const progress = Math.min(1, (step - warmup) / Math.max(1, steps - warmup));
  return learningRate * (finalShare + (1 - finalShare) * 0.5 * (1 + Math.cos(Math.PI * progress)));
}
