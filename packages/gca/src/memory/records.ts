/**
 * A record: what one chunk of one row leaves for attention, in a store's element type.
 *
 *   keys [S,Hk,Dh]   values [S,Hk,Dh]   number (u32)   tokens (u32)
 *
 * The record's own number tells whether a file still holds what was written to it.
 */
import { check, decodeNumbers, type DType, encodeNumbers, type TypedArray } from "@lenggen/kernels";
import type { StoreDType, StreamFormat } from "./store";

type Sizes = Pick<StreamFormat, "chunk" | "kvHeads" | "headSize">;

const FILE_DTYPE = { f32: "F32", f16: "F16", bf16: "BF16" } as const;
const WIDTH = { f32: 4, f16: 2, bf16: 2 } as const;
const TRAILER = 8;

/** Throws `E_ARGUMENT` unless it is a type that records can have. */
export function checkStoreDType(dtype: string): void {
  check(Object.hasOwn(WIDTH, dtype), "E_ARGUMENT", () => `chunk memory: dtype "${dtype}" must be one of ${Object.keys(WIDTH).join(", ")}`);
}

/** Numbers of a chunk's keys, and as many of its values. */
function numbersOf({ chunk, kvHeads, headSize }: Sizes): number {
  return chunk * kvHeads * headSize;
}

/** Bytes of a record. */
export function recordBytes(sizes: Sizes, dtype: StoreDType): number {
  return 2 * numbersOf(sizes) * WIDTH[dtype] + TRAILER;
}

/**
 * Writes records of some chunks, keys and values [B,C,S,Hk,Dh], of which the first has number `first` in its stream, into `out`, which
 * begins at a multiple of 8 bytes; `tokens` of each chunk. Throws `E_NOT_FINITE` for a number that f16 can't hold.
 */
export function encodeRecords(
  format: StreamFormat, dtype: StoreDType, keys: TypedArray, values: TypedArray, from: DType, tokens: readonly number[], first: number,
  out: Uint8Array,
): void {
  const { batch } = format;
  const count = tokens.length;
  const [numbers, bytes] = [numbersOf(format), recordBytes(format, dtype)];
  const view = new DataView(out.buffer, out.byteOffset, out.byteLength);
  for (let record = 0; record < batch * count; record++) {
    const [chunk, row] = [Math.floor(record / batch), record % batch];
    let at = record * bytes;
    for (const part of [keys, values]) {
      const start = (row * count + chunk) * numbers;
      const place = out.subarray(at, at + numbers * WIDTH[dtype]);
      encodeNumbers(part.subarray(start, start + numbers), from, FILE_DTYPE[dtype], "chunk memory", place);
      if (dtype === "f16") checkHalves(place, first + chunk);
      at += place.length;
    }
    view.setUint32(at, first * batch + record, true);
    view.setUint32(at + 4, tokens[chunk]!, true);
  }
}

/** Infinity and NaN have all bits of the exponent set. */
function checkHalves(encoded: Uint8Array, chunk: number): void {
  const bits = new Uint16Array(encoded.buffer, encoded.byteOffset, encoded.length / 2);
  check(bits.every((x) => (x & 0x7c00) !== 0x7c00), "E_NOT_FINITE", () =>
    `chunk memory: chunk ${chunk} has keys or values that f16 can't hold (beyond 65504, or not numbers); store bf16 or f32`);
}

/** Writes a record's numbers into `keys` and `values` and returns its tokens. Throws `E_IO` when it is not record `number`. */
export function decodeRecord(
  sizes: Sizes, dtype: StoreDType, record: Uint8Array, number: number, keys: TypedArray, values: TypedArray, target: DType,
): number {
  const bytes = numbersOf(sizes) * WIDTH[dtype];
  const view = new DataView(record.buffer, record.byteOffset, record.byteLength);
  const [stored, tokens] = [view.getUint32(2 * bytes, true), view.getUint32(2 * bytes + 4, true)];
  check(stored === number && tokens <= sizes.chunk, "E_IO", () =>
    `chunk memory: record ${number} is not what was written there; the memory was changed while it was used`);
  decodeNumbers(record.subarray(0, bytes), FILE_DTYPE[dtype], keys, target, "chunk memory");
  decodeNumbers(record.subarray(bytes, 2 * bytes), FILE_DTYPE[dtype], values, target, "chunk memory");
  return tokens;
}
