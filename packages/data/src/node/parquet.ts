/**
 * A column of Parquet as documents. hyparquet reads what describes a file; the pages of strings are read here (parquetPages.ts), one
 * after the other, so that neither a file nor a row group has to fit into memory.
 */
import { type ByteSource, check, LenggenError } from "@lenggen/kernels";
import { type FileMetaData, parquetMetadata, parquetSchema, type RowGroup, type SchemaTree } from "hyparquet";
import { parquetHeader } from "hyparquet/src/column.js";
import { cacheFolder, checkRoom } from "./cache";
import type { FileChunks } from "./fileChunks";
import { missing, type Piece } from "./jsonLines";
import { ColumnPages, damaged } from "./parquetPages";

const MARK = "PAR1";
/** The mark of a file whose description is encrypted. */
const ENCRYPTED = "PARE";
/** Bytes at the end: how long the description is, and the mark. */
const TAIL = 8;
/** Longest description that is read: its values take much more memory than its bytes. */
const LONGEST_FOOTER = 1 << 25;
/** Where a page's header is looked for, at first and at most: it may hold long values. */
const [HEADER, LONGEST_HEADER] = [1 << 16, 1 << 24];
/** Largest page. */
const LARGEST_PAGE = 2 ** 30;
/** Text that is handed on at once. */
const PIECE = 1 << 20;
const STRINGS: ReadonlySet<string | undefined> = new Set([undefined, "UTF8", "ENUM", "JSON", "STRING"]);

interface Leaf {
  readonly path: readonly string[];
  readonly tree: SchemaTree;
  /** How many of the elements on the way may be absent, and how many are repeated. */
  readonly optional: number;
  readonly repeated: number;
}

/**
 * The documents in a column, whose bytes stay as they are. `field` leads into groups by dots. Throws `E_FORMAT` for a file that is cut,
 * damaged, encrypted or no Parquet, and for a column that does not hold a string in each row, `E_UNKNOWN_NAME` for one that is not there.
 */
export async function* parquetColumn(file: FileChunks, field: string): AsyncGenerator<Piece, void, undefined> {
  const source = await file.opened();
  try {
    const { metadata, end } = await readMetadata(source, file.path);
    const leaf = findLeaf(file.path, () => parquetSchema(metadata), field);
    const chunks = parsed(file.path, "its row groups can't be told", () =>
      metadata.row_groups.map((group) => chunkOf(file.path, group, leaf, end)));
    file.total = chunks.reduce((sum, { length }) => sum + length, 0);
    await checkRoom(cacheFolder(), chunks.reduce((sum, { unpacked }) => sum + unpacked, 0));
    let row = 0;
    for (const chunk of chunks) {
      const pages = new ColumnPages(file.path, { ...chunk, row, optional: leaf.optional });
      await pages.ready();
      for (let at = chunk.start; at < chunk.start + chunk.length && !pages.ended; ) {
        file.checkSignal();
        const { header, length } = await readHeader(source, file.path, at, chunk.start + chunk.length - at);
        const size = header.compressed_page_size;
        const { uncompressed_page_size: unpacked } = header;
        check(Number.isSafeInteger(size) && size >= 0 && at + length + size <= chunk.start + chunk.length
          && Number.isSafeInteger(unpacked) && unpacked <= LARGEST_PAGE, "E_FORMAT",
          damaged(file.path, `a page at byte ${at} is larger than its column`));
        const bytes = await source.read(at + length, size);
        yield* pieces(pages.read(header, bytes));
        at += length + size;
        file.read += length + size;
      }
      row += pages.finish();
    }
  } finally {
    await source.close();
  }
}

/** Values, put together. */
function* pieces(values: Iterable<Uint8Array>): Generator<Piece, void, undefined> {
  let [held, starts, length]: [Uint8Array[], number[], number] = [[], [], 0];
  for (const value of values) {
    starts.push(length);
    held.push(value);
    length += value.length;
    if (length < PIECE) continue;
    yield { bytes: Buffer.concat(held, length), starts };
    [held, starts, length] = [[], [], 0];
  }
  if (starts.length > 0) yield { bytes: Buffer.concat(held, length), starts };
}

async function readMetadata(source: ByteSource, path: string): Promise<{ metadata: FileMetaData; end: number }> {
  const { size } = source;
  const word = async (at: number): Promise<string> => Buffer.from(await source.read(at, 4)).toString("latin1");
  check(size >= 4 && (await word(0)) === MARK, "E_FORMAT", () => `${path}: is no Parquet, which begins with ${MARK}`);
  const last = await word(size - 4);
  check(last !== ENCRYPTED, "E_FORMAT", () => `${path}: is encrypted, which is not read`);
  check(last === MARK && size >= 4 + TAIL, "E_FORMAT", () => `${path}: does not end as Parquet does: the file is cut`);
  const length = Buffer.from(await source.read(size - TAIL, 4)).readUInt32LE();
  const end = size - TAIL - length;
  check(end >= 4 && length <= LONGEST_FOOTER, "E_FORMAT", damaged(path, `its description has ${length} bytes, it says`));
  const bytes = await source.read(end, length + TAIL);
  const metadata = parsed(path, "its description can't be read", () => parquetMetadata(bytes, { geoparquet: false }));
  return { metadata, end };
}

