/** Stands in for the CPU device where Node is not: bundles for the browser hold this and none of its code. */
import type { Backend } from "../../device";
import { LenggenError } from "../../errors";
import type { measureCeiling as measure } from "./ceiling";

const REASON = "the CPU device needs Node; it does not run in a browser";

export const cpu: Backend = {
  kind: "cpu",
  probe: async () => ({ name: "cpu", available: false, reason: REASON, details: {} }),
  open: () => Promise.reject(new LenggenError("E_DEVICE_UNAVAILABLE", `device cpu can't be opened: ${REASON}`)),
};

/** See measureCeiling in ceiling.ts. */
export const measureCeiling: typeof measure = (device) =>
  Promise.reject(new LenggenError("E_DEVICE", `measureCeiling: device ${device.kind} has no ceiling to measure; ${REASON}`));
