/** What the page and its worker say to each other. */
import type { DeviceListing, ErrorCode } from "@lenggen/kernels";
import type { TrainEvent } from "@lenggen/interventions";
import type { Method, Plan } from "./plan";

/** Which device trains. */
export interface DeviceChoice {
  readonly kind: "webgpu" | "reference";
  /** Whether a software adapter will do. */
  readonly fallback: boolean;
}

export type ToWorker =
  /** Asks what there is: devices, storage, a run from before. Answered by `ready`. */
  | { readonly kind: "open"; readonly fallback: boolean }
  /** Starts over with a text and settings, from fresh weights or from those that were loaded. */
  | { readonly kind: "begin"; readonly text: NamedText; readonly plan: Plan; readonly method: Method; readonly device: DeviceChoice }
  /** Goes on: resumes the last phase, or starts one with another method from the current weights. */
  | { readonly kind: "continue"; readonly method: Method; readonly device: DeviceChoice }
  /** Stops after the step in progress, and saves. */
  | { readonly kind: "stop" }
  /** Asks for the run as one file. */
  | { readonly kind: "save" }
  /** Files that someone chose: a saved run, a run directory or a checkpoint. */
  | { readonly kind: "load"; readonly files: readonly ChosenFile[] }
  | { readonly kind: "discard" };

export interface NamedText {
  readonly name: string;
  readonly bytes: ArrayBuffer;
}

/** A file with its path below the folder that was chosen; only its name when it was chosen by itself. */
export interface ChosenFile {
  readonly path: string;
  readonly content: Blob;
}

/** One line of metrics.jsonl, or one event as it happens. */
export type PhaseRecord = Extract<TrainEvent, { kind: "step" | "evaluation" }>;

/** A phase as the page shows it. */
export interface PhaseView {
  readonly folder: string;
  readonly method: Method;
  readonly steps: number;
  /** Step of the last checkpoint; null before the first. */
  readonly saved: number | null;
  readonly records: readonly PhaseRecord[];
}

/** A project as the page shows it. */
export interface ProjectView {
  readonly textName: string;
  readonly textBytes: number;
  readonly plan: Plan;
  readonly phases: readonly PhaseView[];
  /** Where its weights were loaded from, in words. */
  readonly loaded: string | null;
}

/** Weights that were loaded and wait for a text. */
export interface LoadedView {
  /** Where they come from and what they are, in words. */
  readonly about: string;
  /** Training length that their run records. */
  readonly context: number | null;
}

export type FromWorker =
  | {
    readonly kind: "ready";
    readonly devices: readonly DeviceListing[];
    /** False where the browser keeps nothing, so that closing the page loses the run. */
    readonly lasting: boolean;
    /** Whether another tab has the storage. */
    readonly elsewhere: boolean;
    readonly project: ProjectView | null;
  }
  | { readonly kind: "project"; readonly project: ProjectView | null; readonly loaded: LoadedView | null }
  /** Training is under way on this device. */
  | { readonly kind: "started"; readonly device: string; readonly phase: PhaseView; readonly project: ProjectView }
  | { readonly kind: "event"; readonly event: TrainEvent }
  /** How far a measurement of the loss by position has come, 0 ... 1; reported a few times a second at most. */
  | { readonly kind: "measuring"; readonly share: number }
  | { readonly kind: "stopped"; readonly status: "done" | "interrupted"; readonly step: number }
  | { readonly kind: "saved"; readonly archive: Blob; readonly name: string }
  /** What was asked for did not work; `during` says what that was. */
  | { readonly kind: "failed"; readonly during: ToWorker["kind"]; readonly code: ErrorCode | "E_UNKNOWN"; readonly message: string };
