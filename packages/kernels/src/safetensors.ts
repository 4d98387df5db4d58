/**
 * The safetensors format (https://github.com/huggingface/safetensors#format): 8 bytes of header length N
 * (little-endian), N bytes of JSON, then the data. The JSON maps each name to `{dtype, shape, data_offsets:
 * [begin, end]}`, offsets counting from the start of the data, and may hold text under `__metadata__`.
 *
 * Files are not trusted. Before anything is allocated, the header is held to the format: its length is within the
 * file and 100 MB, keys are unique, sizes equal shape times type, and the tensors cover the data exactly, without
 * overlap or hole. What breaks a rule is refused with `E_FORMAT`. A type that can't be read is no such breach: the file
 * opens, and only loading that tensor is refused. Tensors are read and written slice by slice: host memory stays small
 * whatever the file's size.
 */
import type { DType } from "./dtype";
import { check } from "./errors";
import { bitsOf, encode, FILE_DTYPES, type WritableDType } from "./fileDtype";
import { type Shape, showShape, sizeOf } from "./shape";
import type { ByteSource } from "./source";
import { isJsonObject, type Json, parseJsonBytes, quote } from "./strictJson";
import { keep, type Tensor } from "./tensor";
import { type FileTensor, readExactly, SLICE, sliced, type TensorFile, tensorFile, type TensorFileParts } from "./tensorFile";
import { leaves } from "./tree";

export type { FileTensor, Safetensors } from "./tensorFile";

const MAX_HEADER = 100_000_000;
const MAX_RANK = 64;
const METADATA = "__metadata__";

/** A type's name, also of a type that this reader does not know. */
const TYPE_NAME = /^[A-Z][A-Z0-9_]{0,31}$/;

/** A tensor with its place. */
interface Entry extends FileTensor {
  /** Where its bytes start in the file. */
  readonly offset: number;
  readonly byteLength: number;
}

/** Reads and checks the header of a safetensors file. Throws `E_FORMAT`. */
export async function openSafetensors(source: ByteSource): Promise<TensorFile> {
  const file = source.name ?? "safetensors data";
  return tensorFile({
    file, ...(await readHeader(source, file)),
    stream({ dtype, offset, byteLength }, what) {
      return sliced(source, offset, byteLength, (SLICE * (bitsOf(dtype) ?? 8)) / 8, what);
    },
  });
}

async function readHeader(source: ByteSource, file: string): Promise<Pick<TensorFileParts<Entry>, "tensors" | "metadata">> {
  check(source.size >= 8, "E_FORMAT", () => `${file}: has ${source.size} bytes; a safetensors file has at least 8 (the header's length)`);
  const prefix = await readExactly(source, 0, 8, file);
  const length = Number(new DataView(prefix.buffer, prefix.byteOffset, 8).getBigUint64(0, true));
  check(length <= MAX_HEADER, "E_FORMAT", () =>
    `${file}: claims a header of ${length} bytes; the format allows at most ${MAX_HEADER}. Is this a safetensors file?`);
  check(8 + length <= source.size, "E_FORMAT", () =>
    `${file}: claims a header of ${length} bytes but has only ${source.size - 8} after its length; the file is cut short`);
  const bytes = await readExactly(source, 8, length, file);
  check(bytes[0] === 0x7b, "E_FORMAT", () => `${file}: the header must begin with "{"`);
  const header = parseJsonBytes(bytes, `${file}: header`, { maxDepth: 4 });
  check(isJsonObject(header), "E_FORMAT", () => `${file}: the header must be a JSON object`);

  const tensors = Object.create(null) as Record<string, Entry>;
  let metadata = Object.create(null) as Record<string, string>;
  for (const [name, entry] of Object.entries(header)) {
    if (name === METADATA) metadata = checkMetadata(entry, file);
    else tensors[name] = checkEntry(entry, 8 + length, source.size, `${file}: tensor ${quote(name)}`);
  }
  checkCover(tensors, 8 + length, source.size, file);
  return { tensors, metadata };
}

