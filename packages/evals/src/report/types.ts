/**
 * `report.json` of a reproduction. The fields up to `models`, and the first four of a model, are a format that other
 * programs rely on; more may stand beside them.
 */
import type { TaskAccuracy } from "../measures/taskAccuracy";
import type { Method } from "../methods";
import type { Interval } from "../statistics";

/** Loss at one position, in bits per byte. */
export interface ReportLoss {
  /** Last position of the bin (from, position], in tokens of history. */
  readonly position: number;
  readonly bitsPerByte: number;
  /** The same bytes scored with only the last T/2 to T of history. */
  readonly referenceBitsPerByte: number;
  /** 95% interval of bitsPerByte over sequences; null for a single one. */
  readonly ci95: Interval | null;
  readonly from?: number;
  readonly ratio?: number;
  readonly ratioCi95?: Interval | null;
}

/** Effective Remembrance at one t. */
export interface ReportRemembrance {
  readonly t: number;
  readonly distance: number;
  readonly ci95?: Interval | null;
}

/** Standard deviation of one head's state at one position. */
export interface ReportStateStd {
  readonly position: number;
  readonly layer: number;
  readonly head: number;
  readonly std: number;
  /** Path of the state's leaf, where a layer has more than one. */
  readonly leaf?: string;
}

/** Everything measured of one model. */
export interface ReportModel {
  readonly method: Method;
  readonly lossByPosition: readonly ReportLoss[];
  readonly effectiveRemembrance: readonly ReportRemembrance[];
  readonly stateStd: readonly ReportStateStd[];
  /** Standard deviation of the full state. */
  readonly statePooledStd?: readonly { readonly position: number; readonly std: number; readonly ci95?: Interval | null }[];
  /** Per length L asked for, over positions (L/2, L]. */
  readonly lossByLength?: readonly ReportLoss[];
  readonly recall?: readonly TaskAccuracy[];
  readonly steps?: number;
  readonly tokensTrained?: number;
  readonly seconds?: number;
  /** How it was trained, e.g. learning rate and the intervention's options. */
  readonly settings?: Settings;
}

/** Named values for a table of settings; nested records, and lists of them, are shown with dotted names. */
export type Settings = { readonly [name: string]: string | number | boolean | null | readonly (string | number)[] | Settings
  | readonly Settings[] };

/** Tokens of a report, by whose number positions and lengths count. */
export interface TokenFacts {
  /** What the tokenizer is called. */
  readonly tokenizer: string;
  /** Mean bytes in a token of the held-out text. */
  readonly bytesPerToken: number;
}

/** What `report.json` holds. */
export interface UnexploredStatesReport {
  readonly experiment: string;
  readonly preset: string;
  readonly seed: number;
  /** Whether the run is a trial of all parts, with a handful of updates: then its numbers say nothing about models. */
  readonly trial?: true;
  /** What was trained; absent in older reports, which are of Mamba-2. */
  readonly model?: { readonly family: string; readonly parameters: number };
  /** Where the base comes from, if others trained it: then its training length is what the reader was told or took it for. */
  readonly origin?: { readonly checkpoint: string };
  /** Methods that the family refuses, and why. */
  readonly leftOut?: readonly { readonly method: Method; readonly why: string }[];
  /** T, in tokens. */
  readonly trainLength: number;
  /** What tokens are, where they are more than bytes. */
  readonly tokens?: TokenFacts;
  readonly tokensTrained: number;
  readonly seconds: number;
  readonly models: readonly ReportModel[];
  /** Recall models may be trained on a task of their own: kept apart from those that only read text. */
  readonly recall?: readonly { readonly method: Method; readonly results: readonly TaskAccuracy[] }[];
  /** T of Effective Remembrance. */
  readonly remembranceLength?: number;
  /** Held-out sequences behind each number. */
  readonly sequences?: number;
  readonly command?: string;
  readonly settings?: Settings;
  /** What is still being trained or measured, in words; absent when the reproduction is done. */
  readonly pending?: readonly string[];
}
