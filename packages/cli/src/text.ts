/**
 * Texts: a file, a folder (all .txt and .md files below it, by name), or a built-in corpus. Bytes are the tokens: nothing is
 * decoded, normalised or dropped.
 */
import { readdir, readFile, stat } from "node:fs/promises";
import { join, relative } from "node:path";
import { check, LenggenError, nearest } from "@lenggen/kernels";
import { CORPORA, corpus } from "./corpora";

export interface TextDocument {
  readonly name: string;
  readonly bytes: Uint8Array;
}

export interface Text {
  /** As it was asked for. */
  readonly source: string;
  readonly documents: readonly TextDocument[];
  /** Bytes of all documents together. */
  readonly length: number;
}

const TEXT_FILE = /\.(txt|md)$/i;

/**
 * Reads a text. Throws `E_MISSING` when there is none of that name, `E_TEXT` when it is empty or shorter than `least` bytes
 * in all, `E_IO` when it can't be read.
 */
export async function readText(source: string, least = 1): Promise<Text> {
  const documents = Object.hasOwn(CORPORA, source) ? corpus(source) : await readPath(source);
  const length = documents.reduce((sum, { bytes }) => sum + bytes.byteLength, 0);
  check(length > 0, "E_TEXT", () => `text "${source}" is empty`);
  check(length >= least, "E_TEXT", () => `text "${source}" has ${length} bytes; this needs at least ${least}`);
  return { source, documents, length };
}

/** All documents one after the other, in one array. */
export function joined(text: Text): Uint8Array {
  const all = new Uint8Array(text.length);
  let at = 0;
  for (const { bytes } of text.documents) {
    all.set(bytes, at);
    at += bytes.byteLength;
  }
  return all;
}

async function readPath(source: string): Promise<TextDocument[]> {
  try {
    const isFolder = (await stat(source)).isDirectory();
    if (!isFolder) return [{ name: source, bytes: new Uint8Array(await readFile(source)) }];
    const names = (await readdir(source, { recursive: true, withFileTypes: true }))
      .filter((entry) => entry.isFile() && TEXT_FILE.test(entry.name))
      .map((entry) => relative(source, join(entry.parentPath, entry.name)))
      .sort();
    check(names.length > 0, "E_TEXT", () => `folder "${source}" holds no .txt or .md file`);
    return await Promise.all(names.map(async (name) => ({ name, bytes: new Uint8Array(await readFile(join(source, name))) })));
  } catch (error) {
    if (error instanceof LenggenError) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    const corpora = Object.keys(CORPORA);
    check(code !== "ENOENT", "E_MISSING", () =>
      `text "${source}": there is no such file or folder, nor a built-in corpus of that name${nearest(source, corpora)}; built in are ${corpora.join(", ")}`);
    throw new LenggenError("E_IO", `text "${source}" can't be read: ${message}`, { cause: error });
  }
}
