/** What several tests of training expect, and how they stop a run. */
import { expect } from "vitest";
import type { TrainEvent } from "../src/trainer";

/** An error of this code whose message holds these parts in this order. */
export const coded = (code: string, ...parts: string[]) =>
  expect.objectContaining({ code,
    message: expect.stringMatching(new RegExp(parts.map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&")).join(".*"))) });

/** Aborts once that step is reported. */
export function abortAt(step: number): { signal: AbortSignal; onEvent: (event: TrainEvent) => void } {
  const controller = new AbortController();
  return { signal: controller.signal, onEvent: (event) => { if (event.kind === "step" && event.step === step) controller.abort(); } };
}
