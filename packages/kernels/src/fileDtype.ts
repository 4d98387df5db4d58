/**
 * Element types in files and their conversion from and to device types. Files hold little-endian numbers, and so
 * do all machines that run JavaScript engines in practice.
 */
import type { DType, TypedArray } from "./dtype";
import { check } from "./errors";
import { halfTable, toBF16, toF16, toF16s } from "./half";

/** Element types of the safetensors format that can be read, by their names in the file, with their size in bytes. */
export const FILE_DTYPES = {
  F64: 8, F32: 4, F16: 2, BF16: 2, I64: 8, I32: 4, I16: 2, I8: 1, U64: 8, U32: 4, U16: 2, U8: 1, BOOL: 1,
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
  if (isFileDType(dtype)) return 8 * FILE_DTYPES[dtype];
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
  const count = into.length;
  // Views need aligned bytes; a slice of a file starts anywhere.
  const aligned = bytes.byteOffset % FILE_DTYPES[dtype] === 0 ? bytes : bytes.slice();
  const args = [aligned.buffer, aligned.byteOffset, count] as const;
  const whole = (values: ArrayLike<number | bigint>) => {
    for (let i = 0; i < count; i++) {
      const value = Number(values[i]!);
      check(target !== "i32" || (value >= -(2 ** 31) && value < 2 ** 31), "E_FORMAT", () =>
        `${what}: holds ${values[i]}, which does not fit a 32-bit whole number`);
      into[i] = value;
    }
  };
  switch (dtype) {
    case "F64":
      into.set(new Float64Array(...args));
      break;
    case "F32":
      into.set(new Float32Array(...args));
      break;
    case "F16":
    case "BF16": {
      const halves = new Uint16Array(...args);
      const table = halfTable(dtype);
      for (let i = 0; i < count; i++) into[i] = table[halves[i]!]!;
      break;
    }
    case "I64":
      return whole(new BigInt64Array(...args));
    case "U64":
      return whole(new BigUint64Array(...args));
    case "I32":
      return whole(new Int32Array(...args));
    case "U32":
      return whole(new Uint32Array(...args));
    case "I16":
      return whole(new Int16Array(...args));
    case "U16":
      return whole(new Uint16Array(...args));
    case "I8":
      return whole(new Int8Array(...args));
    case "U8":
    case "BOOL":
      return whole(new Uint8Array(...args));
  }
}

/**
 * Converts numbers to file elements, in `into` (which must be as long and begin at a multiple of an element's size) or else in fresh
 * memory. Throws `E_DTYPE` when floats are to become whole numbers or the other way round.
 */
export function encode(values: TypedArray, from: DType, dtype: WritableDType, what: string, into?: Uint8Array): Uint8Array {
  check((from === "i32") === (dtype === "I32" || dtype === "I64"), "E_DTYPE", () =>
    `${what}: ${from} numbers can't be written as ${dtype}`);
  const count = values.length;
  const bytes = into ?? new Uint8Array(count * FILE_DTYPES[dtype]);
  const args = [bytes.buffer, bytes.byteOffset, count] as const;
  const halves = (convert: (x: number) => number) => {
    const out = new Uint16Array(...args);
    for (let i = 0; i < count; i++) out[i] = convert(values[i]!);
  };
  switch (dtype) {
    case "F64":
      new Float64Array(...args).set(values);
      break;
    case "F32":
      new Float32Array(...args).set(values);
      break;
    case "F16":
      if (values instanceof Float32Array) toF16s(values, new Uint16Array(...args));
      else halves(toF16);
      break;
    case "BF16":
      halves(toBF16);
      break;
    case "I32":
      new Int32Array(...args).set(values);
      break;
    case "I64":
      new BigInt64Array(...args).set(BigInt64Array.from(values as Int32Array, BigInt));
      break;
  }
  return bytes;
}
