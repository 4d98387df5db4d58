/**
 * Texts: a file, a folder (all .txt and .md files below it, by name), or a built-in corpus. Bytes are the tokens: nothing is
 * decoded, normalised or dropped. Small texts are held in memory; of large ones, only what is asked for is read.
 */
import { createReadStream } from "node:fs";
import { readdir, readFile, stat } from "node:fs/promises";
import { join, relative, sep } from "node:path";
import { check, joinTokens, LenggenError, nearest, type Tokens, type TokenSource } from "@lenggen/kernels";
import { fileTokens } from "@lenggen/kernels/node";
import { CORPORA, corpus } from "./corpora";

export interface TextDocument {
  readonly name: string;
  readonly tokens: Tokens | TokenSource;
}

export interface Text {
  /** As it was asked for. */
  readonly source: string;
  readonly documents: readonly TextDocument[];
  /** All documents one after the other, which are not copied. */
  readonly tokens: TokenSource;
  /** Files of the folder that are no text. */
  readonly otherFiles: number;
}

const TEXT_FILE = /\.(txt|md)$/i;
/** Largest text that is held in memory: it is read faster, and its files may change meanwhile. */
const HELD = 1 << 26;

/**
 * Reads a text. Throws `E_MISSING` when there is none of that name, `E_TEXT` when it is empty or shorter than `least` bytes
 * in all, `E_IO` when it can't be read.
 */
export async function readText(source: string, least = 1): Promise<Text> {
  const text = Object.hasOwn(CORPORA, source) ? textOf(source, corpus(source)) : await readPath(source);
  const { tokens } = text;
  check(tokens.length > 0, "E_TEXT", () => `text "${source}" is empty`);
  check(tokens.length >= least, "E_TEXT", () => `text "${source}" has ${tokens.length} bytes; this needs at least ${least}`);
  return text;
}

/** A text of these documents. */
export function textOf(source: string, documents: readonly TextDocument[], otherFiles = 0): Text {
  return { source, documents, tokens: joinTokens(documents.map((document) => document.tokens)), otherFiles };
}

async function readPath(source: string): Promise<Text> {
  try {
    const found = await stat(source);
    if (found.isDirectory()) return await readFolder(source);
    // A pipe, or a file of the system whose size is not told: whatever comes out of it.
    if (!found.isFile() || found.size === 0) return textOf(source, [{ name: source, tokens: await drained(source) }]);
    return textOf(source, await opened([{ name: source, path: source }]));
  } catch (error) {
    if (error instanceof LenggenError) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    const corpora = Object.keys(CORPORA);
    check(code !== "ENOENT", "E_MISSING", () =>
      `text "${source}": there is no such file or folder, nor a built-in corpus of that name${nearest(source, corpora)}; built in are ${corpora.join(", ")}`);
    throw new LenggenError("E_IO", `text "${source}" can't be read: ${message}`, { cause: error });
  }
}

async function readFolder(source: string): Promise<Text> {
  const entries = (await readdir(source, { recursive: true, withFileTypes: true })).filter((entry) => !entry.isDirectory());
  const names = entries
    .filter((entry) => entry.isFile() && TEXT_FILE.test(entry.name))
    .map((entry) => relative(source, join(entry.parentPath, entry.name)).split(sep).join("/")) // in the same order on every system
    .sort();
  check(names.length > 0, "E_TEXT", () => `folder "${source}" holds no .txt or .md file`);
  const documents = await opened(names.map((name) => ({ name, path: join(source, name) })));
  return textOf(source, documents, entries.length - names.length);
}

/** Files as documents: held when they are small together. */
async function opened(files: readonly { readonly name: string; readonly path: string }[]): Promise<TextDocument[]> {
  const reader = fileTokens();
  const documents: TextDocument[] = [];
  for (const { name, path } of files) documents.push({ name, tokens: await reader.open(path) });
  if (documents.reduce((sum, { tokens }) => sum + tokens.length, 0) > HELD) return documents;
  reader.close();
  return Promise.all(files.map(async ({ name, path }) => ({ name, tokens: new Uint8Array(await readFile(path)) })));
}

/** All that comes out of a pipe, in pieces. */
async function drained(path: string): Promise<TokenSource> {
  const pieces: Uint8Array[] = [];
  for await (const piece of createReadStream(path, { highWaterMark: 1 << 20 })) pieces.push(piece as Uint8Array);
  return joinTokens(pieces);
}
