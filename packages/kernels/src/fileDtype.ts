/**
 * Element types in files and their conversion from and to device types. Files hold little-endian numbers, and so
 * do all machines that run JavaScript engines in practice.
 */
import type { DType, TypedArray } from "./dtype";
import { check } from "./errors";
import { fromBF16s, fromF16s, toBF16s, toF16s, toOdd } from "./half";

/** Element types of the safetensors format that can be read, by their names in the file, with the array that holds them; halves as bits. */
export const FILE_DTYPES = {
  F64: Float64Array, F32: Float32Array, F16: Uint16Array, BF16: Uint16Array, I64: BigInt64Array, I32: Int32Array, I16: Int16Array,
  I8: Int8Array, U64: BigUint64Array, U32: Uint32Array, U16: Uint16Array, U8: Uint8Array, BOOL: Uint8Array,
} as const;

/** Element types that a safetensors file can have and that can be read. */
export type FileDType = keyof typeof FILE_DTYPES;

/** The format's other types, which nothing here computes with, with their size in bits (safetensors 0.8). */
const OTHER_BITS: Readonly<Record<string, number>> = {
  F8_E4M3: 8, F8_E5M2: 8, F8_E8M0: 8, F8_E4M3FNUZ: 8, F8_E5M2FNUZ: 8, F6_E2M3: 6, F6_E3M2: 6, F4: 4, C64: 64,
};

/** Whether numbers of a type can be read. */
export function isFileDType(dtype: string): dtype is FileDType {
  return Object.hasOwn(FILE_DTYPES, dtype);
}

/** Bits of an element; undefined for a type that the format got later than this was written. */
export function bitsOf(dtype: string): number | undefined {
  if (isFileDType(dtype)) return 8 * FILE_DTYPES[dtype].BYTES_PER_ELEMENT;
  return Object.hasOwn(OTHER_BITS, dtype) ? OTHER_BITS[dtype] : undefined;
}

/** Element types that a safetensors file can be written with. */
export type WritableDType = "F64" | "F32" | "F16" | "BF16" | "I64" | "I32";

/** Whether a type of the format holds floats that can be read. */
export function isFloat(dtype: string): boolean {
  return dtype === "F64" || dtype === "F32" || dtype === "F16" || dtype === "BF16";
}

/**
 * Converts a run of file elements to numbers, filling `into`. Floats go to f32 or f64, whole numbers to any
 * type. Throws `E_FORMAT` for a number that i32 can't hold, and `E_DTYPE` for floats to i32.
 */
export function decode(bytes: Uint8Array, dtype: FileDType, into: TypedArray, target: DType, what: string): void {
  check(target !== "i32" || !isFloat(dtype), "E_DTYPE", () =>
    `${what}: holds ${dtype} numbers, which can't be loaded as i32; load them as f32`);
  const elements = FILE_DTYPES[dtype];
  // Views need aligned bytes; a slice of a file starts anywhere.
  const aligned = bytes.byteOffset % elements.BYTES_PER_ELEMENT === 0 ? bytes : bytes.slice();
  const stored = new elements(aligned.buffer as ArrayBuffer, aligned.byteOffset, into.length);
  if (stored instanceof Float64Array || stored instanceof Float32Array) into.set(stored);
  else if (stored instanceof Uint16Array && isFloat(dtype)) {
    const numbers = into instanceof Float32Array ? into : new Float32Array(into.length);
    (dtype === "F16" ? fromF16s : fromBF16s)(stored, numbers);
    if (numbers !== into) into.set(numbers);
  } else {
    for (let i = 0; i < into.length; i++) {
      const value = Number(stored[i]);
      check(target !== "i32" || (value >= -(2 ** 31) && value < 2 ** 31), "E_FORMAT", () =>
        `${what}: holds ${stored[i]}, which does not fit a 32-bit whole number`);
      into[i] = value;
    }
  }
}

/**
 * Converts numbers to file elements, in `into` (which must be as long and begin at a multiple of an element's size) or else in fresh
 * memory. Throws `E_DTYPE` when floats are to become whole numbers or the other way round.
 */
export function encode(values: TypedArray, from: DType, dtype: WritableDType, what: string, into?: Uint8Array): Uint8Array {
  check((from === "i32") === (dtype === "I32" || dtype === "I64"), "E_DTYPE", () =>
    `${what}: ${from} numbers can't be written as ${dtype}`);
  const elements = FILE_DTYPES[dtype];
  const bytes = into ?? new Uint8Array(values.length * elements.BYTES_PER_ELEMENT);
  const stored = new elements(bytes.buffer as ArrayBuffer, bytes.byteOffset, values.length);
  if (stored instanceof BigInt64Array) stored.set(BigInt64Array.from(values as Int32Array, BigInt));
  else if (!(stored instanceof Uint16Array)) stored.set(values);
  else (dtype === "F16" ? toF16s : toBF16s)(values instanceof Float32Array ? values : toOdd(values), stored);
  return bytes;
}
