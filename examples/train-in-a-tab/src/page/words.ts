/** Sentences of the page that depend on what has happened, and numbers as people read them. */
import type { LossByPosition } from "@lenggen/evals";
import type { PhaseView, ProjectView } from "../shared/messages";
import type { Method } from "../shared/plan";
import type { PageState, Problem } from "./state";
import { currentPhase, ratesOf, stepsDone } from "./state";

export const METHOD_NAMES: Readonly<Record<Method, string>> = { zero: "from zero states", "state-passing": "state passing" };

/** Bytes over seconds of some steps: the harmonic mean, so that two steps that were reported at once do not count for more. */
export function meanRate(rates: readonly number[]): number {
  return rates.length / rates.reduce((seconds, rate) => seconds + 1 / rate, 0);
}

/** 16384 -> 16k, 1000 -> 1,000: whole binary multiples get a suffix. */
export function length(bytes: number): string {
  return bytes >= 1024 && bytes % 1024 === 0 ? `${bytes / 1024}k` : Math.round(bytes).toLocaleString("en");
}

/** Sizes of files. */
export function size(bytes: number): string {
  if (bytes >= 2 ** 20) return `${(bytes / 2 ** 20).toFixed(1)} MB`;
  return bytes >= 1024 ? `${Math.round(bytes / 1024)} KB` : `${bytes} bytes`;
}

export function count(value: number): string {
  return Math.round(value).toLocaleString("en");
}

/** 95 -> 1 min 35 s. */
function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  return minutes < 60 ? `${minutes} min ${whole % 60} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** The last measurement of a phase. */
export function lastMeasurement(phase: PhaseView): (LossByPosition & { readonly step: number }) | undefined {
  const record = phase.records.findLast(({ kind }) => kind === "evaluation");
  return record?.kind === "evaluation" ? { ...(record.results as unknown as LossByPosition), step: record.step } : undefined;
}

/** What the loss by position says, in one sentence; made from the numbers. */
export function finding(project: ProjectView | undefined): string {
  const measured = project?.phases.map(lastMeasurement) ?? [];
  const last = measured.findLast((m) => m !== undefined);
  if (!project || !last) return "It appears with the first measurement, a tenth of the way through the training.";
  const far = last.lengths.at(-1)!;
  const phase = project.phases.at(-1)!;
  const done = stepsDone(phase) >= phase.steps;
  const at = `At ${length(far.to)} bytes, ${length(far.to / last.trainLength)} times the training length,`;
  const before = measured.slice(0, measured.lastIndexOf(last)).findLast((m) => m !== undefined);
  const past = before?.lengths.at(-1);
  if (far.ratio < 1.03) {
    return past && past.ratio > 1.1
      ? `${at} the model predicts as well as with a short memory. Before, its loss there was `
        + `${times(past.bitsPerByte / far.bitsPerByte)} as high.`
      : `${at} the model predicts as well as with a short memory: it holds${done ? "" : " so far"}.`;
  }
  const much = far.ratio > 1.25 ? "it has collapsed" : "the long history hurts";
  return past && past.ratio > far.ratio * 1.05
    ? `${at} the loss is ${times(far.ratio)} that with a short memory, after ${times(past.ratio)} before.`
    : `${at} the loss is ${times(far.ratio)} that with a short memory: ${much}.`;
}

function times(factor: number): string {
  return `${factor.toFixed(2)} times`;
}

/** One line under the button: what is going on. */
export function statusLine(state: PageState): string {
  const { activity, lasting } = state;
  const phase = currentPhase(state);
  switch (activity) {
    case "opening": return "Looking for a GPU\u2026";
    case "starting": return "Opening the device\u2026";
    case "stopping": return "Finishing the step and saving\u2026";
    case "measuring": return "Reading the held-out text to measure\u2026";
    case "training": return state.fresh ? "Compiling the kernels for this device; the first time takes a while\u2026" : "Training.";
    case "idle": break;
  }
  if (!phase || phase.folder === "0-loaded") return "";
  const where = lasting ? "kept in this browser" : "not kept: save it before you close the page";
  const done = stepsDone(phase) >= phase.steps;
  if (phase.saved === null) return "";
  return `${done ? "Done" : `Stopped at step ${count(phase.saved)}`}; ${where}.${wantsSwitch(state) ? " Now turn on state passing." : ""}`;
}

/** Whether state passing is what comes next: a phase from zero states is done, and its model collapses. */
export function wantsSwitch(state: PageState): boolean {
  const phase = currentPhase(state);
  return state.activity === "idle" && state.method === "zero" && phase?.method === "zero" && phase.folder !== "0-loaded"
    && stepsDone(phase) >= phase.steps && (lastMeasurement(phase)?.lengths.at(-1)?.ratio ?? 1) > 1.1;
}

/** How long the phase will take: not part of the status, which screen readers read out whenever it changes. */
export function timeLeft(state: PageState): string {
  const phase = currentPhase(state);
  if (state.activity === "measuring") return `${Math.round(100 * state.measured)}%`;
  if (state.activity !== "training" || !phase || state.fresh) return "";
  const perStep = (state.plan.batch * state.plan.context) / meanRate(ratesOf(phase).slice(-20));
  return `About ${duration((phase.steps - stepsDone(phase)) * perStep)} left`;
}

const TITLES: Readonly<Record<string, string>> = {
  E_DEVICE_LOST: "The GPU went away",
  E_DEVICE_UNAVAILABLE: "The device can\u2019t be opened",
  E_NOT_FINITE: "Training diverged",
  E_MEMORY: "Not enough memory",
  E_IO: "The run can\u2019t be saved",
  E_TEXT: "This text won\u2019t do",
};

/** The title of a problem, and what may be done about it. */
export function problemWords({ code, message, during }: Problem): { title: string; message: string } {
  const title = during === "load" ? "This can\u2019t be loaded" : (TITLES[code] ?? "Something went wrong");
  return { title, message: sentence(message.replace(/^webgpu: /, "")) };
}

/** With a capital, unless it begins with a name such as `book.txt`, and a full stop. */
export function sentence(text: string): string {
  const trimmed = text.trim().replace(/^[a-z]+(?=[ ,:])/, (word) => word[0]!.toUpperCase() + word.slice(1));
  return trimmed === "" || /[.!?]$/.test(trimmed) ? trimmed : `${trimmed}.`;
}
