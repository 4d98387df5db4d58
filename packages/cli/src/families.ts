/** The model families that the command line knows. */
import { GCA_FAMILIES } from "@lenggen/gca";
import { modelFamilies } from "@lenggen/kernels";
import { RECURRENT_FAMILIES } from "@lenggen/recurrent";

export const MODELS = modelFamilies({ ...RECURRENT_FAMILIES, ...GCA_FAMILIES });
