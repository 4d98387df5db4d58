/**
 * Texts: a file, a folder (all files of texts below it, by name), what comes in by a pipe (`-`), or a built-in corpus. Bytes are the
 * tokens: nothing is decoded, normalised or dropped. A file is one document, or one in each record of JSON lines; files may be packed.
 * Small texts are held in memory; of large ones, only what is asked for is read.
 */
import { createReadStream, type Dirent } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { join, relative, sep } from "node:path";
import { check, joinTokens, LenggenError, nearest, partOf, type TokenSource } from "@lenggen/kernels";
import { fileTokens } from "@lenggen/kernels/node";
import type { CacheOptions } from "./cache";
import { CORPORA, corpus } from "./corpora";
import { Documents, type TextFile, tokensOf } from "./documents";
import { jsonLines } from "./jsonLines";
import { type FileKind, isPlain, kindInFolder, kindOfFile, KINDS } from "./kinds";
import { DEFAULT_FIELD, unpacked } from "./unpacked";

/** A text of one or more documents, held in memory or read from its files. */
export interface Text {
  /** As it was asked for, with the field of its records where one was named. */
  readonly source: string;
  readonly field?: string;
  readonly documents: Documents;
  /** All documents one after the other, which are not copied. */
  readonly tokens: TokenSource;
  /** Files of the folder that are no text. */
  readonly otherFiles: number;
}

/** The name of standard input, as many programs have it; a file of that name is `./-`. */
const STDIN = "-";
/** What systems and editors leave beside the files that people put there, such as `._book.txt` and `.git/`. */
const HIDDEN = /(^|\/)\./;
/** Largest text that is held in memory: it is read faster, and its files may change meanwhile. */
const HELD = 1 << 26;
/** Bytes that are read at a time. */
const PIECE = 1 << 20;

/** Options of {@link readText}. */
export interface TextOptions extends CacheOptions {
  /**
   * The field of a record that is its text; by dots, one inside of others. `text` unless given. Where it is given, documents are records
   * alone: what comes by a pipe and files of unknown kinds are JSON lines, and files without records in a folder are not read.
   */
  readonly field?: string;
  /** The files that a source stands for which is no path, such as a reference to the hub. */
  readonly files?: readonly { readonly name: string; readonly path: string }[];
}

/** Whether a file in a folder, or of a data set, is read as text: by its name. With a field, whether it holds records. */
export const isTextName = (name: string, field?: string): boolean => !HIDDEN.test(name) && kindInFolder(name, field) !== undefined;

/**
 * Reads a text. Throws `E_MISSING` when there is none of that name, `E_TEXT` when it is empty or shorter than `least` bytes in all, `E_IO`
 * when it can't be read, `E_FORMAT` for files that are damaged or not of their kind, `E_UNKNOWN_NAME` for a field that records do not have.
 */
export async function readText(source: string, least = 1, options: TextOptions = {}): Promise<Text> {
  const { field, files } = options;
  check(field !== "", "E_ARGUMENT", () => "the field of a text's records has an empty name");
  const isCorpus = !files && Object.hasOwn(CORPORA, source);
  check(!isCorpus || field === undefined, "E_ARGUMENT", () =>
    `text "${source}" is a built-in corpus, which has no fields; leave the field out`);
  const text = isCorpus ? textOf(source, corpus(source)) : await readPath(source, options);
  const { tokens } = text;
  check(tokens.length > 0, "E_TEXT", () => `text "${source}" is empty`);
  check(tokens.length >= least, "E_TEXT", () => 
    `text "${source}" has ${tokens.length} ${tokens.length === 1 ? "byte" : "bytes"}; this needs at least ${least}`);
  return field === undefined ? text : { ...text, field };
}

/** A text of these documents, or of files with several each. */
export function textOf(source: string, files: readonly TextFile[], otherFiles = 0): Text {
  return { source, documents: new Documents(files), tokens: tokensOf(files), otherFiles };
}

