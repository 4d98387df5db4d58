/** What a run that fails says: what was being done, and the last good checkpoint. */
import { check, type ErrorCode, LenggenError } from "@lenggen/kernels";
import type { RunStore } from "./runStore";

/** How far a run has come, for its errors. */
export interface Whereabouts {
  /** What is being done, in words. */
  doing: string;
  /** Step of the newest checkpoint. */
  saved: number | undefined;
}

/** Throws `E_NOT_FINITE` with the last good checkpoint unless the condition holds. */
export function checkFinite(finite: boolean, what: string, at: Whereabouts, store: RunStore | undefined): void {
  check(finite, "E_NOT_FINITE", () =>
    `${what}: training has diverged; a lower learning rate or more warm-up may help; ${lastGood(at, store)}`);
}

/** Codes of errors that come from below and know nothing of the run. */
const FROM_BELOW: ReadonlySet<ErrorCode> = new Set<ErrorCode>(["E_DEVICE", "E_DEVICE_LOST", "E_MEMORY", "E_SHADER", "E_IO"]);

/** An error of the device or of the files with what was being done and, once the run is on its way, what is left; others as they are. */
export function located(error: unknown, at: Whereabouts, started: boolean, store: RunStore | undefined): unknown {
  if (!(error instanceof LenggenError && FROM_BELOW.has(error.code))) return error;
  const left = started || at.saved !== undefined ? `; ${lastGood(at, store)}` : "";
  return new LenggenError(error.code, `${at.doing}: ${error.message}${left}`, { cause: error });
}

function lastGood({ saved }: Whereabouts, store: RunStore | undefined): string {
  return store === undefined || saved === undefined
    ? "no checkpoint was kept"
    : `the last good checkpoint is ${store.checkpointPath(saved)} (step ${saved})`;
}
