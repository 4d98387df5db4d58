/**
 * What an experiment is to `lenggen reproduce`: presets, a run from beginning to end, and what comes out of it on the way and in the end.
 */
import type { LineChart, Method } from "@lenggen/evals";
import type { Device, SequenceModel } from "@lenggen/kernels";

export interface ReproductionInput {
  /** One of the experiment's. */
  readonly preset: string;
  readonly seed: number;
  /** The model to train in the place of the experiment's own, with the name that it was given by. */
  readonly chosen?: { readonly name: string; readonly model: SequenceModel };
  /** A checkpoint that others trained, as the user named it, and where it is. */
  readonly checkpoint?: { readonly name: string; readonly place: string };
  /** Texts in the place of the preset's. */
  readonly text?: string;
  readonly heldOut?: string;
  /** Of those that are records, the field that is the text. */
  readonly field?: string;
  /** What makes tokens of the texts, as the user named it; the checkpoint's own unless given. */
  readonly tokenizer?: string;
  /** Tokens per sequence that the checkpoint was trained on, and is trained on with here. */
  readonly trainLength?: number;
  /** What the checkpoint is trained on with. */
  readonly methods?: readonly Method[];
  /** Everything goes here; what an interrupted run left in it is used. */
  readonly folder: string;
  /** Train even where a checkpoint is committed. */
  readonly fromScratch: boolean;
  /** Do the part of these models alone; all unless given. */
  readonly only?: readonly string[];
  readonly device: Device;
  readonly signal: AbortSignal;
  /** A line for people. */
  readonly note: (line: string) => void;
  /** Shows what has come out so far: `done` says of what, in words. */
  readonly show: (view: View, done: string) => Promise<void>;
}

/** What people see of an experiment, also before it is done. */
export interface View {
  /** The report as an HTML document. */
  readonly page: string;
  /** What the terminal shows. */
  readonly chart?: LineChart;
}

export interface Reproduced extends View {
  /** The contents of `report.json`. */
  readonly report: object;
  /** The last lines: what was done, what came out, and where the report is. */
  summary(place: string): string[];
}

/** What an experiment may be asked for beside its preset and seed: options of the command, by their names in {@link ReproductionInput}. */
export type Choice = "chosen" | "checkpoint" | "text" | "heldOut" | "field" | "tokenizer" | "trainLength" | "methods";

export interface Experiment {
  readonly summary: string;
  /** What it takes, and what it can't do without. */
  readonly takes: readonly Choice[];
  readonly needs?: Choice;
  readonly presets: readonly string[];
  /** Models of a preset that don't need each other, so that processes may share them; absent where they do. */
  models?(preset: string): readonly string[];
  /** Throws for a model that the experiment can't be done with; absent where it takes none. */
  accepts?(model: SequenceModel): void;
  /** Throws `E_INTERRUPTED` when the signal came; what is done stays on disk. */
  run(input: ReproductionInput): Promise<Reproduced>;
}
