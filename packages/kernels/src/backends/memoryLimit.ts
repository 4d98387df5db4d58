import { check } from "../errors";

/**
 * What the machine, or the process's control group, has available now, less 5%: what other programs hold is not ours, and asking for
 * it would get some program killed. 4 GiB where that can't be asked.
 */
function defaultMemoryLimit(): number {
  if (typeof process === "undefined" || !process.versions?.node) return 4 * 2 ** 30;
  return Math.floor(process.availableMemory() * 0.95);
}

/** The limit that the user gave, checked, or the default. */
export async function memoryLimitFrom(given: number | undefined): Promise<number> {
  if (given === undefined) return defaultMemoryLimit();
  check(Number.isSafeInteger(given) && given >= 1, "E_ARGUMENT", () =>
    `memoryLimit must be a whole number of bytes of at least 1, not ${given}`);
  return given;
}
