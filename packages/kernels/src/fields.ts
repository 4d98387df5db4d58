/** Tensors by name: what goes into an op and comes out of it. */
import type { Tensor } from "./tensor";

/** A tensor, null where it may be left out (a bias, an initial state), or a list. */
export type Field = Tensor | null | readonly Tensor[];

/** Named tensors. */
export type Fields = Readonly<Record<string, Field>>;

/** Whether a field is a list. */
export function isList(field: unknown): field is readonly unknown[] {
  return Array.isArray(field);
}

/** The same names with what `f` makes of each value; of each item where it is a list. */
export function mapFields<Value, Result>(
  fields: Readonly<Record<string, Value | readonly Value[]>>, f: (value: Value) => Result,
): Record<string, Result | Result[]> {
  const results: Record<string, Result | Result[]> = {};
  for (const name in fields) {
    const field = fields[name]!;
    results[name] = isList(field) ? field.map((value) => f(value)) : f(field);
  }
  return results;
}
