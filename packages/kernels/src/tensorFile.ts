/**
 * A file of named tensors, of whichever format: what a reader gives that knows which tensors there are and can stream the bytes of each.
 * Tensors are read slice by slice, and the next slice while one is converted: host memory stays small whatever the file's size.
 */
import type { Device } from "./device";
import { type DType, DTYPES, toBytes, type TypedArray } from "./dtype";
import { check } from "./errors";
import { decode, FILE_DTYPES, type FileDType, isFileDType, isFloat } from "./fileDtype";
import { type Shape, sizeOf } from "./shape";
import type { ByteSource } from "./source";
import { quote } from "./strictJson";
import { keep, Tensor } from "./tensor";

/** Elements converted at a time; an even number, so that halves come in pairs. */
export const SLICE = 1 << 20;

/** A tensor in a file. */
export interface FileTensor {
  /** A {@link FileDType}, or another one of the safetensors format (`F8_E4M3`, ...): then it can't be loaded. */
  readonly dtype: string;
  readonly shape: Shape;
}

/** Looks at what a device is written of a tensor, slice by slice, in the device's type. */
export type Watch = (bytes: Uint8Array, dtype: DType) => void;

/** Named tensors that can be loaded: those of a file or of several, or made from such. */
export interface Safetensors {
  /** By name, without a prototype: only names of the file are keys. */
  readonly tensors: Readonly<Record<string, FileTensor>>;
  readonly metadata: Readonly<Record<string, string>>;
  /**
   * Loads one tensor. Type unless given: f32 for F32, F16 and BF16; f64 for F64 where the device has it, else f32;
   * i32 for whole numbers. The caller owns the tensor (no scope frees it). Throws `E_UNKNOWN_NAME`, `E_FORMAT` (a
   * whole number that i32 can't hold, a file that shrank), `E_DTYPE` (also for a type of the file that can't be read), `E_MEMORY`.
   * `watch` sees what the device gets while it is still in the processor's caches: reading it back would cost another pass.
   */
  load(name: string, device: Device, dtype?: DType, watch?: Watch): Promise<Tensor>;
  /** Loads all tensors (or those named), as a record in the same order. */
  loadAll(device: Device, options?: { names?: readonly string[]; dtype?: DType }): Promise<Record<string, Tensor>>;
}

/** An open file of tensors. It reads from its source on demand; close the source when done. */
export interface TensorFile extends Safetensors {
  /**
   * The bytes of one tensor as the file has them, row by row, in slices of whole elements. A slice holds until the next one is asked for.
   * Throws `E_UNKNOWN_NAME`, and `E_FORMAT` for a file that shrank.
   */
  bytes(name: string): AsyncIterable<Uint8Array>;
}

/** What a format's reader knows of a file. */
export interface TensorFileParts<Entry extends FileTensor> {
  /** For error messages. */
  readonly file: string;
  readonly tensors: Readonly<Record<string, Entry>>;
  readonly metadata: Readonly<Record<string, string>>;
  /** The bytes of a tensor, see {@link TensorFile.bytes}; slices of {@link SLICE} elements but for the last. */
  stream(entry: Entry, what: string): AsyncIterable<Uint8Array>;
}

/** A file of tensors from what a format's reader knows. */
export function tensorFile<Entry extends FileTensor>({ file, tensors, metadata, stream }: TensorFileParts<Entry>): TensorFile {
  const find = (name: string): Entry => {
    const entry = Object.hasOwn(tensors, name) ? tensors[name] : undefined;
    check(entry, "E_UNKNOWN_NAME", () =>
      `${file}: holds no tensor named ${quote(name)}; it holds ${Object.keys(tensors).length} others`);
    return entry;
  };
  const what = (name: string): string => `${file}: tensor ${quote(name)}`;

  const load: Safetensors["load"] = async (name, device, dtype, watch) => {
    const entry = find(name);
    const { dtype: stored, shape } = entry;
    check(isFileDType(stored), "E_DTYPE", () =>
      `${what(name)} holds ${stored} numbers, which can't be read; what can is ${Object.keys(FILE_DTYPES).join(", ")}`);
    const type = dtype ?? defaultDType(stored, device);
    check(type !== "i32" || !isFloat(stored), "E_DTYPE", () =>
      `${what(name)} holds ${stored} numbers, which can't be loaded as i32; load it as f32`);
    const out = keep(Tensor.empty(device, shape, type));
    try {
      await fill(out, stored, stream(entry, what(name)), what(name), watch);
    } catch (error) {
      out.dispose();
      throw error;
    }
    return out;
  };

  return { tensors, metadata, load, loadAll: allBy(load, Object.keys(tensors)), bytes: (name) => stream(find(name), what(name)) };
}

