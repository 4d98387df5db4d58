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
  /** Called for each tensor that has passed with a NaN or an infinite number in it, which is written as it is. */
  readonly onNotFinite?: (path: string) => void;
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
export function rewriteSafetensors(file: TensorFile, { dtype, metadata = {}, onNotFinite }: RewriteOptions = {}): Rewritten {
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
        let finite = true;
        for await (const read of file.bytes(path)) {
          const bytes = type === stored ? read : converted(read, stored as FileDType, type as FloatFileDType, path);
          finite &&= !onNotFinite || areFinite(bytes, type);
          yield bytes;
        }
        if (!finite) onNotFinite?.(path);
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

/** Numbers whose exponent is all ones are NaN or infinite: by type, of which words, and the mask of the exponent. */
const EXPONENTS: Readonly<Record<string, readonly [typeof Uint16Array | typeof Uint32Array, step: number, mask: number]>> = {
  F64: [Uint32Array, 2, 0x7ff00000], F32: [Uint32Array, 1, 0x7f800000], F16: [Uint16Array, 1, 0x7c00], BF16: [Uint16Array, 1, 0x7f80],
};

/** Whether whole numbers of a type are all finite; other types than floats always are. */
function areFinite(bytes: Uint8Array, type: string): boolean {
  if (!Object.hasOwn(EXPONENTS, type)) return true;
  const [words, step, mask] = EXPONENTS[type]!;
  const aligned = bytes.byteOffset % words.BYTES_PER_ELEMENT === 0 ? bytes : bytes.slice();
  const all = new words(aligned.buffer as ArrayBuffer, aligned.byteOffset, aligned.length / words.BYTES_PER_ELEMENT);
  for (let i = step - 1; i < all.length; i += step) if ((all[i]! & mask) === mask) return false;
  return true;
}

/** A finite number that is infinite in its new type. */
function firstLost(numbers: Float32Array | Float64Array, bytes: Uint8Array, type: WritableDType): number | undefined {
  if (type === "F32") return numbers.find((x) => Number.isFinite(x) && !Number.isFinite(Math.fround(x)));
  const exponent = type === "F16" ? 0x7c00 : 0x7f80;
  const halves = new Uint16Array(bytes.buffer, bytes.byteOffset, numbers.length);
  for (let i = 0; i < halves.length; i++) if ((halves[i]! & exponent) === exponent && Number.isFinite(numbers[i])) return numbers[i];
  return undefined;
}
