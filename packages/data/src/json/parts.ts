/** The parts of a `tokenizer.json`, checked: what nobody vouches for must not reach the library as it is, which trusts it. */
import { check, isJsonObject, type Json, type JsonObject, LenggenError, nearest, parseJsonBytes, quote } from "@lenggen/kernels";
import { shown } from "./shown";

/** A token that is found in a text before anything else is done to it. */
export interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly special: boolean;
  /** Whether it is looked for in the text as normalised. */
  readonly normalized: boolean;
  /** Whether it takes in the white space to its left, or its right. */
  readonly lstrip: boolean;
  readonly rstrip: boolean;
}

/** What a `tokenizer.json` holds, as far as texts are concerned. */
export interface Parts {
  readonly model: JsonObject;
  readonly normalizer: Json;
  readonly preTokenizer: Json;
  readonly postProcessor: Json;
  readonly decoder: Json;
  readonly added: readonly AddedToken[];
  /** Texts of all ids, those of the added tokens too; undefined for ids that are not there. */
  readonly tokens: readonly (string | undefined)[];
}

/** Models that are read. */
const MODELS = ["BPE", "Unigram"];
/** Most ids: far above any vocabulary that there is. */
const MOST_IDS = 1 << 22;

/** Reads the file. Throws `E_FORMAT` where it is damaged, `E_CONFIG` where it wants what is not known to give the right ids. */
export function partsOf(file: Uint8Array, where: string): Parts {
  const json = parseJsonBytes(file, where);
  check(isJsonObject(json) && isJsonObject(json["model"]), "E_FORMAT", () => `${where}: is no tokenizer.json: it has no model`);
  const given = json["model"];
  // Older files leave the type out.
  const type = given["type"] ?? ("merges" in given ? "BPE" : undefined);
  const model: JsonObject = { ...given, type: type ?? null };
  check(typeof type === "string" && MODELS.includes(type), "E_CONFIG", () =>
    `${where}: a model of type ${type === undefined ? "none" : shown(type)} is not read`
      + `${typeof type === "string" ? nearest(type, MODELS) : ""}; ${MODELS.join(" and ")} are`);
  const tokens = type === "BPE" ? bpeTokens(model, where) : unigramTokens(model, where);
  const added = addedTokens(json["added_tokens"] ?? [], where);
  for (const { id, content } of added) {
    const there = tokens[id];
    check(there === undefined || there === content, "E_FORMAT", () =>
      `${where}: the id ${id} is there twice, for ${quote(there!)} and for the added token ${quote(content)}`);
    put(tokens, id, content);
  }
  check(tokens.length > 0, "E_FORMAT", () => `${where}: the vocabulary is empty`);
  const part = (name: string): Json => json[name] ?? null;
  return {
    model, normalizer: part("normalizer"), preTokenizer: part("pre_tokenizer"), postProcessor: part("post_processor"),
    decoder: part("decoder"), added, tokens,
  };
}

function put(tokens: (string | undefined)[], id: number, text: string): void {
  while (tokens.length < id) tokens.push(undefined);
  tokens[id] = text;
}

function checkId(id: Json | undefined, what: () => string): asserts id is number {
  check(typeof id === "number" && Number.isInteger(id) && id >= 0 && id < MOST_IDS, "E_FORMAT", () =>
    `${what()} has the id ${JSON.stringify(id)}; ids are whole numbers in 0 ... ${MOST_IDS - 1}`);
}

function bpeTokens(model: JsonObject, where: string): (string | undefined)[] {
  const { vocab, merges, dropout = null, unk_token: unknown = null } = model;
  check(isJsonObject(vocab), "E_FORMAT", () => `${where}: a BPE model needs a vocab: an object of ids by token`);
  check(Array.isArray(merges), "E_FORMAT", () => `${where}: a BPE model needs a list of merges`);
  check(dropout === null || dropout === 0, "E_CONFIG", () => `${where}: a dropout of ${JSON.stringify(dropout)} makes ids that are not the `
    + "same from time to time; take it out");
  for (const name of ["continuing_subword_prefix", "end_of_word_suffix"]) {
    check((model[name] ?? "") === "", "E_CONFIG", () => `${where}: ${name} ${JSON.stringify(model[name])} is not read; it must be empty`);
  }
  const tokens: (string | undefined)[] = [];
  for (const [text, id] of Object.entries(vocab)) {
    checkId(id, () => `${where}: token ${quote(text)}`);
    check(tokens[id] === undefined, "E_FORMAT", () =>
      `${where}: the id ${id} is there twice, for ${quote(tokens[id]!)} and ${quote(text)}`);
    put(tokens, id, text);
  }
  check(unknown === null || (typeof unknown === "string" && unknown in vocab), "E_FORMAT", () =>
    `${where}: the unk_token ${JSON.stringify(unknown)} is not in the vocabulary`);
  (merges as Json[]).forEach((merge, i) => {
    const pair: Json = typeof merge === "string" ? merge.split(" ") : merge;
    check(Array.isArray(pair) && pair.length === 2 && pair.every((part) => typeof part === "string" && part in vocab), "E_FORMAT", () =>
      `${where}: merge ${i} is ${shown(merge)}; one is two tokens of the vocabulary`);
    check(pair.join("") in vocab, "E_FORMAT", () => `${where}: merge ${i} makes ${quote(pair.join(""))}, which is not in the vocabulary`);
    check(Array.isArray(merge) === Array.isArray((merges as Json[])[0]), "E_FORMAT", () =>
      `${where}: merge ${i} is not written as the first one is`);
  });
  return tokens;
}