async function readPath(source: string, options: TextOptions): Promise<Text> {
  const { field } = options;
  try {
    const { files } = options;
    if (files) return textOf(source, await opened(files.map((file) => ({ ...file, kind: kindOfFile(file.path, field) })), options));
    if (source === STDIN) return textOf(source, [await drained(source, process.stdin, field)]);
    const found = await stat(source);
    if (found.isDirectory()) return await readFolder(source, options);
    const kind = found.isFile() ? kindOfFile(source, field) : undefined;
    // A pipe, or a file of the system whose size is not known: whatever comes out of it.
    if (kind === undefined || (found.size === 0 && isPlain(kind)))
      return textOf(source, [await drained(source, createReadStream(source, { highWaterMark: 1 << 20 }), field)]);
    return textOf(source, await opened([{ name: source, path: source, kind }], options));
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

async function readFolder(source: string, options: TextOptions): Promise<Text> {
  const found = (await readdir(source, { recursive: true, withFileTypes: true })).filter((entry) => !entry.isDirectory());
  const entries = found
    .map((entry) => ({ entry, name: relative(source, join(entry.parentPath, entry.name)).split(sep).join("/") })) // alike on every system
    .filter(({ name }) => !HIDDEN.test(name));
  const files: PlacedFile[] = [];
  for (const { entry, name } of entries) {
    const kind = kindInFolder(name, options.field);
    if (kind && (await leadsToFile(entry))) files.push({ name, path: join(source, name), kind });
  }
  files.sort((a, b) => (a.name < b.name ? -1 : 1));
  check(files.length > 0, "E_TEXT", () =>
    `folder "${source}" holds no file ${options.field === undefined ? "of a text" : `of records, whose field "${options.field}" was asked `
      + "for"}; texts are ${KINDS}`);
  return textOf(source, await opened(files, options), entries.length - files.length);
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

/** A file of a text. */
interface PlacedFile {
  readonly name: string;
  readonly path: string;
  readonly kind: FileKind;
}

/** Opens files, after unpacking what has to be; they are held when they are small together. */
async function opened(files: readonly PlacedFile[], options: TextOptions): Promise<TextFile[]> {
  const reader = fileTokens();
  const texts: TextFile[] = [];
  for (const { name, path, kind } of files) {
    if (isPlain(kind)) texts.push({ name, tokens: await reader.open(path) });
    else {
      const { path: bytes, bytes: length, starts } = await unpacked(path, kind, options.field ?? DEFAULT_FIELD, options);
      texts.push({ name, tokens: partOf(await reader.open(bytes), 0, length), starts: kind.content === "bytes" ? undefined : starts });
    }
  }
  if (tokensOf(texts).length > HELD) return texts;
  const held = texts.map((text) => ({ ...text, tokens: bytesOf(text.tokens as TokenSource) }));
  reader.close();
  return held;
}

function bytesOf(source: TokenSource): Uint8Array {
  const bytes = new Uint8Array(source.length);
  const piece = new Int32Array(Math.min(PIECE, source.length));
  for (let start = 0; start < source.length; start += PIECE) {
    const part = piece.subarray(0, Math.min(PIECE, source.length - start));
    source.read(start, part);
    bytes.set(part, start);
  }
  return bytes;
}

/** All that comes out of a pipe, in pieces. */
async function drained(name: string, pipe: NodeJS.ReadableStream, field: string | undefined): Promise<TextFile> {
  const pieces: Uint8Array[] = [];
  const chunks = pipe as unknown as AsyncIterable<Uint8Array>;
  if (field === undefined) {
    for await (const chunk of chunks) pieces.push(chunk);
    return { name, tokens: joinTokens(pieces) };
  }
  const starts: number[] = [];
  let length = 0;
  for await (const piece of jsonLines(chunks, name === STDIN ? "standard input" : name, field)) {
    for (const start of piece.starts) starts.push(length + start);
    pieces.push(piece.bytes);
    length += piece.bytes.length;
  }
  check(starts.length > 0, "E_TEXT", () => `text "${name}" holds no record`);
  return { name, tokens: joinTokens(pieces), starts };
}
