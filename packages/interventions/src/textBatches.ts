/** Batches of a text for a run: in the order that its source of initial states needs, from the run's seed. */
import { type BatchSource, foldIn, type Key, key, type TokenOrder, type Tokens, type TokenSource } from "@lenggen/kernels";
import { contiguousStreams, independentWindows, keyAfter, type StreamOptions } from "./data";

/**
 * What a run draws from its seed, each from a stream of its own. The numbers are part of the format of runs: a resumed run draws the
 * same.
 */
const STREAMS = { parameters: 0, initialStates: 1, text: 2, samples: 8 } as const;

/** What a run draws, see {@link runKey}. */
export type RunStream = keyof typeof STREAMS;

/**
 * The key of what a run of this seed draws: fresh parameters, initial states, places in a text, or samples of a task. `base` is the hash of
 * the weights that it starts from (see {@link keyAfter}): post-training does not draw again what the base drew.
 */
export function runKey(seed: number, stream: RunStream, base?: string): Key {
  const from = base === undefined ? key(seed) : keyAfter(key(seed), base);
  return foldIn(from, STREAMS[stream]);
}

/** Options of {@link textBatches}. */
export interface TextBatchOptions extends Omit<StreamOptions, "key"> {
  /** That of the intervention: `findIntervention(name).order`. */
  readonly order: TokenOrder;
  /** Of the run. */
  readonly seed: number;
  /** The hash of the weights that the run starts from, where it is post-training. */
  readonly base?: string;
}

/**
 * Batches of a text in an order: windows at random places (`independent`), or streams side by side (`contiguous`), which start afresh at
 * each of `documents`. One seed gives the same ones for every intervention of that order, and for all runs from the same base; the command
 * line and pages take them from here, so that a run of one goes on in the other. Throws `E_TEXT` where the text is too short.
 */
export function textBatches(tokens: Tokens | TokenSource, options: TextBatchOptions): BatchSource {
  const { order, seed, base, microBatches, documents, ...windows } = options;
  const from = runKey(seed, "text", base);
  return order === "independent"
    ? independentWindows(tokens, { ...windows, key: from })
    : contiguousStreams(tokens, { ...windows, key: from, microBatches, documents });
}
