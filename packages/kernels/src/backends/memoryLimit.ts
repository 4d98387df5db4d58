import { check } from "../errors";

/** The machine's memory, or what its control group grants, less 5%; 4 GiB where that can't be asked. */
async function defaultMemoryLimit(): Promise<number> {
  if (typeof process === "undefined" || !process.versions?.node) return 4 * 2 ** 30;
  const { totalmem } = await import("node:os");
  const total = totalmem();
  // 0 or a number beyond the machine's memory: there is no limit.
  const granted = process.constrainedMemory?.() ?? 0;
  return Math.floor((granted > 0 ? Math.min(granted, total) : total) * 0.95);
}

/** The limit that the user gave, checked, or the default. */
export async function memoryLimitFrom(given: number | undefined): Promise<number> {
  if (given === undefined) return defaultMemoryLimit();
  check(Number.isSafeInteger(given) && given >= 1, "E_ARGUMENT", () =>
    `memoryLimit must be a whole number of bytes of at least 1, not ${given}`);
  return given;
}
