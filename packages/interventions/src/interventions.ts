/** The table of interventions. Adding one is a file in sources/ and a line here. */
import { entryNamed, type SequenceModel } from "@lenggen/kernels";
import type { InitialStates, Intervention } from "./initialStates";
import type { JsonRecord } from "./json";
import { fittedNoise } from "./sources/fittedNoise";
import { randomNoise } from "./sources/randomNoise";
import { statePassing } from "./sources/statePassing";
import { tbtt } from "./sources/tbtt";
import { zero } from "./sources/zero";

/** Every intervention by name. A new one is a file in `sources` and a line here. */
export const INTERVENTIONS = {
  zero,
  "random-noise": randomNoise,
  "fitted-noise": fittedNoise,
  "state-passing": statePassing,
  tbtt,
} as const;

/** A name in {@link INTERVENTIONS}. */
export type InterventionName = keyof typeof INTERVENTIONS;

/**
 * The intervention of that name with options that are not known at compile time, e.g. from a command line. Throws
 * `E_UNKNOWN_NAME` with the nearest name, `E_CONFIG` for wrong options.
 */
export function createIntervention(name: string, model: SequenceModel, options: JsonRecord = {}): InitialStates {
  return findIntervention(name).create(model, options);
}

/** A line of the table, with its options untyped. Throws `E_UNKNOWN_NAME`. */
export function findIntervention(name: string): Intervention<JsonRecord> {
  return entryNamed<Intervention<JsonRecord>>("intervention", INTERVENTIONS, name);
}
