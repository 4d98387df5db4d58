/** What the figure trains, in the page and when its numbers were recorded. */
import type { InterventionName } from "@lenggen/interventions";

/** Training lengths to choose from, in bytes. */
export const LENGTHS = [16, 32, 64, 128, 256] as const;
/** The one that a reader sees first; the other figures read with the models of this length. */
export const FIRST_LENGTH = 64;

/** How the trained model is trained on. `zero` is more of the same. */
export const WAYS = ["zero", "random-noise", "fitted-noise", "state-passing", "tbtt"] as const satisfies readonly InterventionName[];

export type Way = (typeof WAYS)[number];

/** How far the loss is measured, in bytes. */
export const REACH = 4096;
