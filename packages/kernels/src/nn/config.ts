/**
 * Reading a model's configuration, a JSON object that nobody vouches for, by a description of its fields.
 *
 * What the description does not name is never dropped without a word. In a configuration that somebody wrote for lenggen it is refused,
 * with the field that was probably meant: a setting that is misspelt would else make another model than its author thinks. The
 * `config.json` of a published checkpoint is the work of a program, whose next version may add a field that changes nothing, and nobody
 * should have to edit files that they downloaded: there it is reported and ignored. What its programs are known to write beside the model's
 * own settings is listed in the description, and passes without a report in both.
 */
import { taggedNumbers } from "../configJson";
import { check, LenggenError } from "../errors";
import { nearest } from "../nearest";
import { quote } from "../strictJson";

/** What to do with fields that a description does not name: see the file's head. */
export interface ConfigOptions {
  /** `refuse` (`E_CONFIG`) unless given; `report` for the configurations of checkpoints. */
  readonly unknownFields?: "refuse" | "report";
  /** Takes what is reported; `console.warn` unless given. */
  readonly warn?: (message: string) => void;
}

/** What may stand in one place of a configuration. */
export interface Field<In, Out = In> {
  /** For messages, as in "expected a whole number from 1 to 64". */
  readonly expected: string;
  /** The value as the program has it, or undefined for one that may not stand there. */
  read(value: unknown, path: string, unknown: UnknownField[]): Out | undefined;
  /** Of values as they are given; it exists for the type alone. */
  readonly given?: In;
}

/** A field that may be left out. */
export interface OptionalField<In, Out> extends Field<In, Out> {
  readonly fallback: { readonly value: Out };
}

/** Fields by name. */
export type Fields = { readonly [name: string]: Field<unknown, unknown> };

type OptionalNames<F extends Fields> = { [K in keyof F]: F[K] extends OptionalField<unknown, unknown> ? K : never }[keyof F];
type Given<F> = F extends Field<infer In, unknown> ? In : never;
type Read<F> = F extends Field<unknown, infer Out> ? Out : never;

/** A configuration as it is given: what has a default may be left out. */
export type ConfigInput<F extends Fields> =
  { [K in Exclude<keyof F, OptionalNames<F>>]: Given<F[K]> } & { [K in OptionalNames<F>]?: Given<F[K]> };

/** A configuration as it is read: with every field. */
export type ConfigOutput<F extends Fields> = { readonly [K in keyof F]: Read<F[K]> };

interface UnknownField {
  readonly path: string;
  readonly guess: string;
}

const field = <In, Out = In>(expected: string, accepts: (value: unknown) => boolean): Field<In, Out> =>
  ({ expected, read: (value) => (accepts(value) ? (value as Out) : undefined) });

/** A whole number in a range, both ends included. */
export function wholeField({ from = 1, to }: { from?: number; to: number }): Field<number> {
  const accepts = (value: unknown) => Number.isInteger(value) && (value as number) >= from && (value as number) <= to;
  return field(`a whole number from ${from} to ${to}`, accepts);
}

/** Where a number may lie. */
export interface NumberRange {
  readonly above?: number;
  /** As `above`, but this number itself may stand there. */
  readonly from?: number;
  readonly to?: number;
  /** Whether it may be infinite. */
  readonly infinite?: boolean;
}

/** A number in a range: any finite one unless given. */
export function numberField({ above, from, to, infinite = false }: NumberRange = {}): Field<number> {
  const words = [["above", above], ["of at least", from], ["up to", to]].filter(([, bound]) => bound !== undefined);
  const inRange = (x: number) => x > (above ?? -Infinity) && x >= (from ?? -Infinity) && x <= (to ?? Infinity);
  return {
    expected: `a${infinite ? "" : " finite"} number${words.map(([word, bound]) => ` ${word} ${bound}`).join("")}`,
    read: (x) => (typeof x === "number" && (infinite || Number.isFinite(x)) && inRange(x) ? x : undefined),
  };
}

/** true or false. */
export function flagField(): Field<boolean> {
  return field("true or false", (value) => typeof value === "boolean");
}

/** One of some values; a single one for what a program can set and lenggen has in one way only. */
export function choiceField<const V extends string | number | boolean | null>(...values: readonly V[]): Field<V> {
  return field(values.map((value) => JSON.stringify(value)).join(" or "), (value) => values.includes(value as V));
}

/** A list of values of one kind. */
export function listField<In, Out>(
  item: Field<In, Out>, { from = 0, to }: { from?: number; to: number },
): Field<readonly In[], readonly Out[]> {
  return {
    expected: to === 0 ? "an empty list" : `a list of ${from} to ${to}, each ${item.expected}`,
    read: (value, path, unknown) => (Array.isArray(value) && value.length >= from && value.length <= to
      ? value.map((entry, i) => readField(item, entry, `${path}.${i}`, unknown)) : undefined),
  };
}

