/**
 * `report.json` of `reproduce gca-retrieval`. The fields up to `streaming`, the first three of a model, the first six of a cell and the
 * first five of a point of streaming are a format that other programs rely on; more may stand beside them.
 */
import type { Retriever } from "../methods";
import type { Interval } from "../statistics";
import type { ReportLoss, Settings } from "./types";

/** Answers to one task at one length and depth. */
export interface RetrievalCell {
  readonly task: string;
  /** Tokens of the prompt, or of the stream that several questions were put to. */
  readonly length: number;
  /** Middle of the stretch in which what is asked for stands: 0 at the start, 1 at the end. */
  readonly depth: number;
  readonly samples: number;
  /** Share of answers that were generated exactly. */
  readonly accuracy: number;
  /** Whether the question's last token was the first of a chunk; if not, it stood anywhere and the running chunk was closed early. */
  readonly aligned: boolean;
  readonly correct: number;
  readonly ci95: Interval;
  /** Mean share of right characters, generated. */
  readonly characters: number;
  /** Mean share of the answer's tokens that are the likeliest, given the right ones before. */
  readonly teacherForced: number;
  /** Mean loss of the right answer, teacher-forced, in bits per token. */
  readonly answerBits: number;
  /** Questions put to one text, each from the state that it ends in; so many names are to be told apart. */
  readonly perStream: number;
}

/** Losses on held-out text. */
export interface TextLosses {
  /** Per length L asked for, over positions (L/2, L]. */
  readonly lossByLength?: readonly ReportLoss[];
  readonly lossByPosition?: readonly ReportLoss[];
}

/** Everything measured of one model; its losses are those of the model that was trained to answer. */
export interface RetrievalModel extends TextLosses {
  readonly method: Retriever;
  /** How many. */
  readonly parameters: number;
  readonly retrieval: readonly RetrievalCell[];
  readonly steps?: number;
  readonly tokensTrained?: number;
  /** Of training. */
  readonly seconds?: number;
  /** The same model trained on text alone, for as long as the other models. */
  readonly reading?: TextLosses & { readonly steps: number; readonly tokensTrained: number; readonly seconds: number };
  /** Training steps on sequences of each length. */
  readonly trainingSpeed?: readonly { readonly length: number; readonly batch: number; readonly tokensPerSecond: number }[];
  readonly settings?: Settings;
}

/** What reading one long stream took when it had come to a length. */
export interface StreamingPoint {
  readonly length: number;
  /** Over the last eighth of the stream so far. */
  readonly tokensPerSecond: number;
  /** Memory of the whole process, without what waits to be collected. */
  readonly residentBytes: number;
  /** Tensors on the device. */
  readonly deviceBytes: number;
  readonly diskBytes: number;
  /** The landmarks' own size, which is part of deviceBytes. */
  readonly landmarkBytes?: number;
  /** Memory of the whole process with garbage and all, the most since the point before. */
  readonly mostResidentBytes?: number;
}

/** What `report.json` holds. */
export interface GcaRetrievalReport {
  readonly experiment: string;
  readonly preset: string;
  readonly seed: number;
  /** Longest sequences of training, in tokens. */
  readonly trainLength: number;
  readonly seconds: number;
  readonly models: readonly RetrievalModel[];
  readonly streaming: readonly StreamingPoint[];
  /** Which model read the stream, where its memory lay, and how long it took to the end. */
  readonly stream?: { readonly method: Retriever; readonly tier: string; readonly seconds: number };
  readonly tokensTrained?: number;
  /** Tokens of a chunk. */
  readonly chunk?: number;
  /** Held-out sequences behind the losses, and behind those of the models trained on text alone. */
  readonly sequences?: number;
  readonly readingSequences?: number;
  readonly command?: string;
  readonly device?: string;
  /** What was measured; how the models were made and trained stands with each. */
  readonly settings?: Settings;
  /** What is still being trained or measured, in words; absent when the reproduction is done. */
  readonly pending?: readonly string[];
}
