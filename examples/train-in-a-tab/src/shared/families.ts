/** What a configuration or a checkpoint may be of: for the worker, as the page itself has no model. */
import { modelFamilies } from "@lenggen/kernels";
import { RECURRENT_FAMILIES } from "@lenggen/recurrent";

export const FAMILIES = modelFamilies(RECURRENT_FAMILIES);