/** Two values. */
export function pairField<A, B, OutA, OutB>(first: Field<A, OutA>, second: Field<B, OutB>): Field<readonly [A, B], readonly [OutA, OutB]> {
  return {
    expected: "a list of two",
    read: (value, path, unknown) => (Array.isArray(value) && value.length === 2
      ? [readField(first, value[0], `${path}.0`, unknown), readField(second, value[1], `${path}.1`, unknown)] : undefined),
  };
}

/** A value, or null for another. */
export function nullableField<In, Out, N>(inner: Field<In, Out>, meant: N): Field<In | null, Out | N> {
  const { expected, read } = inner;
  return { expected: `${expected}, or null`, read: (value, path, unknown) => (value === null ? meant : read(value, path, unknown)) };
}

/** An object within the object; `ignored`: as in {@link readConfig}. */
export function sectionField<F extends Fields>(fields: F, ignored: readonly string[] = []): Field<ConfigInput<F>, ConfigOutput<F>> {
  return {
    expected: "an object",
    read: (value, path, unknown) => (isRecord(value) ? readFields(fields, ignored, value, `${path}.`, unknown) : undefined),
  };
}

/** A field that stands for `value` when it is left out. */
export function optionalField<In, Out>(inner: Field<In, Out>, value: NoInfer<Out>): OptionalField<In, Out> {
  return { expected: inner.expected, read: inner.read, fallback: { value } };
}

/**
 * Reads a configuration. `ignored`: fields that say nothing about the model and are known to stand there. Throws `E_CONFIG` naming the
 * field, what it must be and what it is, and for fields that are unknown, unless they are to be reported.
 */
export function readConfig<F extends Fields>(
  { fields, ignored = [] }: { fields: F; ignored?: readonly string[] }, json: unknown,
  { unknownFields = "refuse", warn = console.warn }: ConfigOptions = {},
): ConfigOutput<F> {
  const given = taggedNumbers(json);
  check(isRecord(given), "E_CONFIG", () => `config: expected an object, got ${shown(given)}`);
  const unknown: UnknownField[] = [];
  let read: ConfigOutput<F> | LenggenError;
  try {
    read = readFields(fields, ignored, given, "", unknown);
  } catch (error) {
    if (!(error instanceof LenggenError)) throw error;
    read = error;
  }
  // First, as a field that is missing is often one that was misspelt.
  const names = unknown.map(({ path, guess }) => `${path}${guess}`).join(", ");
  if (unknown.length > 0 && unknownFields === "refuse") {
    const [none, them] = unknown.length === 1 ? ["is no field", "it"] : ["are no fields", "them"];
    throw new LenggenError("E_CONFIG", `config: there ${none} ${names}; correct or remove ${them}`);
  }
  if (read instanceof LenggenError) throw read;
  if (unknown.length > 0) warn(`config: ignored what lenggen does not know: ${names}`);
  return read;
}

function readFields<F extends Fields>(
  fields: F, ignored: readonly string[], given: Record<string, unknown>, prefix: string, unknown: UnknownField[],
): ConfigOutput<F> {
  const names = Object.keys(fields);
  for (const name of Object.keys(given)) {
    // What is undefined is as good as not there: JSON has no such value.
    if (given[name] === undefined || Object.hasOwn(fields, name) || ignored.includes(name)) continue;
    const absent = names.filter((other) => given[other] === undefined);
    unknown.push({ path: `${prefix}${/^\w{1,80}$/.test(name) ? name : quote(name)}`, guess: nearest(name, absent) });
  }
  const read = names.map((name) => [name, readField(fields[name]!, given[name], `${prefix}${name}`, unknown)]);
  return Object.fromEntries(read) as ConfigOutput<F>;
}

function readField<In, Out>(described: Field<In, Out>, value: unknown, path: string, unknown: UnknownField[]): Out {
  if (value === undefined && "fallback" in described) return (described as OptionalField<In, Out>).fallback.value;
  check(value !== undefined, "E_CONFIG", () => `config: ${path} is missing; expected ${described.expected}`);
  const read = described.read(value, path, unknown);
  check(read !== undefined, "E_CONFIG", () => `config: ${path}: expected ${described.expected}, got ${shown(value)}`);
  return read;
}

const isRecord = (value: unknown): value is Record<string, unknown> => value !== null && typeof value === "object" && !Array.isArray(value);

function shown(value: unknown): string {
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (value !== null && typeof value === "object") return "an object";
  return typeof value === "string" ? quote(value) : String(value);
}
