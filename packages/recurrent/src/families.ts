/** The families of this package, for a registry (`modelFamilies`). A new family is one line here. */
import type { ModelFamily } from "@lenggen/kernels";
import { gatedDeltaNetFromShapes, glaFromShapes } from "./fla/shapes";
import { gatedDeltaNet, loadGatedDeltaNet } from "./gatedDeltaNet/model";
import { GATED_DELTANET_PRESETS } from "./gatedDeltaNet/presets";
import { gla, loadGla } from "./gla/model";
import { GLA_PRESETS } from "./gla/presets";
import { hybrid, loadHybrid } from "./hybrid/model";
import { HYBRID_PRESETS } from "./hybrid/presets";
import { loadMamba } from "./mamba/files";
import { mamba } from "./mamba/model";
import { MAMBA_PRESETS } from "./mamba/presets";
import { mambaFromShapes } from "./mamba/shapes";
import { loadMamba2 } from "./mamba2/files";
import { mamba2 } from "./mamba2/model";
import { MAMBA2_PRESETS } from "./mamba2/presets";
import { mamba2FromShapes } from "./mamba2/shapes";
import { MAMBA3_LAYOUTS } from "./mamba3/config";
import { loadMamba3, mamba3 } from "./mamba3/model";
import { MAMBA3_PRESETS } from "./mamba3/presets";
import { mamba3FromShapes } from "./mamba3/shapes";
import { MAMBA_LAYOUTS } from "./mambaFiles";
import { RWKV_LAYOUTS } from "./rwkv/layouts";
import { loadRwkv6, rwkv6InFile } from "./rwkv6/files";
import { rwkv6 } from "./rwkv6/model";
import { RWKV6_PRESETS } from "./rwkv6/presets";
import { rwkv6FromShapes } from "./rwkv6/shapes";
import { loadRwkv7, rwkv7InFile } from "./rwkv7/files";
import { rwkv7 } from "./rwkv7/model";
import { RWKV7_PRESETS } from "./rwkv7/presets";
import { rwkv7FromShapes } from "./rwkv7/shapes";
import { ssmLayer } from "./ssmLayer";

/** Families by the `model_type` of their configurations. */
export const RECURRENT_FAMILIES = {
  gated_deltanet: {
    presets: GATED_DELTANET_PRESETS, layouts: ["fla"], fromShapes: gatedDeltaNetFromShapes, make: gatedDeltaNet, load: loadGatedDeltaNet,
  },
  gla: { presets: GLA_PRESETS, layouts: ["fla"], fromShapes: glaFromShapes, make: gla, load: loadGla },
  hybrid: { presets: HYBRID_PRESETS, make: hybrid, load: loadHybrid },
  mamba: {
    presets: MAMBA_PRESETS, layouts: MAMBA_LAYOUTS, untyped: (json) => ssmLayer(json) === "Mamba1", fromShapes: mambaFromShapes,
    make: mamba, load: loadMamba,
  },
  mamba2: {
    presets: MAMBA2_PRESETS, layouts: MAMBA_LAYOUTS, untyped: (json) => ssmLayer(json) === "Mamba2", fromShapes: mamba2FromShapes,
    make: mamba2, load: loadMamba2,
  },
  mamba3: {
    presets: MAMBA3_PRESETS, layouts: MAMBA3_LAYOUTS, untyped: (json) => ssmLayer(json) === "Mamba3", fromShapes: mamba3FromShapes,
    make: mamba3, load: loadMamba3,
  },
  rwkv6: {
    presets: RWKV6_PRESETS, layouts: RWKV_LAYOUTS, fromShapes: rwkv6FromShapes, make: rwkv6, inFile: rwkv6InFile, load: loadRwkv6,
  },
  rwkv7: {
    presets: RWKV7_PRESETS, layouts: RWKV_LAYOUTS, fromShapes: rwkv7FromShapes, make: rwkv7, inFile: rwkv7InFile, load: loadRwkv7,
  },
} as const satisfies Readonly<Record<string, ModelFamily>>;
