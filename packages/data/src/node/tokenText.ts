/** Texts as the ids of a tokenizer, made once as a stream and kept in the cache by what the text holds and which tokenizer it was. */
import { createHash } from "node:crypto";
import { check, LenggenError, readTokens, yieldToEventLoop } from "@lenggen/kernels";
import { bytesTokenizer } from "../bytes";
import { Ids, type Tokenizer } from "../tokenizer";
import { cacheEntry, type CacheOptions } from "./cache";
import { Documents, type TextDocument } from "./documents";
import type { Text } from "./text";
import { openTokenFile, type TokenFile, TokenFileWriter } from "./tokenFile";

/** A text in the tokens of a tokenizer. */
export interface TokenText extends Text {
  readonly tokenizer: Tokenizer;
  /** Bytes of the text as it was read; as many as tokens where bytes are tokens. */
  readonly bytes: number;
}

/** Of the ids that are kept: a change of how they are made is another entry. */
const VERSION = 1;
/** Bytes that are encoded at a time. */
const PIECE = 1 << 18;
/** Texts of at most so many bytes are encoded each time, and leave nothing in the cache. */
const SMALL = 1 << 19;

/**
 * A text in tokens. Each document is encoded by itself: no token runs from one into the next, and nothing is put between them. Bytes stay
 * as they are. Throws `E_TEXT` for a text that the tokenizer can't encode, `E_IO` where the cache has no room, `E_INTERRUPTED`.
 */
export async function tokenText(text: Text, tokenizer: Tokenizer, options: CacheOptions = {}): Promise<TokenText> {
  const bytes = text.tokens.length;
  if (tokenizer === bytesTokenizer) return { ...text, tokenizer, bytes };
  if (bytes <= SMALL) {
    const { tokens, starts } = await inMemory(text, tokenizer, options);
    return { ...text, documents: new Documents([{ name: text.source, tokens, starts }]), tokens, tokenizer, bytes };
  }
  const content = await contentHash(text, options);
  const name = createHash("sha256").update(`${VERSION}\0${content}\0${tokenizer.hash}`).digest("hex");
  const { tokens, starts } = await cacheEntry("tokens", `${name}.tokens`, (path) => opened(path, tokenizer),
    () => encoded(text, tokenizer, options), {
      ...options,
      onWait: () => options.onProgress?.(
        { path: text.source, done: 0, total: bytes, kind: "wait", note: "waiting for another process that encodes it" }),
    });
  return { ...text, documents: new Documents([{ name: text.source, tokens, starts }]), tokens, tokenizer, bytes };
}

/** An entry of the cache; undefined for one that is not there or is damaged. */
async function opened(path: string, tokenizer: Tokenizer): Promise<TokenFile | undefined> {
  try {
    return await openTokenFile(path, tokenizer);
  } catch (error) {
    if (error instanceof LenggenError && (error.code === "E_MISSING" || error.code === "E_FORMAT")) return undefined;
    throw error;
  }
}

/** The bytes of a document in pieces, with turns for everything else between them. */
async function* bytesOf({ tokens }: TextDocument, { signal }: CacheOptions): AsyncGenerator<Uint8Array, void, undefined> {
  const ids = new Int32Array(Math.min(PIECE, tokens.length));
  for (let at = 0; at < tokens.length; at += PIECE) {
    check(!signal?.aborted, "E_INTERRUPTED", () => "the reading of the text was interrupted");
    const piece = ids.subarray(0, Math.min(PIECE, tokens.length - at));
    readTokens(tokens, at, piece);
    yield Uint8Array.from(piece);
    if (piece.length === PIECE) await yieldToEventLoop();
  }
}

/** The SHA-256 of a text's bytes and of where its documents end. */
async function contentHash(text: Text, options: CacheOptions): Promise<string> {
  const [bytes, ends] = [createHash("sha256"), createHash("sha256")];
  let done = 0;
  for (const document of text.documents) {
    for await (const piece of bytesOf(document, options)) {
      bytes.update(piece);
      done += piece.length;
      options.onProgress?.({ path: text.source, done, total: text.tokens.length, kind: "hash", note: "looking whether it is known" });
    }
    ends.update(`${done} `);
  }
  return `${bytes.digest("hex")} ${ends.digest("hex")}`;
}

/** The ids of each document in turn: `undefined` where one begins. */
async function* encodings(
  text: Text, tokenizer: Tokenizer, options: CacheOptions,
): AsyncGenerator<Int32Array | undefined, void, undefined> {
  let [done, made] = [0, 0];
  const total = text.tokens.length;
  for (const document of text.documents) {
    yield undefined;
    const encoder = tokenizer.encoder();
    try {
      for await (const piece of bytesOf(document, options)) {
        const ids = encoder.push(piece);
        done += piece.length;
        made += ids.length;
        options.onProgress?.({ path: text.source, done, total, kind: "work", note: `${made.toLocaleString("en-GB")} tokens` });
        yield ids;
      }
      yield encoder.end();
    } catch (error) {
      if (!(error instanceof LenggenError) || error.code !== "E_TEXT") throw error;
      throw new LenggenError(error.code, `text "${text.source}", document ${document.name}: ${error.message}`, { cause: error });
    }
  }
}

async function* encoded(text: Text, tokenizer: Tokenizer, options: CacheOptions): AsyncGenerator<Uint8Array, void, undefined> {
  const writer = new TokenFileWriter(tokenizer);
  for await (const ids of encodings(text, tokenizer, options)) {
    if (ids === undefined) writer.begin();
    else yield* writer.add(ids);
  }
  yield* writer.end(text.tokens.length);
}

async function inMemory(text: Text, tokenizer: Tokenizer, options: CacheOptions): Promise<Pick<TokenFile, "tokens" | "starts">> {
  const ids = new Ids();
  const starts: number[] = [];
  for await (const more of encodings(text, tokenizer, options)) {
    if (more === undefined) starts.push(ids.length);
    else ids.append(more);
  }
  const tokens = ids.take();
  return { tokens: { length: tokens.length, read: (start, into) => into.set(tokens.subarray(start, start + into.length)) },
    starts: Float64Array.from(starts) };
}
