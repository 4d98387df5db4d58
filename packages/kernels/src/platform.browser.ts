/** Takes the place of platform.ts in bundles for the browser: the same names, without what only Node has. */
import type { Backend } from "./device";
import { LenggenError } from "./errors";
import type * as node from "./platform";

const REASON = "the CPU device needs Node; it does not run in a browser";

export const cpu: Backend = {
  kind: "cpu",
  probe: async () => ({ name: "cpu", available: false, reason: REASON, details: {} }),
  open: () => Promise.reject(new LenggenError("E_DEVICE_UNAVAILABLE", `device cpu can't be opened: ${REASON}`)),
};

/** There is none: a browser has its own WebGPU or goes without. */
export const dawn: typeof node.dawn = undefined;