/** What a library gives; whatever it throws says that the file is damaged. */
function parsed<T>(path: string, what: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof LenggenError) throw error;
    throw new LenggenError("E_FORMAT", damaged(path, `${what} (${(error as Error).message})`)(), { cause: error });
  }
}

function findLeaf(path: string, schema: () => SchemaTree, field: string): Leaf {
  const leaves = parsed(path, "its columns can't be told", () => [...leavesOf(schema(), 0, 0)]);
  const nameOf = (leaf: Leaf): string => leaf.path.join(".");
  const leaf = leaves.find((each) => nameOf(each) === field);
  const inside = leaves.map(nameOf).filter((name) => name.startsWith(`${field}.`));
  const refused = (what: string) => (): string => `${path}: the column "${field}" ${what}; a text is a string in each row`;
  const isList = leaves.some((each) => each.repeated > 0 && (nameOf(each) === field || inside.includes(nameOf(each))));
  check(!isList, "E_FORMAT", refused("is a list"));
  check(leaf || inside.length === 0, "E_FORMAT", refused(`is a group of columns (${inside.join(", ")})`));
  check(leaf, "E_UNKNOWN_NAME", () => `${path}: ${missing(field, leaves.map(nameOf))}`);
  const { type, converted_type: converted, logical_type: logical } = leaf.tree.element;
  check(type === "BYTE_ARRAY" && STRINGS.has(converted) && STRINGS.has(logical?.type), "E_FORMAT",
    refused(`is of the type ${logical?.type ?? converted ?? type}`));
  return leaf;
}

function* leavesOf(tree: SchemaTree, optional: number, repeated: number): Generator<Leaf, void, undefined> {
  for (const child of tree.children) {
    const { repetition_type: repetition } = child.element;
    const [absent, lists] = [optional + (repetition === "REQUIRED" ? 0 : 1), repeated + (repetition === "REPEATED" ? 1 : 0)];
    if (child.children.length > 0) yield* leavesOf(child, absent, lists);
    else yield { path: child.path, tree: child, optional: absent, repeated: lists };
  }
}

/** Where a row group holds a column. */
interface ColumnChunk {
  readonly start: number;
  readonly length: number;
  /** Bytes that its pages have when unpacked, it says. */
  readonly unpacked: number;
  readonly rows: number;
  readonly codec: string;
}

function chunkOf(path: string, group: RowGroup, leaf: Leaf, end: number): ColumnChunk {
  const name = leaf.path.join("\0");
  const chunk = group.columns.find(({ meta_data: meta }) => meta?.path_in_schema.join("\0") === name);
  const meta = chunk?.meta_data;
  check(chunk && meta, "E_FORMAT", damaged(path, `a row group lacks the column ${leaf.path.join(".")}`));
  check(!chunk.file_path, "E_FORMAT", () => `${path}: its columns lie in other files, which is not read`);
  check(!chunk.crypto_metadata, "E_FORMAT", () => `${path}: the column ${leaf.path.join(".")} is encrypted, which is not read`);
  const { dictionary_page_offset: dictionary, data_page_offset: data, num_values: values } = meta;
  const start = Number(dictionary && dictionary < data ? dictionary : data);
  const [length, unpacked, rows] = [Number(meta.total_compressed_size), Number(meta.total_uncompressed_size), Number(group.num_rows)];
  check(start >= 4 && length >= 0 && start + length <= end, "E_FORMAT", damaged(path, "a column lies outside of the file"));
  check(Number(values) === rows && unpacked >= 0, "E_FORMAT",
    damaged(path, `a row group has ${rows} rows, and ${values} values of a column`));
  return { start, length, unpacked, rows, codec: meta.codec };
}

/** A page's header, and how long it is. */
async function readHeader(source: ByteSource, path: string, at: number, most: number) {
  for (let window = Math.min(HEADER, most); ; window = Math.min(window * 16, most, LONGEST_HEADER)) {
    const bytes = await source.read(at, window);
    const reader = { view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), offset: 0 };
    try {
      return { header: parquetHeader(reader), length: reader.offset };
    } catch (error) {
      if (window < most && window < LONGEST_HEADER) continue; // it may go on beyond what was read
      throw new LenggenError("E_FORMAT", damaged(path, `there is no page at byte ${at} (${(error as Error).message})`)(), { cause: error });
    }
  }
}
