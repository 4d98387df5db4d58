/** Tables by name, and suggestions for a name that was mistyped. */
import { check } from "./errors";

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)));
    }
    row = next;
  }
  return row[b.length]!;
}

/** A suggestion for an error message, ` (did you mean "cpu"?)`, or nothing when no name is near. */
export function nearest(given: string, names: readonly string[]): string {
  const word = String(given).slice(0, 64).toLowerCase();
  const ranked = names.map((name) => ({ name, distance: editDistance(word, name.toLowerCase()) })).sort((a, b) => a.distance - b.distance);
  const best = ranked[0];
  return best && best.distance <= Math.max(2, Math.floor(best.name.length / 2)) ? ` (did you mean "${best.name}"?)` : "";
}

/**
 * The entry of that name. Throws `E_UNKNOWN_NAME` with the nearest name and all that there are; `what` says what the entries are: a task.
 */
export function entryNamed<Entry>(what: string, table: Readonly<Record<string, Entry>>, name: string): Entry {
  const names = Object.keys(table);
  check(Object.hasOwn(table, name), "E_UNKNOWN_NAME", () =>
    `no ${what} is named "${name}"${nearest(name, names)}; there are ${names.join(", ")}`);
  return table[name]!;
}