function unigramTokens(model: JsonObject, where: string): (string | undefined)[] {
  const { vocab, unk_id: unknown = null } = model;
  check(Array.isArray(vocab), "E_FORMAT", () => `${where}: a Unigram model needs a vocab: a list of tokens with their scores`);
  check(model["byte_fallback"] !== true, "E_CONFIG", () => `${where}: a Unigram model with byte_fallback is not read`);
  const seen = new Set<string>();
  const tokens = (vocab as Json[]).map((entry, i) => {
    check(Array.isArray(entry) && entry.length === 2 && typeof entry[0] === "string" && typeof entry[1] === "number", "E_FORMAT", () =>
      `${where}: entry ${i} of the vocab is ${shown(entry)}; one is a token and its score`);
    const text = entry[0];
    check(!seen.has(text), "E_FORMAT", () => `${where}: the token ${quote(text)} is there twice`);
    seen.add(text);
    return text;
  });
  check(tokens.length <= MOST_IDS, "E_FORMAT", () => `${where}: there are ${tokens.length} tokens, more than ${MOST_IDS}`);
  checkId(unknown, () => `${where}: the unknown token`);
  check(unknown < tokens.length, "E_FORMAT", () => `${where}: unk_id ${unknown} is not in the vocabulary of ${tokens.length}`);
  return tokens;
}

function addedTokens(list: Json, where: string): AddedToken[] {
  check(Array.isArray(list), "E_FORMAT", () => `${where}: added_tokens is no list`);
  const contents = new Set<string>();
  return (list as Json[]).map((entry, i) => {
    check(isJsonObject(entry) && typeof entry["content"] === "string" && entry["content"] !== "", "E_FORMAT", () =>
      `${where}: added token ${i} has no content`);
    const { id, content } = entry as { id: Json; content: string };
    checkId(id, () => `${where}: added token ${quote(content)}`);
    check(!contents.has(content), "E_FORMAT", () => `${where}: the added token ${quote(content)} is there twice`);
    contents.add(content);
    check(entry["single_word"] !== true, "E_CONFIG", () =>
      `${where}: added token ${quote(content)} is to be a single_word, which is not read`);
    const special = entry["special"] === true;
    const normalized = typeof entry["normalized"] === "boolean" ? entry["normalized"] : !special;
    return { id, content, special, normalized, lstrip: entry["lstrip"] === true, rstrip: entry["rstrip"] === true };
  });
}

/** What a template puts before a text. Throws `E_CONFIG` for a post-processor of another kind, `E_FORMAT` for damage. */
export function beginningOf({ postProcessor: processor, tokens }: Parts, where: string): number[] {
  const ids = new Map(tokens.flatMap((text, id) => (text === undefined ? [] : [[text, id] as const])));
  const from = (config: Json): number[] => {
    if (config === null) return [];
    check(isJsonObject(config), "E_FORMAT", () => `${where}: a post-processor is an object with a type`);
    switch (config["type"]) {
      case "ByteLevel":
        return [];
      case "Sequence":
        check(Array.isArray(config["processors"]), "E_FORMAT", () => `${where}: a Sequence needs a list of processors`);
        return (config["processors"] as Json[]).flatMap((each) => {
          check(!isJsonObject(each) || each["type"] !== "Sequence", "E_CONFIG", () => `${where}: a Sequence in a Sequence is not read`);
          return from(each);
        });
      case "TemplateProcessing": {
        const { single } = config;
        check(Array.isArray(single), "E_FORMAT", () => `${where}: TemplateProcessing needs a template for a single text`);
        const text = (single as Json[]).findIndex((item) => isJsonObject(item) && "Sequence" in item);
        return (single as Json[]).slice(0, Math.max(0, text)).map((item) => {
          const token = isJsonObject(item) && isJsonObject(item["SpecialToken"]) ? item["SpecialToken"]["id"] : undefined;
          const id = typeof token === "string" ? ids.get(token) : undefined;
          check(id !== undefined, "E_FORMAT", () => `${where}: the template names ${JSON.stringify(token)}, which is no token`);
          return id;
        });
      }
      default:
        throw new LenggenError("E_CONFIG", `${where}: a post-processor of type ${shown(config["type"])} is not read; ByteLevel, `
          + "TemplateProcessing and a Sequence of them are");
    }
  };
  return from(processor);
}
