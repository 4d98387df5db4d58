/**
 * A tokenizer's pre-tokenizer as a list of stages: how a text is split into the words that the model then sees. Only what has been held
 * against the library that these files are written for is read; the JavaScript library takes some kinds otherwise (it leaves out
 * `behavior`, looks for ASCII digits only), so that those stages are made here.
 */
import { check, isJsonObject, type Json, type JsonObject, LenggenError, quote } from "@lenggen/kernels";
import { shown } from "./shown";
import { Pattern } from "./pattern";

/** A step on the way from a text to the words that the model sees. */
export type Stage =
  /** Splits at matches, which are words like what stands between them; `dropsGaps` leaves the latter out. */
  | { readonly kind: "split"; readonly regex: RegExp; readonly pattern: Pattern; readonly dropsGaps: boolean }
  /** Puts a space before what does not begin with one. */
  | { readonly kind: "prefix" }
  /** Writes each byte as a character. */
  | { readonly kind: "bytes" }
  /** Writes spaces as another character. */
  | { readonly kind: "spaces"; readonly as: string; readonly prepend: "always" | "first" | "never"; readonly split: boolean };

/** The split of GPT-2, which the stage `ByteLevel` has built in. */
const GPT2 = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\p{White_Space}\\p{L}\\p{N}]+|\\p{White_Space}+(?!\\P{White_Space})"
  + "|\\p{White_Space}+";
const PUNCTUATION = "[\\p{P}$+<=>\\^`\\|~]";

/** How the library turns an expression of a file into one of JavaScript. */
export type Translate = (regex: string) => string;

/** The stages of a `pre_tokenizer`. Throws `E_CONFIG` for a kind that is not known to give the right words, `E_FORMAT` for damage. */
export function stagesOf(config: Json, where: string, translate: Translate): Stage[] {
  if (config === null) return [];
  check(isJsonObject(config) && typeof config["type"] === "string", "E_FORMAT", () => `${where}: a pre-tokenizer is an object with a type`);
  const type = config["type"];
  switch (type) {
    case "Sequence": {
      const list = config["pretokenizers"];
      check(Array.isArray(list), "E_FORMAT", () => `${where}: a Sequence needs a list of pretokenizers`);
      const stages = (list as Json[]).flatMap((each) => {
        check(!isJsonObject(each) || each["type"] !== "Sequence", "E_CONFIG", () => `${where}: a Sequence in a Sequence is not read`);
        return stagesOf(each, where, translate);
      });
      check(stages.every(({ kind }, i) => (kind !== "spaces" && kind !== "prefix") || i === 0), "E_CONFIG", () =>
        `${where}: Metaspace, and ByteLevel with add_prefix_space, are read as the first of a Sequence only`);
      check(stages.filter(({ kind }) => kind === "bytes").length <= 1, "E_CONFIG", () => `${where}: a second ByteLevel is not read`);
      return stages;
    }
    case "ByteLevel": {
      const split = config["use_regex"] === false ? [] : [splitAt(GPT2, where)];
      return [...(config["add_prefix_space"] === true ? [{ kind: "prefix" } as const] : []), ...split, { kind: "bytes" }];
    }
    case "Split":
      return [splitOf(config, where, translate)];
    case "Digits":
      return [splitAt(config["individual_digits"] === true ? "\\p{N}" : "\\p{N}+", where)];
    case "Punctuation": {
      const behavior = config["behavior"] ?? "Isolated";
      check(behavior === "Isolated" || behavior === "Contiguous", "E_CONFIG", () =>
        `${where}: Punctuation with the behavior ${shown(behavior)} is not read; Isolated and Contiguous are`);
      return [splitAt(behavior === "Isolated" ? PUNCTUATION : `${PUNCTUATION}+`, where)];
    }
    case "Metaspace": {
      const scheme = config["add_prefix_space"] === false ? "never" : (config["prepend_scheme"] ?? "always");
      check(scheme === "always" || scheme === "first" || scheme === "never", "E_FORMAT", () =>
        `${where}: Metaspace's prepend_scheme is always, first or never, not ${shown(scheme)}`);
      const as = config["replacement"] ?? "▁";
      check(typeof as === "string" && Array.from(as).length === 1, "E_FORMAT", () => `${where}: Metaspace's replacement is one character`);
      return [{ kind: "spaces", as, prepend: scheme, split: config["split"] !== false }];
    }
    default:
      throw new LenggenError("E_CONFIG", `${where}: a pre-tokenizer of type ${quote(type)} is not read; ByteLevel, Split, Digits, `
        + "Punctuation, Metaspace and a Sequence of them are");
  }
}

function splitOf(config: JsonObject, where: string, translate: Translate): Stage {
  const { behavior, invert } = config;
  // Where a match is left out and the sense of matching turned round, what stays is the matches.
  const dropsGaps = behavior === "Removed" && invert === true;
  check(behavior === "Isolated" || dropsGaps, "E_CONFIG", () =>
    `${where}: a Split with the behavior ${shown(behavior)}${invert === true ? ", inverted," : ""} is not read; Isolated is, and `
      + "Removed where it is inverted");
  return splitAt(patternSource(config["pattern"], where, translate), where, dropsGaps);
}

function patternSource(pattern: Json | undefined, where: string, translate: Translate): string {
  check(isJsonObject(pattern), "E_FORMAT", () => `${where}: a Split needs a pattern`);
  const { Regex: regex, String: string } = pattern;
  if (typeof regex === "string") return translate(regex);
  check(typeof string === "string" && string !== "", "E_FORMAT", () => `${where}: a Split's pattern is a Regex or a String`);
  return escapeRegex(string);
}

/** A stage that splits at an expression of JavaScript. */
export function splitAt(source: string, where: string, dropsGaps = false): Extract<Stage, { kind: "split" }> {
  const pattern = new Pattern(source, where);
  return { kind: "split", regex: new RegExp(source, "gu"), pattern, dropsGaps };
}

/** The expression that matches a text and nothing else. */
export function escapeRegex(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&");
}
