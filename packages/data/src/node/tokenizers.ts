/** Tokenizers on disk: which files they are, and what has to lie beside a checkpoint so that others find it. */
import { readdir, readFile, stat } from "node:fs/promises";
import { basename, dirname, extname, join } from "node:path";
import { check, LenggenError } from "@lenggen/kernels";
import { fileError } from "@lenggen/kernels/node";
import { bytesTokenizer } from "../bytes";
import { tokenizerJson } from "../json/tokenizerJson";
import type { Tokenizer } from "../tokenizer";
import { worldTokenizer } from "../world";

/** A tokenizer with its files. */
export interface TokenizerFiles {
  readonly tokenizer: Tokenizer;
  /** By the names under which they are looked for. */
  readonly files: Readonly<Record<string, Uint8Array>>;
}

const JSON_FILE = "tokenizer.json";
const CONFIG_FILE = "tokenizer_config.json";
/** The vocabularies of RWKV World, by their date. */
const WORLD_FILE = /^rwkv_vocab_.*\.txt$/;
/** Largest file that is read; the largest published ones have 20 MB. */
const LARGEST = 1 << 28;
/** Tokenizers in forms that are not read, with what to do. */
const OTHERS: Readonly<Record<string, string>> = {
  "tokenizer.model": "a file of SentencePiece",
  "vocab.json": "a vocabulary without its rules",
};

/** Bytes as tokens, which need no file. */
export const bytesFiles: TokenizerFiles = { tokenizer: bytesTokenizer, files: {} };

/** The path of the tokenizer in a folder: its `tokenizer.json`, or else a vocabulary of RWKV World; undefined where there is neither. */
export async function findTokenizer(folder: string): Promise<string | undefined> {
  const names = await readdir(folder).catch((error: unknown) => {
    throw fileError("read", folder, error);
  });
  const found = names.includes(JSON_FILE) ? JSON_FILE : names.filter((name) => WORLD_FILE.test(name)).sort().at(-1);
  return found && join(folder, found);
}

/**
 * Reads a tokenizer: a file, or the one in a folder. Throws `E_MISSING` where there is none, `E_IO`, and what {@link tokenizerJson} and
 * {@link worldTokenizer} throw.
 */
export async function readTokenizer(path: string): Promise<TokenizerFiles> {
  const found = await stat(path).catch((error: unknown) => {
    throw fileError("read", `tokenizer ${path}`, error);
  });
  if (!found.isDirectory()) return readFileOf(path, found.size);
  const inside = await findTokenizer(path);
  if (inside !== undefined) return readFileOf(inside, (await stat(inside)).size);
  const names = await readdir(path);
  const other = Object.keys(OTHERS).find((name) => names.includes(name));
  throw new LenggenError("E_MISSING", `${path} holds no tokenizer: neither ${JSON_FILE} nor a vocabulary of RWKV World (rwkv_vocab_*.txt)`
    + (other === undefined ? "" : `; ${other} is ${OTHERS[other]}, which is not read: the Python package transformers writes a `
      + `${JSON_FILE} from it`));
}

async function readFileOf(path: string, size: number): Promise<TokenizerFiles> {
  check(size <= LARGEST, "E_FORMAT", () => `tokenizer ${path} has ${size} bytes, too many for one (at most ${LARGEST})`);
  const file = await read(path);
  // World's vocabularies begin with an id, whatever they are called.
  if (extname(path) === ".txt" || /^\d/.test(String.fromCharCode(file[0] ?? 0))) {
    const name = WORLD_FILE.test(basename(path)) ? basename(path) : "rwkv_vocab_world.txt";
    return { tokenizer: await worldTokenizer(file, path), files: { [name]: file } };
  }
  const config = await readFile(join(dirname(path), CONFIG_FILE)).then((bytes) => new Uint8Array(bytes), () => undefined);
  return { tokenizer: await tokenizerJson(file, path, { config }), files: { [JSON_FILE]: file, ...(config && { [CONFIG_FILE]: config }) } };
}

async function read(path: string): Promise<Uint8Array> {
  try {
    return new Uint8Array(await readFile(path));
  } catch (error) {
    throw fileError("read", `tokenizer ${path}`, error);
  }
}
