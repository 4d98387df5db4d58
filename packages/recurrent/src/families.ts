/** The families of this package, for a registry (`modelFamilies`). A new family is one line here. */
import type { ModelFamily } from "@lenggen/kernels";
import { gatedDeltaNet, loadGatedDeltaNet } from "./gatedDeltaNet/model";
import { GATED_DELTANET_PRESETS } from "./gatedDeltaNet/presets";
import { gla, loadGla } from "./gla/model";
import { GLA_PRESETS } from "./gla/presets";
import { hybrid, loadHybrid } from "./hybrid/model";
import { HYBRID_PRESETS } from "./hybrid/presets";
import { loadMamba } from "./mamba/files";
import { mamba } from "./mamba/model";
import { MAMBA_PRESETS } from "./mamba/presets";
import { loadMamba2 } from "./mamba2/files";
import { mamba2 } from "./mamba2/model";
import { MAMBA2_PRESETS } from "./mamba2/presets";
import { loadMamba3, mamba3 } from "./mamba3/model";
import { MAMBA3_PRESETS } from "./mamba3/presets";
import { loadRwkv6 } from "./rwkv6/files";
import { rwkv6 } from "./rwkv6/model";
import { RWKV6_PRESETS } from "./rwkv6/presets";
import { loadRwkv7 } from "./rwkv7/files";
import { rwkv7 } from "./rwkv7/model";
import { RWKV7_PRESETS } from "./rwkv7/presets";
import { ssmLayer } from "./ssmLayer";

/** Families by the `model_type` of their configurations. */
export const RECURRENT_FAMILIES = {
  gated_deltanet: { presets: GATED_DELTANET_PRESETS, make: gatedDeltaNet, load: loadGatedDeltaNet },
  gla: { presets: GLA_PRESETS, make: gla, load: loadGla },
  hybrid: { presets: HYBRID_PRESETS, make: hybrid, load: loadHybrid },
  mamba: { presets: MAMBA_PRESETS, untyped: (json) => ssmLayer(json) === "Mamba1", make: mamba, load: loadMamba },
  mamba2: { presets: MAMBA2_PRESETS, untyped: (json) => ssmLayer(json) === "Mamba2", make: mamba2, load: loadMamba2 },
  mamba3: { presets: MAMBA3_PRESETS, untyped: (json) => ssmLayer(json) === "Mamba3", make: mamba3, load: loadMamba3 },
  rwkv6: { presets: RWKV6_PRESETS, make: rwkv6, load: loadRwkv6 },
  rwkv7: { presets: RWKV7_PRESETS, make: rwkv7, load: loadRwkv7 },
} as const satisfies Readonly<Record<string, ModelFamily>>;
