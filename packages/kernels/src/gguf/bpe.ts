/**
 * Byte-pair vocabularies of a `tokenizer.json` as llama.cpp has them (its kind "gpt2"): tokens and merges over bytes written as characters,
 * and the name of the way in which texts are split into words. What llama.cpp would split, merge or normalise otherwise is refused.
 */
import { check } from "../errors";
import { isJsonObject, type Json, type JsonObject, quote } from "../strictJson";
import { type GgufSpecialIds, type GgufVocabulary, specialValues, TOKEN_TYPES } from "./vocabulary";

const CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const WORDS = "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+";
const REST = " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

/** How texts are split, as llama.cpp calls it, and whether it takes a word that is a token whole, without merges. */
interface Splitting {
  readonly name: string;
  readonly ignoresMerges: boolean;
}

/** By the stages of a pre-tokenizer. */
const SPLITTINGS: Readonly<Record<string, Splitting>> = {
  bytes: { name: "gpt-2", ignoresMerges: false },
  "digit, bytes": { name: "smollm", ignoresMerges: false },
  [`${CONTRACTIONS}|${WORDS}|\\p{N}{1,3}|${REST}, plain bytes`]: { name: "llama-bpe", ignoresMerges: true },
  [`${CONTRACTIONS}|${WORDS}|\\p{N}|${REST}, plain bytes`]: { name: "qwen2", ignoresMerges: false },
};

/**
 * The vocabulary of a parsed `tokenizer.json`; `name` stands in errors. Throws `E_CONFIG` for a tokenizer that llama.cpp has not, and
 * `E_FORMAT` for one that is damaged.
 */
export function bpeVocabulary(json: Json, name: string, special: GgufSpecialIds): GgufVocabulary {
  check(isJsonObject(json) && isJsonObject(json["model"]), "E_FORMAT", () => `${name}: a tokenizer.json is an object with a model`);
  const { model } = json;
  check(model["type"] === undefined || model["type"] === "BPE", "E_CONFIG", () =>
    `${name}: a tokenizer of type ${show(model["type"])} is not written as GGUF; byte-level BPE is`);
  const splitting = splittingOf(json, model, name);
  const composes = checkNormalizer(json["normalizer"], name);
  // llama.cpp takes the token 11 for the end of a text where none is named.
  check(special.endOfText !== undefined, "E_CONFIG", () =>
    `${name}: names no token for the end of a text, which llama.cpp has to know; name it as eos_token in tokenizer_config.json`);
  const { tokens, types } = tokensOf(json, model, name);
  const merges = mergesOf(model, name);
  return {
    size: tokens.length,
    notes: composes ? ["llama.cpp takes texts as they are, where this tokenizer composes letters and accents that stand apart (NFC)"] : [],
    metadata: (count) => ({
      "tokenizer.ggml.model": ["string", "gpt2"],
      "tokenizer.ggml.pre": ["string", splitting.name],
      "tokenizer.ggml.tokens": ["strings", Array.from({ length: count }, (_, id) => tokens[id] ?? `[PAD${id}]`)],
      "tokenizer.ggml.token_type": ["i32s", Array.from({ length: count }, (_, id) => types[id] ?? TOKEN_TYPES.unused)],
      "tokenizer.ggml.merges": ["strings", merges],
      ...specialValues(special),
    }),
  };
}

const show = (value: Json | undefined): string => (value === undefined ? "(missing)" : JSON.stringify(value).slice(0, 80));

function splittingOf({ pre_tokenizer: stages }: JsonObject, model: JsonObject, name: string): Splitting {
  const found = stagesOf(stages ?? null);
  const splitting = found !== undefined && Object.hasOwn(SPLITTINGS, found) ? SPLITTINGS[found] : undefined;
  check(splitting, "E_CONFIG", () =>
    `${name}: llama.cpp splits texts in no way that its pre_tokenizer is known to be: ${show(stages)}`);
  const ignores = model["ignore_merges"] === true;
  check(ignores === splitting.ignoresMerges, "E_CONFIG", () =>
    `${name}: llama.cpp's ${splitting.name} ${splitting.ignoresMerges ? "takes" : "does not take"} a word that is a token without merging, `
      + `and this one has ignore_merges ${ignores}`);
  for (const [field, none] of [["continuing_subword_prefix", ""], ["end_of_word_suffix", ""], ["byte_fallback", false]] as const) {
    check((model[field] ?? none) === none, "E_CONFIG", () =>
      `${name}: llama.cpp's byte-level BPE has no ${field}; this is ${show(model[field])}`);
  }
  return splitting;
}

