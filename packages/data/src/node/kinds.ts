/** What a file is, by its name: how it is packed, and what is in it. */
import { check } from "@lenggen/kernels";

export type Packing = "gzip" | "zstd";

export interface FileKind {
  readonly packing?: Packing;
  /** `bytes`: one document. `lines`: JSON lines, a document each. `parquet`: a column of documents. */
  readonly content: "bytes" | "lines" | "parquet";
}

/** The kinds of files that a folder's texts are in, for messages. */
export const KINDS = ".txt, .md, .jsonl, .ndjson and .parquet, the first four also with .gz or .zst";

const PACKINGS: readonly (readonly [RegExp, Packing])[] = [[/\.(gz|gzip)$/i, "gzip"], [/\.(zst|zstd)$/i, "zstd"]];
const TEXT = /\.(txt|md)$/i;
const LINES = /\.(jsonl|ndjson)$/i;
/** JSON lines as some data sets name them; a `.json` that is not packed is mostly one value. */
const PACKED_LINES = /\.json$/i;
const PARQUET = /\.parquet$/i;
const ARCHIVE = /\.(tar|tgz|zip)$/i;

/**
 * The kind of a file in a folder; undefined for what is no text. Where a field is asked for, documents are records, so that what lies
 * beside them, such as a README, is none.
 */
export function kindInFolder(name: string, field: string | undefined): FileKind | undefined {
  const { packing, inner } = unpackedName(name);
  if (LINES.test(inner) || (packing && PACKED_LINES.test(inner))) return { packing, content: "lines" };
  if (PARQUET.test(inner) && !packing) return { content: "parquet" };
  return TEXT.test(inner) && field === undefined ? { packing, content: "bytes" } : undefined;
}

/** The kind of a file that was asked for by its name: any is a text. With a field, those of unknown kinds are JSON lines. */
export function kindOfFile(path: string, field: string | undefined): FileKind {
  const kind = kindInFolder(path, field);
  if (kind) return kind;
  const { packing, inner } = unpackedName(path);
  check(!(packing && ARCHIVE.test(inner)) && !/\.tgz$/i.test(path), "E_TEXT", () =>
    `text "${path}" is an archive of files; unpack it, and give the folder`);
  check(!PARQUET.test(inner), "E_TEXT", () => `text "${path}": Parquet packs its columns itself, and is read by places; unpack the file`);
  check(field === undefined || !TEXT.test(inner), "E_ARGUMENT", () =>
    `text "${path}" has no fields, since it is no JSON lines and no Parquet; leave the field out`);
  return { packing, content: field === undefined ? "bytes" : "lines" };
}

/** Whether a file is read as it lies on the disk. */
export const isPlain = ({ packing, content }: FileKind): boolean => packing === undefined && content === "bytes";

function unpackedName(name: string): { readonly packing?: Packing; readonly inner: string } {
  for (const [ending, packing] of PACKINGS) if (ending.test(name)) return { packing, inner: name.replace(ending, "") };
  return { inner: name };
}
