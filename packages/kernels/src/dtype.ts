/** Element types that a tensor can have on a device. Files know more of them: see safetensors.ts. */
export type DType = "f32" | "f64" | "i32";

/** The array that holds a tensor's numbers on the host. */
export type TypedArray = Float32Array | Float64Array | Int32Array;

interface DTypeInfo {
  readonly bytes: number;
  readonly array: {
    new (length: number): TypedArray;
    new (buffer: ArrayBufferLike, byteOffset?: number, length?: number): TypedArray;
  };
}

/** Every {@link DType}, with its size in bytes and its array. */
export const DTYPES: Readonly<Record<DType, DTypeInfo>> = {
  f32: { bytes: 4, array: Float32Array },
  f64: { bytes: 8, array: Float64Array },
  i32: { bytes: 4, array: Int32Array },
};