/** The stages of a pre-tokenizer, in the words of {@link SPLITTINGS}; undefined for one that is none of these. */
function stagesOf(stages: Json): string | undefined {
  if (!isJsonObject(stages)) return undefined;
  switch (stages["type"]) {
    case "Sequence": {
      const list = Array.isArray(stages["pretokenizers"]) ? (stages["pretokenizers"] as Json[]).map(stagesOf) : [undefined];
      return list.includes(undefined) ? undefined : list.join(", ");
    }
    case "ByteLevel":
      return stages["add_prefix_space"] === true ? undefined : stages["use_regex"] === false ? "plain bytes" : "bytes";
    case "Digits":
      return stages["individual_digits"] === true ? "digit" : undefined;
    case "Split": {
      const regex = isJsonObject(stages["pattern"]) ? stages["pattern"]["Regex"] : undefined;
      return typeof regex === "string" && stages["behavior"] === "Isolated" && stages["invert"] !== true ? regex : undefined;
    }
    default:
      return undefined;
  }
}

/** llama.cpp takes texts as they are. NFC changes none that a keyboard writes, so that it passes. Tells whether there is one. */
function checkNormalizer(normalizer: Json | undefined, name: string): boolean {
  const passes = (step: Json | undefined): boolean => step === null || step === undefined || (isJsonObject(step)
    && (step["type"] === "NFC" || (step["type"] === "Sequence" && Array.isArray(step["normalizers"])
      && (step["normalizers"] as Json[]).every(passes))));
  check(passes(normalizer), "E_CONFIG", () => `${name}: llama.cpp's byte-level BPE changes no text beforehand; this has a normalizer, `
    + show(normalizer));
  return normalizer !== null && normalizer !== undefined;
}

function tokensOf(json: JsonObject, model: JsonObject, name: string): { tokens: readonly string[]; types: readonly number[] } {
  const { vocab } = model;
  check(isJsonObject(vocab), "E_FORMAT", () => `${name}: model.vocab must map tokens to ids`);
  const [tokens, types]: [string[], number[]] = [[], []];
  const put = (token: Json | undefined, id: Json | undefined, type: number, replaces: boolean): void => {
    check(typeof token === "string" && typeof id === "number" && Number.isInteger(id) && id >= 0 && id < 2 ** 24, "E_FORMAT", () =>
      `${name}: ${show(token)} has the id ${show(id)}; tokens are texts, ids whole numbers from 0`);
    check(tokens[id] === undefined || (replaces && tokens[id] === token), "E_FORMAT", () =>
      `${name}: the id ${id} is that of ${quote(tokens[id]!)} and ${quote(token)}`);
    tokens[id] = token;
    types[id] = type;
  };
  for (const [token, id] of Object.entries(vocab)) put(token, id, TOKEN_TYPES.normal, false);
  const added = json["added_tokens"] ?? [];
  check(Array.isArray(added) && added.every(isJsonObject), "E_FORMAT", () => `${name}: added_tokens must be a list of objects`);
  for (const token of added) {
    const isSpecial = token["special"] === true;
    check(isSpecial || !["lstrip", "rstrip", "single_word"].some((flag) => token[flag] === true), "E_CONFIG", () =>
      `${name}: llama.cpp has no added tokens that take spaces along or are words alone; this is ${show(token)}`);
    put(token["content"], token["id"], isSpecial ? TOKEN_TYPES.control : TOKEN_TYPES.userDefined, true);
  }
  check(tokens.length > 0, "E_FORMAT", () => `${name}: it has no tokens`);
  const names = new Set<string>();
  for (const token of tokens) {
    check(token === undefined || !names.has(token), "E_FORMAT", () => `${name}: two ids are those of ${quote(token)}`);
    names.add(token);
  }
  return { tokens, types };
}

/** Merges as "a b", in the order of their ranks. */
function mergesOf({ merges }: JsonObject, name: string): readonly string[] {
  check(Array.isArray(merges), "E_FORMAT", () => `${name}: model.merges must be a list`);
  return (merges as Json[]).map((merge) => {
    const pair = typeof merge === "string" ? merge.split(" ") : merge;
    check(Array.isArray(pair) && pair.length === 2 && pair.every((part) => typeof part === "string" && part !== "" && !part.includes(" ")),
      "E_FORMAT", () => `${name}: ${show(merge)} is no merge of two tokens`);
    return pair.join(" ");
  });
}
