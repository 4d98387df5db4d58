/** Which of the values in a pickle are the model's tensors, and what they are called. */
import { check } from "../errors";
import { quote } from "../strictJson";
import { TensorView } from "./names";
import { Dictionary } from "./pickle";

/** Keys under which programs that train save the model's tensors, beside those of the optimiser and other things. */
const INSIDE = ["state_dict", "model_state_dict", "model", "module"];
const DEEPEST = 16;
/** More characters than any tensor's name has. */
const LONGEST_NAME = 1024;
/** More tensors, and more dictionaries, than any model has. */
const MOST = 1 << 20;

/**
 * The tensors by name, in order: those of the dictionary itself, or of the one under `state_dict` or `model` in it where it has none.
 * Dictionaries inside join their keys by dots. Throws `E_FORMAT`.
 */
export function stateDictionary(value: unknown, what: string): ReadonlyMap<string, TensorView> {
  check(value instanceof Dictionary, "E_FORMAT", () => `${what}: holds ${kindOf(value)}, not a dictionary of tensors by their names`);
  const found = new Map<string, TensorView>();
  collect(modelIn(value), "", found, { what, dictionaries: 0, path: [] });
  check(found.size > 0, "E_FORMAT", () => `${what}: its dictionary holds no tensors; ${keysOf(value)}`);
  return found;
}

/** The dictionary with the model's tensors. */
function modelIn(top: Dictionary): Dictionary {
  let at = top;
  for (let depth = 0; depth < DEEPEST; depth++) {
    if ([...at.values()].some((value) => value instanceof TensorView)) return at;
    const inside = INSIDE.map((key) => at.get(key)).find((value) => value instanceof Dictionary);
    if (!inside) return at;
    at = inside;
  }
  return at;
}

interface Collecting {
  readonly what: string;
  dictionaries: number;
  /** The dictionaries that lead to this one. */
  readonly path: Dictionary[];
}

function collect(dictionary: Dictionary, prefix: string, found: Map<string, TensorView>, state: Collecting): void {
  const { what, path } = state;
  check(!path.includes(dictionary), "E_FORMAT", () => `${what}: the dictionary at ${quote(prefix)} holds itself`);
  check(path.length < DEEPEST, "E_FORMAT", () => `${what}: has dictionaries more than ${DEEPEST} deep in each other, at ${quote(prefix)}`);
  state.dictionaries++;
  path.push(dictionary);
  for (const [key, value] of dictionary) {
    const isTensor = value instanceof TensorView;
    if (!isTensor && !(value instanceof Dictionary)) continue;
    check(typeof key === "string" || typeof key === "number", "E_FORMAT", () =>
      `${what}: its dictionary ${quote(prefix)} has ${kindOf(key)} as a key in the place of a name`);
    check(prefix.length + String(key).length <= LONGEST_NAME, "E_FORMAT",
      () => `${what}: has a name of more than ${LONGEST_NAME} characters, at ${quote(prefix)}`);
    const name = `${prefix}${key}`;
    check(!name.includes("\u0000"), "E_FORMAT", () => `${what}: has the name ${quote(name)}, with a NUL in it`);
    check(found.size + state.dictionaries < MOST, "E_FORMAT", () => `${what}: holds more than ${MOST} tensors and dictionaries`);
    if (!isTensor) {
      collect(value, `${name}.`, found, state);
      continue;
    }
    check(!found.has(name), "E_FORMAT", () => `${what}: two tensors are named ${quote(name)}`);
    found.set(name, value);
  }
  path.pop();
}

function keysOf(dictionary: Dictionary): string {
  const names = [...dictionary.keys()].filter((key) => typeof key === "string");
  return names.length === 0 ? "it has no named entries"
    : `it has ${names.slice(0, 8).map(quote).join(", ")}${names.length > 8 ? ", ..." : ""}`;
}

function kindOf(value: unknown): string {
  if (value === null || typeof value !== "object") return `a ${value === null ? "None" : typeof value}`;
  return value instanceof TensorView ? "one tensor" : Array.isArray(value) ? "a list" : "something else";
}