/** Loads tensors one after another, and disposes them when one fails. */
export function allBy(load: Safetensors["load"], all: readonly string[]): Safetensors["loadAll"] {
  return async (device, { names = all, dtype } = {}) => {
    const loaded = Object.create(null) as Record<string, Tensor>;
    try {
      for (const name of names) loaded[name] = await load(name, device, dtype);
    } catch (error) {
      for (const t of Object.values(loaded)) t.dispose();
      throw error;
    }
    return loaded;
  };
}

function defaultDType(dtype: FileDType, device: Device): DType {
  if (dtype === "F64") return device.dtypes.includes("f64") ? "f64" : "f32";
  return isFloat(dtype) ? "f32" : "i32";
}

/** Reads a range; a source that gives fewer bytes than its size promised was changed meanwhile. */
export async function readExactly(
  source: ByteSource, offset: number, length: number, what: string, into?: Uint8Array,
): Promise<Uint8Array> {
  const bytes = await source.read(offset, length, into);
  check(bytes.length === length, "E_FORMAT", () =>
    `${what}: ends early: ${bytes.length} of ${length} bytes at ${offset}; the file was cut or changed while it was read`);
  return bytes;
}

/** Bytes that lie in one piece, in slices. The next is read while one is looked at, which holds until the next is asked for. */
export async function* sliced(
  source: ByteSource, offset: number, length: number, slice: number, what: string,
): AsyncGenerator<Uint8Array> {
  const buffers: Uint8Array[] = [];
  const readFrom = (start: number): Promise<Uint8Array> | undefined => {
    if (start >= length) return undefined;
    const bytes = Math.min(slice, length - start);
    // Two in turn: fresh memory for each slice costs more than reading it.
    const buffer = (buffers[(start / slice) % 2] ??= new Uint8Array(bytes));
    const reading = readExactly(source, offset + start, bytes, what, buffer.subarray(0, bytes));
    reading.catch(() => {}); // whoever awaits it gets the error; it may come before
    return reading;
  };
  let next = readFrom(0);
  for (let start = 0; next; start += slice) {
    const bytes = await next;
    next = readFrom(start + slice);
    yield bytes;
  }
}

async function fill(
  out: Tensor, stored: FileDType, slices: AsyncIterable<Uint8Array>, what: string, watch?: Watch,
): Promise<void> {
  const width = FILE_DTYPES[stored].BYTES_PER_ELEMENT;
  const { array, bytes: outWidth } = DTYPES[out.dtype];
  const write = (at: number, bytes: Uint8Array): void => {
    out.device.write(out.buffer, at, bytes);
    watch?.(bytes, out.dtype);
  };
  let start = 0;
  // For all slices: a device copies at once what it is written.
  let numbers: TypedArray | undefined;
  let halves: Uint16Array | undefined;
  for await (const bytes of slices) {
    const count = bytes.length / width;
    const at = out.byteOffset + start * outWidth;
    start += count;
    if (SAME[stored] === out.dtype) {
      write(at, out.dtype !== "f16" || count % 2 === 0 ? bytes : inPairs(bytes));
      continue;
    }
    let slice: TypedArray;
    if (stored === "F32" && out.dtype === "f16" && bytes.byteOffset % width === 0) slice = new array(bytes.buffer, bytes.byteOffset, count);
    else {
      numbers ??= new array(count);
      slice = numbers.subarray(0, count);
      decode(bytes, stored, slice, out.dtype, what);
    }
    if (out.dtype === "f16") halves ??= new Uint16Array(count + (count % 2));
    write(at, toBytes(slice, out.dtype, halves));
  }
  check(start === sizeOf(out.shape), "E_FORMAT", () => `${what}: has ${start} numbers, not the ${sizeOf(out.shape)} of its shape`);
}

/** Types of files whose numbers a device holds as they are. */
const SAME: Partial<Readonly<Record<FileDType, DType>>> = { F32: "f32", F64: "f64", F16: "f16", I32: "i32" };

/** Halves with one more behind them: devices are written words of two. */
function inPairs(bytes: Uint8Array): Uint8Array {
  const pairs = new Uint8Array(bytes.length + 2);
  pairs.set(bytes);
  return pairs;
}
