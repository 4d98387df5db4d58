/** What a tokenizer is: text to ids and back, whole or in pieces, whatever file it was read from. */

import { check } from "@lenggen/kernels";

/** Ids that mean something else than text. */
export interface SpecialIds {
  /** Stands between documents; a generation ends there. */
  readonly endOfText?: number;
  /** What the tokenizer's own template puts before a text. */
  readonly beginning: readonly number[];
}

/** Turns text into ids and back. Everything that reads or writes text with a model speaks through one of these. */
export interface Tokenizer {
  /** `bytes`: a token is a byte. `world`: a vocabulary of RWKV World. `json`: a `tokenizer.json`. */
  readonly kind: "bytes" | "world" | "json";
  /** What it is called, for people. */
  readonly name: string;
  /** SHA-256, in hex, of the file that it was read from: tokenizers with the same one give the same ids. */
  readonly hash: string;
  /** Every id is below this; a model needs at least as many rows. */
  readonly vocabulary: number;
  readonly special: SpecialIds;
  /** Ids of a text, without those of {@link SpecialIds.beginning}. */
  encode(text: string): Int32Array;
  /** Encodes a text that comes in pieces, to the ids of the whole. */
  encoder(): TokenEncoder;
  /** Decodes ids that come one by one. `continues`: they go on behind a text, and are not its beginning. */
  decoder(options?: { readonly continues?: boolean }): TokenDecoder;
  /** What an id stands for; undefined where it is none, or nothing of a text. */
  bytesOf(id: number): Uint8Array | undefined;
}

/** Encodes the bytes of a text, UTF-8, piece by piece. Where pieces end changes nothing. */
export interface TokenEncoder {
  /** Takes the next bytes and gives the ids that are certain by now. Throws `E_TEXT` where the bytes are no text that it can encode. */
  push(bytes: Uint8Array): Int32Array;
  /** The last ids; the encoder is used up. */
  end(): Int32Array;
}

/** Turns ids into characters as they become whole. */
export interface TokenDecoder {
  /** Characters that are complete with this id; never half of one. */
  push(id: number): string;
  /** What is left: bytes that never became a character, as U+FFFD. */
  end(): string;
}

/** A decoder of tokens that are strings of bytes: a character may begin in one and end in another. */
export function byteDecoder(bytesOf: (id: number) => Uint8Array | undefined, skipSpace = false): TokenDecoder {
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  let first = skipSpace;
  return {
    push(id) {
      let bytes = bytesOf(id) ?? NOTHING;
      if (first && bytes.length > 0) {
        first = false;
        if (bytes[0] === 0x20) bytes = bytes.subarray(1);
      }
      return decoder.decode(bytes, { stream: true });
    },
    end: () => decoder.decode(),
  };
}

const NOTHING = new Uint8Array();

/** SHA-256 in hex. */
export async function sha256(bytes: Uint8Array): Promise<string> {
  const { subtle } = (globalThis as { crypto?: { subtle?: typeof globalThis.crypto.subtle } }).crypto ?? {};
  check(subtle, "E_IO", () => "a tokenizer's hash: this page has no crypto.subtle; it needs https or localhost");
  const digest = await subtle.digest("SHA-256", bytes);
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Lists of ids as one. */
export class Ids {
  #ids = new Int32Array(1024);
  #length = 0;

  push(id: number): void {
    if (this.#length === this.#ids.length) this.#grow(this.#length + 1);
    this.#ids[this.#length++] = id;
  }

  append(ids: Int32Array): void {
    if (this.#length + ids.length > this.#ids.length) this.#grow(this.#length + ids.length);
    this.#ids.set(ids, this.#length);
    this.#length += ids.length;
  }

  get length(): number {
    return this.#length;
  }

  /** All so far, in an array of their own. */
  take(): Int32Array {
    return this.#ids.slice(0, this.#length);
  }

  #grow(least: number): void {
    const ids = new Int32Array(Math.max(least, 2 * this.#ids.length));
    ids.set(this.#ids);
    this.#ids = ids;
  }
}
