/** Vocabularies as llama.cpp reads them: the values below `tokenizer.ggml`. */
import { check } from "../errors";
import type { GgufMetadata } from "./container";

/** llama.cpp's kinds of tokens. */
export const TOKEN_TYPES = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

/** A vocabulary for a model's file. */
export interface GgufVocabulary {
  /** How many tokens it has: ids are below. */
  readonly size: number;
  /** The file's values for a model with so many tokens; those that the vocabulary has not are marked as unused. */
  metadata(tokens: number): GgufMetadata;
  /** What llama.cpp does otherwise with some texts, in words. */
  readonly notes?: readonly string[];
}

/** What a vocabulary says beside its tokens. */
export interface GgufSpecialIds {
  /** Stands between documents; a generation ends there. */
  readonly endOfText?: number;
  /** What is put before each text. */
  readonly beginning?: readonly number[];
}

/** The values that every kind has. llama.cpp puts one token before a text, or none. */
export function specialValues({ endOfText, beginning = [] }: GgufSpecialIds): GgufMetadata {
  check(beginning.length <= 1, "E_CONFIG", () =>
    `gguf: the tokenizer puts ${beginning.length} tokens before a text; llama.cpp has room for one`);
  const begin = beginning[0] ?? endOfText;
  return {
    ...(begin !== undefined && { "tokenizer.ggml.bos_token_id": ["u32", begin] as const }),
    ...(endOfText !== undefined && { "tokenizer.ggml.eos_token_id": ["u32", endOfText] as const }),
    "tokenizer.ggml.add_bos_token": ["bool", beginning.length > 0],
    "tokenizer.ggml.add_eos_token": ["bool", false],
  };
}

/**
 * A vocabulary of strings of bytes by their ids, of which a text becomes the longest that fit, one after the other: bytes alone, or RWKV
 * World. Undefined stands for what is no text. llama.cpp calls the kind "rwkv", and reads tokens with escapes.
 */
export function bytesVocabulary(tokens: readonly (Uint8Array | undefined)[], special: GgufSpecialIds = {}): GgufVocabulary {
  return {
    size: tokens.length,
    metadata(count) {
      const all = Array.from({ length: count }, (_, id) => tokens[id]);
      return {
        "tokenizer.ggml.model": ["string", "rwkv"],
        "tokenizer.ggml.tokens": ["strings", all.map((token, id) => (token ? escaped(token) : unreachable(id)))],
        "tokenizer.ggml.token_type": ["i32s", all.map((token, id) =>
          (token ? TOKEN_TYPES.normal : id === special.endOfText ? TOKEN_TYPES.control : TOKEN_TYPES.unused))],
        ...specialValues(special),
      };
    },
  };
}

/** The vocabulary of a model of bytes. */
export function byteVocabulary(): GgufVocabulary {
  return bytesVocabulary(Array.from({ length: 256 }, (_, byte) => Uint8Array.of(byte)));
}

/** Every byte by its number: `\x0a`. */
function escaped(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join("");
}

/**
 * What a token is called that no text should become. llama.cpp looks for all names in texts, also for those of special and unused tokens
 * (v0.5.0): the `<s>` that its own converter writes is found in HTML. No text in UTF-8 has the byte ff.
 */
function unreachable(id: number): string {
  return `\\xff<${id}>`;
}