function checkMetadata(entry: Json, file: string): Record<string, string> {
  if (entry === null) return Object.create(null) as Record<string, string>; // as some programs write none, and other readers take it
  check(isJsonObject(entry) && Object.values(entry).every((text) => typeof text === "string"), "E_FORMAT", () =>
    `${file}: ${METADATA} must map names to strings`);
  return entry as Record<string, string>;
}

function isCount(value: Json | undefined): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

/** One entry of the header, with offsets made absolute. */
function checkEntry(entry: Json, dataStart: number, fileSize: number, what: string): Entry {
  check(isJsonObject(entry), "E_FORMAT", () => `${what}: must be an object with dtype, shape and data_offsets`);
  const extra = Object.keys(entry).find((field) => !["dtype", "shape", "data_offsets"].includes(field));
  check(extra === undefined, "E_FORMAT", () =>
    `${what}: has an unknown field ${quote(extra!)}; the fields are dtype, shape and data_offsets`);
  const { dtype, shape, data_offsets: offsets } = entry;
  check(typeof dtype === "string" && TYPE_NAME.test(dtype), "E_FORMAT", () =>
    `${what}: dtype ${show(dtype)} is not the name of a type, such as ${Object.keys(FILE_DTYPES).join(", ")}`);
  check(Array.isArray(shape) && shape.length <= MAX_RANK && shape.every(isCount), "E_FORMAT", () =>
    `${what}: shape ${show(shape)} must be a list of at most ${MAX_RANK} whole numbers of at least 0`);
  check(Array.isArray(offsets) && offsets.length === 2 && offsets.every(isCount), "E_FORMAT", () =>
    `${what}: data_offsets ${show(offsets)} must be two whole numbers`);
  const [begin, end] = offsets as [number, number];
  const dataSize = fileSize - dataStart;
  check(begin <= end && end <= dataSize, "E_FORMAT", () =>
    `${what}: data_offsets [${begin}, ${end}] must be in order and within the ${dataSize} bytes of data; the file is damaged or cut short`);
  // The running product stays exact or leaves the safe range, also when a later axis is 0. Of an unknown type one counts elements.
  const bits = bitsOf(dtype);
  let size = bits ?? 1;
  for (const axis of shape) {
    size *= axis;
    check(Number.isSafeInteger(size), "E_FORMAT", () => `${what}: shape ${show(shape)} is too large`);
  }
  check(bits === undefined || size === 8 * (end - begin), "E_FORMAT", () =>
    `${what}: shape ${showShape(shape)} of ${dtype} needs ${size / 8} bytes, but data_offsets [${begin}, ${end}] hold ${end - begin}`);
  return { dtype, shape, offset: dataStart + begin, byteLength: end - begin };
}

function show(value: Json | undefined): string {
  const text = value === undefined ? "(missing)" : JSON.stringify(value);
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}

/** The tensors must follow each other without overlap or hole, from the start of the data to the end of the file. */
function checkCover(tensors: Record<string, Entry>, dataStart: number, fileSize: number, file: string): void {
  const inOrder = Object.entries(tensors).sort(([, a], [, b]) => a.offset - b.offset || a.byteLength - b.byteLength);
  let covered = dataStart;
  for (const [name, { offset, byteLength }] of inOrder) {
    check(offset === covered, "E_FORMAT", () =>
      `${file}: tensor ${quote(name)} starts at byte ${offset - dataStart} of the data, but ${offset < covered
        ? `another tensor overlaps it up to ${covered - dataStart}`
        : `nothing covers the bytes from ${covered - dataStart}`}; tensors must follow each other without a gap`);
    covered += byteLength;
  }
  check(covered === fileSize, "E_FORMAT", () =>
    `${file}: has ${fileSize - covered} bytes after the last tensor; the tensors must cover the data to its end`);
}

/** How to write each tensor: one type for all, or by name. Floats stay floats, whole numbers whole numbers. */
export type WriteDType = WritableDType | ((name: string, tensor: Tensor) => WritableDType);

const SAME: Readonly<Record<DType, WritableDType>> = { f32: "F32", f64: "F64", f16: "F16", i32: "I32" };

/**
 * A safetensors file as a stream of chunks. Tensors are named by their path in `tree` and stand in its order; equal
 * input gives equal bytes. The header is padded with spaces so that the data starts at a multiple of 8. Unless
 * `dtype` says otherwise (a float type leaves whole numbers as they are), types are kept. Rounding to F16, BF16 and
 * F32 is to nearest, ties to even. The tensors must live until the stream ends.
 */
