/** Checks that several measures and tasks make. */
import { check } from "@lenggen/kernels";

/** Throws `E_ARGUMENT` unless a value is a whole number of at least `least`. */
export function checkWhole(what: string, value: number, least = 1): void {
  check(Number.isInteger(value) && value >= least, "E_ARGUMENT", () => `${what} must be a whole number of at least ${least}, not ${value}`);
}
