/**
 * `tokenizer.json`, the file in which most published models have their tokenizer. The model (its merges or scores), the normaliser and
 * the reading of regular expressions are `@huggingface/tokenizers`; what that library takes otherwise than the program that the files are
 * written for, and what has to be fast, is here: added tokens, splitting into words, decoding.
 */
import { check, isJsonObject, type JsonObject, LenggenError, parseJsonBytes } from "@lenggen/kernels";
import { byteDecoder, Ids, sha256, type Tokenizer } from "../tokenizer";
import { type CutRule, cutRule } from "./cuts";
import { decodingOf } from "./decoding";
import { normalizerFacts } from "./normalizer";
import { beginningOf, type Parts, partsOf } from "./parts";
import { escapeRegex, splitAt, type Stage, stagesOf } from "./stages";
import { StreamEncoder } from "./stream";
import { TextEncoding } from "./text";
import { type Model, Words } from "./words";

/** What else is known of a tokenizer. */
export interface TokenizerJsonOptions {
  /** The file `tokenizer_config.json` beside it, which names the token at the end of a text. */
  readonly config?: Uint8Array;
}

/** Longest regular expression that the library is given to translate. */
const LONGEST_PATTERN = 1 << 14;
/** Names of the token at the end of a text, where no other file says which it is. */
const END_NAMES = ["<|endoftext|>", "</s>", "<|end_of_text|>", "<|eos|>", "<eos>"];

/**
 * Reads a `tokenizer.json`. `name` stands in errors. Throws `E_FORMAT` where it is damaged, `E_CONFIG` where it wants something that is
 * not known to give the ids that the model was trained with.
 */
export async function tokenizerJson(file: Uint8Array, name: string, { config }: TokenizerJsonOptions = {}): Promise<Tokenizer> {
  const { parts, text, rule } = await encodingOf(file, name);
  const { bytes, skipSpace } = decodingOf(parts, name);
  const bytesOf = (id: number): Uint8Array | undefined => bytes[id];
  return {
    kind: "json",
    name,
    hash: await sha256(file),
    vocabulary: parts.tokens.length,
    special: { endOfText: endOf(parts, config, name), beginning: beginningOf(parts, name) },
    encode(given) {
      const into = new Ids();
      text.encode(given, into);
      return into.take();
    },
    encoder: () => new StreamEncoder(text, rule, name),
    decoder: ({ continues = false } = {}) => byteDecoder(bytesOf, skipSpace && !continues),
    bytesOf,
  };
}

/** How a file encodes texts, and where they may be cut. */
interface Encoding {
  readonly parts: Parts;
  readonly text: TextEncoding;
  readonly rule: CutRule | null;
}

/** The half of a tokenizer that encodes. */
export async function encodingOf(file: Uint8Array, name: string): Promise<Encoding> {
  const parts = partsOf(file, name);
  const facts = normalizerFacts(parts.normalizer, name);
  const { Tokenizer: Library, SplitPreTokenizer } = await import("@huggingface/tokenizers");
  const translate = (regex: string): string => {
    check(regex.length <= LONGEST_PATTERN, "E_CONFIG", () => `${name}: a regular expression of ${regex.length} characters is too long`);
    return guarded(name, () =>
      new SplitPreTokenizer({ type: "Split", pattern: { Regex: regex }, behavior: "Isolated", invert: false }).pattern!.source);
  };
  const stages = withWords(parts, facts.space, stagesOf(parts.preTokenizer, name, translate), name);
  const { model, normalizer } = guarded(name, () => new Library({
    model: parts.model, normalizer: parts.normalizer, pre_tokenizer: null, post_processor: null, decoder: null, added_tokens: [],
  }, {})) as unknown as { readonly model: Model; readonly normalizer: ((text: string) => string) | null };
  const ids = vocabularyOf(parts);
  const unknown = parts.model["type"] === "Unigram" ? (parts.model["unk_id"] as number) : ids.get(parts.model["unk_token"] as string);
  const words = new Words(stages, model, ids, unknown, name);
  return { parts, text: new TextEncoding(parts.added, normalizer, stages, words), rule: cutRule(parts, facts, stages) };
}

/** Where spaces are written as another character that begins tokens and nothing else, the words between them are apart from each other. */
function withWords({ tokens }: Parts, normalized: string, stages: Stage[], where: string): Stage[] {
  const head = stages[0]?.kind === "spaces" ? stages[0] : undefined;
  const space = escapeRegex(head ? head.as : normalized);
  if (space === " ") return stages;
  if (head?.split) return [head, splitAt(`${space}[^${space}]*|[^${space}]+`, where), ...stages.slice(1)];
  const behind = new RegExp(`[^${space}]${space}`, "u");
  if (tokens.some((token) => token !== undefined && behind.test(token))) return stages;
  const words = splitAt(`${space}+[^${space}]*|[^${space}]+`, where);
  return head ? [head, words, ...stages.slice(1)] : [words, ...stages];
}

/** Ids by the texts of the model's own tokens. */
function vocabularyOf({ model }: Parts): Map<string, number> {
  return Array.isArray(model["vocab"]) ? new Map((model["vocab"] as [string, number][]).map(([token], id) => [token, id]))
    : new Map(Object.entries(model["vocab"] as JsonObject) as [string, number][]);
}

/** The token at the end of a text. */
function endOf({ added, tokens }: Parts, config: Uint8Array | undefined, where: string): number | undefined {
  const place = `${where}: tokenizer_config.json`;
  const json = config && parseJsonBytes(config, place);
  check(json === undefined || isJsonObject(json), "E_FORMAT", () => `${place} is no object`);
  const named = json?.["eos_token"] ?? null;
  const content = isJsonObject(named) ? named["content"] : named;
  if (typeof content === "string") {
    const id = tokens.indexOf(content);
    check(id >= 0, "E_FORMAT", () => `${place}: the eos_token ${JSON.stringify(content)} is no token of the vocabulary`);
    return id;
  }
  return END_NAMES.flatMap((name) => added.filter((token) => token.special && token.content === name))[0]?.id;
}

/** What the library does with a file; whatever it throws says that the file is not as it should be. */
function guarded<T>(where: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw new LenggenError("E_FORMAT", `${where}: ${String(error)}`, { cause: error });
  }
}
