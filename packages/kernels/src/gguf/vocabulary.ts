/** Vocabularies as llama.cpp reads them: the values below `tokenizer.ggml`. */
import type { GgufMetadata } from "./container";

/** llama.cpp's kinds of tokens. */
const TOKEN_TYPES = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

/** A vocabulary in the file's values. */
export interface GgufVocabulary {
  /** How many tokens it has, which is how many rows the embedding must have. */
  readonly size: number;
  readonly metadata: GgufMetadata;
}

/**
 * The 256 bytes, each a token. llama.cpp's kind "rwkv" is the one whose tokens may be any bytes: it reads them with escapes, and takes the
 * longest that fits, so that a text becomes its bytes in UTF-8.
 */
export function byteVocabulary(): GgufVocabulary {
  return {
    size: 256,
    metadata: {
      "tokenizer.ggml.model": ["string", "rwkv"],
      "tokenizer.ggml.tokens": ["strings", Array.from({ length: 256 }, (_, byte) => escaped([byte]))],
      "tokenizer.ggml.token_type": ["i32s", Array<number>(256).fill(TOKEN_TYPES.normal)],
      "tokenizer.ggml.add_bos_token": ["bool", false],
      "tokenizer.ggml.add_eos_token": ["bool", false],
    },
  };
}

/** Bytes as the kind "rwkv" reads them, every one by its number: `\x0a`. */
function escaped(bytes: Iterable<number>): string {
  return Array.from(bytes, (byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join("");
}
