/** Element types of tensors, and their numbers on the host. */
import { fromF16s, toF16s } from "./half";

/**
 * Element types that a tensor can have on a device. Files know more of them: see safetensors.ts. `f16` is for storage: weights that
 * `linear`, `embedding` and `crossEntropy` read, and widen to f32 as they read; it takes no gradients.
 */
export type DType = "f32" | "f64" | "f16" | "i32";

/** The array that holds a tensor's numbers on the host. */
export type TypedArray = Float32Array | Float64Array | Int32Array;

interface DTypeInfo {
  /** Of an element on a device. */
  readonly bytes: number;
  /** What holds its numbers on the host; for f16, which JavaScript has no array of, a wider one. */
  readonly array: {
    readonly name: string;
    new (length: number): TypedArray;
    new (buffer: ArrayBufferLike, byteOffset?: number, length?: number): TypedArray;
    readonly BYTES_PER_ELEMENT: number;
  };
}

/** Every {@link DType}, with its size in bytes and its array. */
export const DTYPES: Readonly<Record<DType, DTypeInfo>> = {
  f32: { bytes: 4, array: Float32Array },
  f64: { bytes: 8, array: Float64Array },
  f16: { bytes: 2, array: Float32Array },
  i32: { bytes: 4, array: Int32Array },
};

/**
 * What a device holds of numbers; for f16 rounded to nearest, ties to even, and as pairs: a 0 follows an odd number of them. Else the same
 * memory. Halves are put into `into` if it is given, which has room for them.
 */
export function toBytes(numbers: TypedArray, dtype: DType, into?: Uint16Array): Uint8Array {
  if (dtype !== "f16") return new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength);
  const length = Math.ceil(numbers.length / 2) * 2;
  const halves = into?.subarray(0, length) ?? new Uint16Array(length);
  halves[length - 1] = 0;
  toF16s(numbers as Float32Array, halves);
  return new Uint8Array(halves.buffer, halves.byteOffset, halves.byteLength);
}

/** The numbers that a device holds as such bytes, which must be aligned for them. Shares their memory, but for f16. */
export function fromBytes(bytes: Uint8Array, dtype: DType): TypedArray {
  const { array, bytes: width } = DTYPES[dtype];
  const length = bytes.byteLength / width;
  if (dtype !== "f16") return new array(bytes.buffer, bytes.byteOffset, length);
  const numbers = new Float32Array(length);
  fromF16s(new Uint16Array(bytes.buffer, bytes.byteOffset, length), numbers);
  return numbers;
}

/** Whether a value is a whole number that 32 bits hold. */
export function isWord(value: unknown): value is number {
  return typeof value === "number" && (value | 0) === value;
}