export function encodeSafetensors(
  tree: unknown,
  metadata: Readonly<Record<string, string>> = {},
  dtype: WriteDType = (_, t) => SAME[t.dtype],
): AsyncIterable<Uint8Array> {
  return encodeStored(leaves(tree).map(({ path, tensor }) => storedTensor(path, tensor,
    typeof dtype === "function" ? dtype(path, tensor) : tensor.dtype === "i32" ? "I32" : dtype)), metadata);
}

/** A tensor that is to be written. */
export interface StoredTensor {
  readonly path: string;
  readonly shape: Shape;
  readonly dtype: DType;
  /** How; unless given, its type is kept. */
  readonly type?: WritableDType;
  /** Gives it when it is needed, to be freed when it is written. */
  tensor(): Tensor;
}

/** A tensor as it stands, which stays its owner's. */
export function storedTensor(path: string, tensor: Tensor, type?: WritableDType): StoredTensor {
  return { path, shape: tensor.shape, dtype: tensor.dtype, ...(type && { type }), tensor: () => keep(tensor.window(tensor.shape)) };
}

/** As {@link encodeSafetensors}, of tensors that may not have been made yet. */
export function encodeStored(
  stored: readonly StoredTensor[], metadata: Readonly<Record<string, string>> = {},
): AsyncIterable<Uint8Array> {
  const entries = stored.map((entry) => ({ ...entry, type: entry.type ?? SAME[entry.dtype] }));
  const bytes = encodeHeader(entries, metadata);
  return (async function* () {
    yield bytes;
    for (const { path, tensor: make, type } of entries) {
      const tensor = make();
      try {
        for (let start = 0; start < tensor.size; start += SLICE) {
          const values = await readSlice(tensor, start, Math.min(SLICE, tensor.size - start));
          yield encode(values, tensor.dtype, type, `tensor ${quote(path)}`);
        }
      } finally {
        tensor.dispose();
      }
    }
  })();
}

/** Some of a tensor's numbers, from element `start` on. */
export async function readSlice(tensor: Tensor, start: number, count: number) {
  const slice = tensor.window([count], start);
  try {
    return await slice.read();
  } finally {
    slice.dispose();
  }
}

/** What the header says of a tensor. */
export interface WriteEntry {
  readonly path: string;
  readonly shape: Shape;
  /** A type of which {@link bitsOf} knows the size. */
  readonly type: string;
}

/** The header of a file with these tensors, in this order; their bytes follow it without a gap. Throws `E_ARGUMENT`. */
export function encodeHeader(entries: readonly WriteEntry[], metadata: Readonly<Record<string, string>>): Uint8Array {
  const header: [string, unknown][] = [];
  for (const [name, text] of Object.entries<unknown>(metadata)) {
    check(typeof text === "string", "E_ARGUMENT",
      () => `encodeSafetensors: metadata ${quote(name)} is no string; readers refuse a file with anything else`);
  }
  if (Object.keys(metadata).length > 0) header.push([METADATA, metadata]);
  const names = new Set<string>([METADATA]);
  let begin = 0;
  for (const { path, shape, type } of entries) {
    check(!names.has(path), "E_ARGUMENT", () => `encodeSafetensors: two tensors are named ${quote(path)}, or the name is reserved`);
    names.add(path);
    const end = begin + (sizeOf(shape) * bitsOf(type)!) / 8;
    header.push([path, { dtype: type, shape, data_offsets: [begin, end] }]);
    begin = end;
  }
  // Written pair by pair: an object would reorder names that look like numbers, and lose "__proto__".
  const pairs = header.map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`);
  const json = new TextEncoder().encode(`{${pairs.join(",")}}`);
  const length = Math.ceil(json.length / 8) * 8;
  check(length <= MAX_HEADER, "E_ARGUMENT", () =>
    `encodeSafetensors: the header has ${length} bytes, but the format allows ${MAX_HEADER}: fewer tensors or less metadata are needed`);
  const bytes = new Uint8Array(8 + length).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true);
  bytes.set(json, 8);
  return bytes;
}
