/** The table of optimisers. Adding one is a file in optimizers/ and a line here. */
import { entryNamed, type SequenceModel } from "@lenggen/kernels";
import type { JsonRecord } from "./json";
import type { Optimizer, OptimizerFamily } from "./optimizer";
import { adamWOptimizer } from "./optimizers/adamW";
import { muonOptimizer } from "./optimizers/muon";

/** Every optimiser by name. A new one is a file in `optimizers` and a line here. */
export const OPTIMIZERS = { adamw: adamWOptimizer, muon: muonOptimizer } as const;

/** A name in {@link OPTIMIZERS}. */
export type OptimizerName = keyof typeof OPTIMIZERS;

/**
 * The optimiser of that name with options that are not known at compile time, e.g. from a command line. Throws `E_UNKNOWN_NAME` with the
 * nearest name, `E_CONFIG` for wrong options.
 */
export function createOptimizer(name: string, model: SequenceModel, options: JsonRecord = {}): Optimizer {
  return findOptimizer(name).create(model, options);
}

/** A line of the table, with its options untyped. Throws `E_UNKNOWN_NAME`. */
export function findOptimizer(name: string): OptimizerFamily<JsonRecord> {
  return entryNamed<OptimizerFamily<JsonRecord>>("optimiser", OPTIMIZERS, name);
}
