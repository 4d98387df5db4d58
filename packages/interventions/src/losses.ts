/** The table of losses. Adding one is a file in losses/ and a line here. */
import { entryNamed, type SequenceModel } from "@lenggen/kernels";
import type { JsonRecord } from "./json";
import type { Loss, LossFamily } from "./loss";
import { crossEntropyLoss } from "./losses/crossEntropy";
import { stateNormLoss } from "./losses/stateNorm";

/** Every loss by name. A new one is a file in `losses` and a line here. */
export const LOSSES = { "cross-entropy": crossEntropyLoss, "state-norm": stateNormLoss } as const;

/** A name in {@link LOSSES}. */
export type LossName = keyof typeof LOSSES;

/**
 * The loss of that name with options that are not known at compile time, e.g. from a command line. Throws `E_UNKNOWN_NAME` with the nearest
 * name, `E_CONFIG` for wrong options.
 */
export function createLoss(name: string, model: SequenceModel, options: JsonRecord = {}): Loss {
  return findLoss(name).create(model, options);
}

/** A line of the table, with its options untyped. Throws `E_UNKNOWN_NAME`. */
export function findLoss(name: string): LossFamily<JsonRecord> {
  return entryNamed<LossFamily<JsonRecord>>("loss", LOSSES, name);
}
