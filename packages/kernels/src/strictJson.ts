/**
 * A JSON reader for files that nobody vouches for. Beyond the grammar (RFC 8259) it refuses repeated keys, which
 * readers disagree about, and nesting beyond a bound. Objects have no prototype, so that keys such as
 * `__proto__` are names like any other. On request it reads the numbers that Python's json writes and JSON has not.
 */
import { check, LenggenError } from "./errors";

/** What JSON can hold. */
export type Json = null | boolean | number | string | readonly Json[] | JsonObject;
/** A JSON object. */
export type JsonObject = { readonly [key: string]: Json };

/** Bounds for text that nobody vouches for. */
export interface JsonLimits {
  /** Deepest nesting of objects and arrays; 64 unless given. */
  readonly maxDepth?: number;
  /** Whether `NaN`, `Infinity` and `-Infinity` are numbers, as Python's json writes and reads them; false unless given. */
  readonly nonFinite?: boolean;
}

/** Text for error messages: quoted, control characters escaped, and not too long. */
export function quote(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
}

/** Reads JSON in UTF-8. Throws `E_FORMAT` that begins with `what` and says where the text goes wrong. */
export function parseJsonBytes(bytes: Uint8Array, what: string, limits: JsonLimits = {}): Json {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    throw new LenggenError("E_FORMAT", `${what}: is not valid UTF-8 text`, { cause: error });
  }
  return parseJson(text, what, limits);
}

/** Reads JSON text. Throws `E_FORMAT` that begins with `what` and says where the text goes wrong. */
export function parseJson(text: string, what: string, { maxDepth = 64, nonFinite = false }: JsonLimits = {}): Json {
  return new Parser(text, what, maxDepth, nonFinite).document();
}

/** Whether a value is an object (not null, not a list). */
export function isJsonObject(value: Json | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

const WORDS: ReadonlyMap<string, Json> = new Map<string, Json>([["true", true], ["false", false], ["null", null]]);
const NON_FINITE = /NaN|-?Infinity/y;

class Parser {
  #at = 0;
  constructor(readonly text: string, readonly what: string, readonly maxDepth: number, readonly nonFinite: boolean) {}

  document(): Json {
    const value = this.#value(0);
    this.#space();
    if (this.#at < this.text.length) this.#fail("the end of the text");
    return value;
  }

  #fail(expected: string): never {
    const found = this.#at < this.text.length ? quote(this.text.slice(this.#at, this.#at + 12)) : "the end of the text";
    throw new LenggenError("E_FORMAT", `${this.what}: not valid JSON at character ${this.#at}: found ${found}, expected ${expected}`);
  }

  #space(): void {
    this.#match(/[ \t\n\r]*/y);
  }

  /** The text that a sticky pattern matches here, or undefined. */
  #match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.text)?.[0];
    if (found !== undefined) this.#at += found.length;
    return found;
  }

  #take(mark: string): boolean {
    this.#space();
    if (this.text[this.#at] !== mark) return false;
    this.#at++;
    return true;
  }

  #value(depth: number): Json {
    check(depth <= this.maxDepth, "E_FORMAT", () =>
      `${this.what}: nested more than ${this.maxDepth} deep at character ${this.#at}`);
    this.#space();
    switch (this.text[this.#at]) {
      case "{":
        return this.#object(depth);
      case "[":
        return this.#list(depth);
      case '"':
        return this.#string();
      default: // a word or a number, or nothing of JSON: below
    }
    const word = this.#match(/true|false|null/y);
    if (word !== undefined) return WORDS.get(word)!;
    const number = (this.nonFinite ? this.#match(NON_FINITE) : undefined)
      ?? this.#match(/-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y);
    if (number === undefined) this.#fail("a value");
    return Number(number);
  }

  #object(depth: number): JsonObject {
    const object = Object.create(null) as Record<string, Json>;
    this.#at++;
    if (this.#take("}")) return object;
    do {
      this.#space();
      const key = this.text[this.#at] === '"' ? this.#string() : this.#fail("a quoted key");
      check(!(key in object), "E_FORMAT", () => `${this.what}: key ${quote(key)} appears twice in one object`);
      if (!this.#take(":")) this.#fail('":"');
      object[key] = this.#value(depth + 1);
    } while (this.#take(","));
    if (!this.#take("}")) this.#fail('"," or "}"');
    return object;
  }

  #list(depth: number): Json[] {
    const list: Json[] = [];
    this.#at++;
    if (this.#take("]")) return list;
    do list.push(this.#value(depth + 1));
    while (this.#take(","));
    if (!this.#take("]")) this.#fail('"," or "]"');
    return list;
  }

  #string(): string {
    const start = this.#at++;
    for (;;) {
      // Runs of ordinary characters and escapes, in pieces short enough for the pattern's backtracking stack.
      // oxlint-disable-next-line no-control-regex -- JSON forbids these characters inside strings
      if (this.#match(/(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})){1,1000}/y) !== undefined) continue;
      if (this.text[this.#at] !== '"') this.#fail("a character of a string");
      this.#at++;
      return JSON.parse(this.text.slice(start, this.#at)) as string;
    }
  }
}
