/**
 * Texts: a file, a folder (all .txt and .md files below it, by name), what comes in by a pipe (`-`), or a built-in corpus. Bytes are the
 * tokens: nothing is decoded, normalised or dropped. Small texts are held in memory; of large ones, only what is asked for is read.
 */
import { createReadStream, type Dirent } from "node:fs";
import { readdir, readFile, stat } from "node:fs/promises";
import { join, relative, sep } from "node:path";
import { check, joinTokens, LenggenError, nearest, type TokenSource } from "@lenggen/kernels";
import { fileTokens } from "@lenggen/kernels/node";
import { CORPORA, corpus, type TextDocument } from "./corpora";

export interface Text {
  /** As it was asked for. */
  readonly source: string;
  readonly documents: readonly TextDocument[];
  /** All documents one after the other, which are not copied. */
  readonly tokens: TokenSource;
  /** Files of the folder that are no text. */
  readonly otherFiles: number;
}

/** The name of standard input, as many programs have it; a file of that name is `./-`. */
const STDIN = "-";
const TEXT_FILE = /\.(txt|md)$/i;
/** What systems and editors leave beside the files that people put there, such as `._book.txt` and `.git/`. */
const HIDDEN = /(^|\/)\./;
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
    if (source === STDIN) return textOf(source, [{ name: source, tokens: await drained(process.stdin) }]);
    const found = await stat(source);
    if (found.isDirectory()) return await readFolder(source);
    // A pipe, or a file of the system whose size is not known: whatever comes out of it.
    if (!found.isFile() || found.size === 0)
      return textOf(source, [{ name: source, tokens: await drained(createReadStream(source, { highWaterMark: 1 << 20 })) }]);
    return textOf(source, await opened([{ name: source, path: source }]));
  } catch (error) {
    if (error instanceof LenggenError) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    const corpora = Object.keys(CORPORA);
    check(code !== "ENOENT", "E_MISSING", () =>
      `text "${source}": there is no such file or folder, nor a built-in corpus of that name${nearest(source, corpora)}; `
        + `built in are ${corpora.join(", ")}`);
    throw new LenggenError("E_IO", `text "${source}" can't be read: ${message}`, { cause: error });
  }
}

async function readFolder(source: string): Promise<Text> {
  const found = (await readdir(source, { recursive: true, withFileTypes: true })).filter((entry) => !entry.isDirectory());
  const entries = found
    .map((entry) => ({ entry, name: relative(source, join(entry.parentPath, entry.name)).split(sep).join("/") })) // alike on every system
    .filter(({ name }) => !HIDDEN.test(name));
  const names: string[] = [];
  for (const { entry, name } of entries) if (TEXT_FILE.test(name) && (await leadsToFile(entry))) names.push(name);
  names.sort();
  check(names.length > 0, "E_TEXT", () => `folder "${source}" holds no .txt or .md file`);
  const documents = await opened(names.map((name) => ({ name, path: join(source, name) })));
  return textOf(source, documents, entries.length - names.length);
}

/** Whether an entry is a file, or a link to one. Links to folders are not followed, since they may go in circles. */
async function leadsToFile(entry: Dirent): Promise<boolean> {
  if (!entry.isSymbolicLink()) return entry.isFile();
  const link = join(entry.parentPath, entry.name);
  const target = await stat(link).catch((error: unknown) => {
    throw new LenggenError("E_IO", `${link}: the link leads nowhere; mend it or take it away`, { cause: error });
  });
  return target.isFile();
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
async function drained(pipe: NodeJS.ReadableStream): Promise<TokenSource> {
  const pieces: Uint8Array[] = [];
  for await (const piece of pipe) pieces.push(piece as unknown as Uint8Array);
  return joinTokens(pieces);
}
