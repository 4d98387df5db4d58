/**
 * `config.json` as Python programs write it. Numbers that JSON has not come in two forms: bare, as Python's json writes them
 * (transformers 4, mamba_ssm), or as `{"__float__": "Infinity"}` (transformers 5). Both are read as numbers; whether one makes
 * sense where it stands is for the model to say, which knows the field.
 */
import { type Json, parseJson, parseJsonBytes } from "./strictJson";

const TAG = "__float__";
const NUMBERS: Readonly<Record<string, number>> = { NaN: Number.NaN, Infinity, "-Infinity": -Infinity };
/** Deeper than any configuration; what is below stays as it is. */
const MAX_DEPTH = 64;

/** The mark that editors on Windows put before UTF-8 (U+FEFF). */
const MARK = [0xef, 0xbb, 0xbf];

/**
 * Reads a `config.json`: strict JSON, plus the numbers that Python writes beyond it. Throws `E_FORMAT` that begins with `what` and
 * says where the text goes wrong.
 */
export function parseConfig(text: string | Uint8Array, what = "config.json"): Json {
  const options = { maxDepth: MAX_DEPTH, nonFinite: true };
  const json = typeof text === "string"
    ? parseJson(text.startsWith("\uFEFF") ? text.slice(1) : text, what, options)
    : parseJsonBytes(text.subarray(MARK.every((byte, i) => text[i] === byte) ? MARK.length : 0), what, options);
  return taggedNumbers(json) as Json;
}

/**
 * The same value with each `{"__float__": "NaN" | "Infinity" | "-Infinity"}` as the number that it stands for, and 0 for -0, which JSON
 * does not keep: a configuration is the same after it was saved.
 */
export function taggedNumbers(json: unknown, depth = 0): unknown {
  if (typeof json === "number") return json + 0;
  if (json === null || typeof json !== "object" || depth > MAX_DEPTH) return json;
  if (Array.isArray(json)) return json.map((item) => taggedNumbers(item, depth + 1));
  const entries = Object.entries(json);
  if (entries.length === 1 && entries[0]![0] === TAG) {
    const name: unknown = entries[0]![1];
    if (typeof name === "string" && Object.hasOwn(NUMBERS, name)) return NUMBERS[name];
  }
  const out = Object.create(null) as Record<string, unknown>;
  for (const [key, value] of entries) out[key] = taggedNumbers(value, depth + 1);
  return out;
}
