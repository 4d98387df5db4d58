/** Files of tensors of any format as safetensors: their bytes as they are, or their floats in another type, slice by slice. */
import type { DType } from "./dtype";
import { check } from "./errors";
import { bitsOf, decode, encode, FILE_DTYPES, type FileDType, isFloat, type WritableDType } from "./fileDtype";
import { encodeHeader } from "./safetensors";
import { sizeOf } from "./shape";
import { quote } from "./strictJson";
import type { TensorFile } from "./tensorFile";

/** How floats may be written. */
export type FloatFileDType = "F32" | "F16" | "BF16";

/** Options of {@link rewriteSafetensors}. */
export interface RewriteOptions {
  /** The type that all floats get, rounded to nearest, ties to even; each keeps its own unless given. */
  readonly dtype?: FloatFileDType;
  /** What the file says of itself besides; a `format` is said already. */
  readonly metadata?: Readonly<Record<string, string>>;
}

/** A file that is to be written. */
export interface Rewritten {
  /** Bytes in all. */
  readonly size: number;
  readonly tensors: readonly { readonly path: string; readonly type: string }[];
  readonly chunks: AsyncIterable<Uint8Array>;
}

/**
 * The tensors of a file as a safetensors file, which holds them in their order, wide types first, so that each begins at a multiple of its
 * element's size. Throws `E_DTYPE` for a type whose size nobody knows, and in the stream `E_WEIGHTS` for a number that the new type can't
 * hold, and what reading throws.
 */
export function rewriteSafetensors(file: TensorFile, { dtype, metadata = {} }: RewriteOptions = {}): Rewritten {
  const entries = Object.entries(file.tensors).map(([path, { dtype: stored, shape }]) => {
    const type = dtype !== undefined && isFloat(stored) ? dtype : stored;
    const bits = bitsOf(type);
    check(bits !== undefined, "E_DTYPE", () => `tensor ${quote(path)} holds ${stored} numbers, a type that is not known here`);
    return { path, stored, type, shape, bits };
  }).sort((a, b) => b.bits - a.bits);
  const header = encodeHeader(entries, { format: "pt", ...file.metadata, ...metadata });
  const size = entries.reduce((sum, { shape, bits }) => sum + (sizeOf(shape) * bits) / 8, header.length);
  return {
    size, tensors: entries,
    chunks: (async function* () {
      yield header;
      for (const { path, stored, type } of entries) {
        if (type === stored) yield* file.bytes(path);
        else for await (const bytes of file.bytes(path)) yield converted(bytes, stored as FileDType, type as FloatFileDType, path);
      }
    })(),
  };
}

function converted(bytes: Uint8Array, from: FileDType, to: WritableDType, path: string): Uint8Array {
  const count = bytes.length / FILE_DTYPES[from].BYTES_PER_ELEMENT;
  const wide: DType = from === "F64" ? "f64" : "f32";
  const numbers = wide === "f64" ? new Float64Array(count) : new Float32Array(count);
  decode(bytes, from, numbers, wide, path);
  const result = encode(numbers, wide, to, path);
  const lost = firstLost(numbers, result, to);
  check(lost === undefined, "E_WEIGHTS", () => `tensor ${quote(path)} holds ${lost}, which is too large for ${to}`);
  return result;
}

/** A finite number that is infinite in its new type. */
function firstLost(numbers: Float32Array | Float64Array, bytes: Uint8Array, type: WritableDType): number | undefined {
  if (type === "F32") return numbers.find((x) => Number.isFinite(x) && !Number.isFinite(Math.fround(x)));
  const exponent = type === "F16" ? 0x7c00 : 0x7f80;
  const halves = new Uint16Array(bytes.buffer, bytes.byteOffset, numbers.length);
  for (let i = 0; i < halves.length; i++) if ((halves[i]! & exponent) === exponent && Number.isFinite(numbers[i])) return numbers[i];
  return undefined;
}
