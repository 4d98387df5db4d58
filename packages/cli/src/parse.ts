/** Parsers of option values. Each throws a {@link UsageError} that names the option and what would be right. */
import { nearest } from "@lenggen/kernels";
import { UsageError } from "./usage";

const UNITS: Readonly<Record<string, number>> = { "": 1, k: 1024, m: 1024 ** 2 };

/** One length: 256, 4k (4096), 1M (1048576). */
export function parseLength(text: string, option: string): number {
  const match = /^(\d+(?:\.\d+)?)([kKmM]?)$/.exec(text.trim());
  const length = match ? Number(match[1]) * UNITS[match[2]!.toLowerCase()]! : Number.NaN;
  if (!Number.isSafeInteger(length) || length < 1) {
    throw new UsageError(`${option}: "${text}" is not a length; give a whole number of at least 1, such as 256, 4k (4096) or 1M (1048576)`);
  }
  return length;
}

/** Lengths separated by commas, sorted, without repeats. */
export function parseLengths(text: string, option: string): number[] {
  return [...new Set(text.split(",").map((part) => parseLength(part, option)))].sort((a, b) => a - b);
}

/** A whole number within a range. */
export function wholeNumber(option: string, minimum: number, maximum = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const value = /^\d+$/.test(text.trim()) ? Number(text) : Number.NaN;
    if (!(value >= minimum && value <= maximum)) {
      const range = maximum === Number.MAX_SAFE_INTEGER ? `of at least ${minimum}` : `from ${minimum} to ${maximum}`;
      throw new UsageError(`${option}: "${text}" is not a whole number ${range}`);
    }
    return value;
  };
}

/** A finite number within a range, ends included unless `above` is given. */
export function realNumber(option: string, range: { minimum?: number; maximum?: number; above?: number }): (text: string) => number {
  return (text) => {
    const value = text.trim() === "" ? Number.NaN : Number(text);
    const { minimum = -Infinity, maximum = Infinity, above = -Infinity } = range;
    if (!Number.isFinite(value) || value < minimum || value > maximum || value <= above) {
      throw new UsageError(`${option}: "${text}" is not a number${rangeInWords(range)}`);
    }
    return value;
  };
}

/** " from 0 to 1", " above 0 and at most 1", " of at least 0". */
function rangeInWords({ minimum, maximum, above }: { minimum?: number; maximum?: number; above?: number }): string {
  if (above !== undefined) return ` above ${above}${maximum === undefined ? "" : ` and at most ${maximum}`}`;
  if (minimum === undefined) return maximum === undefined ? "" : ` of at most ${maximum}`;
  return maximum === undefined ? ` of at least ${minimum}` : ` from ${minimum} to ${maximum}`;
}

/** One of some names; an unknown one is answered with the nearest. */
export function oneOf<T extends string>(what: string, names: readonly T[]): (text: string) => T {
  return (text) => {
    const found = names.find((name) => name === text);
    if (found === undefined) {
      throw new UsageError(`no ${what} is named "${text}"${nearest(text, names)}; there are ${names.join(", ")}`, "E_UNKNOWN_NAME");
    }
    return found;
  };
}

/** A text for an option that may be given several times; the empty one is refused. */
export function texts(option: string): (text: string, before: readonly string[]) => readonly string[] {
  return (text, before) => {
    if (text === "") throw new UsageError(`${option}: the text is empty; give at least one character`);
    return [...before, text];
  };
}
