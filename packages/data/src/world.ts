/**
 * The vocabulary of RWKV World, `rwkv_vocab_v20230424.txt`: a line for each token with its id, its text as a literal of Python, and its
 * length in bytes. The ids of a text are those of the longest tokens, one after the other from its beginning.
 */
import { check, LenggenError, quote } from "@lenggen/kernels";
import { literalBytes } from "./pythonLiteral";
import { byteDecoder, Ids, sha256, type TokenEncoder, type Tokenizer } from "./tokenizer";
import { Trie } from "./trie";

/** Most ids; the published vocabulary has 65529. */
const MOST_IDS = 1 << 22;
/** Longest token in bytes; the longest published one has 128. */
const LONGEST = 1 << 12;
const END_OF_TEXT = 0;

/**
 * Reads a vocabulary of RWKV World. `name` stands in errors. Throws `E_FORMAT` for a line that is none of it, for an id or a text that is
 * there twice or missing.
 */
export async function worldTokenizer(file: Uint8Array, name: string): Promise<Tokenizer> {
  const tokens = parse(file, name);
  const strings = tokens.slice(1) as Uint8Array[];
  const trie = new Trie(strings, Int32Array.from(strings, (_, i) => i + 1));
  const hash = await sha256(file);
  const bytesOf = (id: number): Uint8Array | undefined => tokens[id];
  return {
    kind: "world",
    name,
    hash,
    vocabulary: tokens.length,
    special: { endOfText: END_OF_TEXT, beginning: [] },
    encode(text) {
      const ids = new Ids();
      const bytes = new TextEncoder().encode(text);
      trie.walk(bytes, 0, bytes.length, (id) => ids.push(id));
      return ids.take();
    },
    encoder: () => new WorldEncoder(trie),
    decoder: () => byteDecoder(bytesOf),
    bytesOf,
  };
}

/** Which token comes next depends on as many bytes as the longest has: what could still change is kept until more has come. */
class WorldEncoder implements TokenEncoder {
  #kept = new Uint8Array();
  constructor(private readonly trie: Trie) {}

  push(bytes: Uint8Array): Int32Array {
    const all = new Uint8Array(this.#kept.length + bytes.length);
    all.set(this.#kept);
    all.set(bytes, this.#kept.length);
    const ids = new Ids();
    const end = this.trie.walk(all, 0, Math.max(0, all.length - this.trie.longest + 1), (id) => ids.push(id));
    this.#kept = all.slice(end);
    return ids.take();
  }

  end(): Int32Array {
    const ids = new Ids();
    this.trie.walk(this.#kept, 0, this.#kept.length, (id) => ids.push(id));
    return ids.take();
  }
}

/** The texts of the tokens by their ids; id 0 has none. */
function parse(file: Uint8Array, name: string): (Uint8Array | undefined)[] {
  const tokens: (Uint8Array | undefined)[] = [undefined];
  const seen = new Map<string, number>();
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(file);
  } catch (error) {
    throw new LenggenError("E_FORMAT", `${name}: is not valid UTF-8 text, and so no vocabulary of RWKV World`, { cause: error });
  }
  // Lines end at \n alone: Python writes all else that could end one as an escape, but not U+2028 in every version.
  for (const [i, line] of text.split("\n").entries()) {
    if (line === "" || line === "\r") continue;
    const where = `${name}, line ${i + 1}`;
    const parts = /^(\d{1,9}) (.*) (\d{1,9})\r?$/s.exec(line);
    check(parts, "E_FORMAT", () => `${where}: ${quote(line)} is no line of a vocabulary; one has an id, a literal and a length in bytes`);
    const [id, bytes, length] = [Number(parts[1]), literalBytes(parts[2]!, where), Number(parts[3])];
    check(id >= 1 && id < MOST_IDS, "E_FORMAT", () => `${where}: the id ${id} is not in 1 ... ${MOST_IDS - 1}`);
    check(bytes.length === length, "E_FORMAT", () => `${where}: the token has ${bytes.length} bytes, not ${length}`);
    check(length >= 1 && length <= LONGEST, "E_FORMAT", () => `${where}: a token has 1 ... ${LONGEST} bytes, not ${length}`);
    check(tokens[id] === undefined, "E_FORMAT", () => `${where}: the id ${id} is there twice`);
    const key = latin(bytes);
    const before = seen.get(key);
    check(before === undefined, "E_FORMAT", () => `${where}: ids ${before} and ${id} stand for the same bytes`);
    seen.set(key, id);
    while (tokens.length < id) tokens.push(undefined);
    tokens[id] = bytes;
  }
  const missing = tokens.findIndex((token, id) => id > 0 && token === undefined);
  check(tokens.length > 1 && missing < 0, "E_FORMAT", () =>
    (missing < 0 ? `${name}: holds no tokens` : `${name}: the id ${missing} is missing; ids are 1, 2, 3, ... without a gap`));
  for (let byte = 0; byte < 256; byte++) {
    check(seen.has(String.fromCharCode(byte)), "E_FORMAT", () =>
      `${name}: no token is the single byte ${byte}, so that there would be texts without ids; a vocabulary has all 256`);
  }
  return tokens;
}

function latin(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}
