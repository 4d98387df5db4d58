/** The families of this package, for a registry (`modelFamilies`). A new family is one line here. */
import type { ModelFamily } from "@lenggen/kernels";
import { drt } from "./drt/model";
import { DRT_PRESETS } from "./drt/presets";
import { loadDrt, loadTransformer } from "./files";
import { transformer } from "./transformer/model";
import { TRANSFORMER_PRESETS } from "./transformer/presets";

/** Families by the `model_type` of their configurations. */
export const GCA_FAMILIES = {
  drt: { presets: DRT_PRESETS, make: drt, load: loadDrt },
  transformer: { presets: TRANSFORMER_PRESETS, make: transformer, load: loadTransformer },
} as const satisfies Readonly<Record<string, ModelFamily>>;
