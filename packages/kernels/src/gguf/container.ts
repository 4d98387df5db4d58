/**
 * GGUF, version 3 (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md), the file of llama.cpp: a header, values by name
 * ("metadata"), the names, shapes, types and places of tensors, then their numbers, each tensor's at a multiple of 32 bytes. All is
 * little-endian, and shapes are written with the axis that changes fastest first. Equal input gives equal bytes.
 */
import { check } from "../errors";
import { encode, FILE_DTYPES } from "../fileDtype";
import { countNonFiniteF16 } from "../half";
import { type Shape, showShape, sizeOf } from "../shape";
import { quote } from "../strictJson";

const VERSION = 3;
const ALIGNMENT = 32;
/** What ggml has room for, without the zero behind a name. */
const LONGEST_NAME = 63;
const MOST_AXES = 4;
/** By the format's numbers. */
const VALUE_TYPES = { u32: 4, i32: 5, f32: 6, bool: 7, string: 8, array: 9 } as const;
const TENSOR_TYPES = { F32: 0, F16: 1 } as const;

/** A value of the metadata, with its type; lists have the type of their items, in the plural. */
export type GgufValue =
  | readonly [type: "u32" | "i32" | "f32", value: number]
  | readonly [type: "bool", value: boolean]
  | readonly [type: "string", value: string]
  | readonly [type: "strings", value: readonly string[]]
  | readonly [type: "i32s" | "f32s", value: readonly number[]];

/** Values by name, in the order in which they are written. */
export type GgufMetadata = Readonly<Record<string, GgufValue>>;

/** The type in which a tensor is written: single precision, or half precision, rounded to nearest, ties to even. */
export type GgufDType = keyof typeof TENSOR_TYPES;

/** A tensor to be written. */
export interface GgufTensor {
  readonly name: string;
  /** The slowest axis first, as everywhere but in the file. */
  readonly shape: Shape;
  readonly dtype: GgufDType;
  /** Its numbers in order, in pieces of any length. */
  numbers(): AsyncIterable<Float32Array>;
}

/** Bytes that are put together piece by piece. */
class Bytes {
  readonly #parts: Uint8Array[] = [];
  #size = 0;

  bytes(part: Uint8Array): void {
    this.#parts.push(part);
    this.#size += part.length;
  }

  #number(size: number, write: (view: DataView) => void): void {
    const view = new DataView(new ArrayBuffer(size));
    write(view);
    this.bytes(new Uint8Array(view.buffer));
  }

  u32(value: number): void {
    this.#number(4, (view) => view.setUint32(0, value, true));
  }

  u64(value: number): void {
    this.#number(8, (view) => view.setBigUint64(0, BigInt(value), true));
  }

  string(text: string): void {
    const encoded = new TextEncoder().encode(text);
    this.u64(encoded.length);
    this.bytes(encoded);
  }

  /** A list of numbers without its type. */
  #list(count: number, items: Int32Array | Float32Array): void {
    this.u64(count);
    this.bytes(new Uint8Array(items.buffer));
  }

  value([type, value]: GgufValue): void {
    switch (type) {
      case "u32": case "i32": case "f32":
        this.u32(VALUE_TYPES[type]);
        this.#number(4, (view) => (type === "f32" ? view.setFloat32(0, value, true) : view.setInt32(0, value | 0, true)));
        break;
      case "bool":
        this.u32(VALUE_TYPES.bool);
        this.bytes(Uint8Array.of(value ? 1 : 0));
        break;
      case "string":
        this.u32(VALUE_TYPES.string);
        this.string(value);
        break;
      case "strings":
        this.u32(VALUE_TYPES.array);
        this.u32(VALUE_TYPES.string);
        this.u64(value.length);
        for (const item of value) this.string(item);
        break;
      case "i32s":
        this.u32(VALUE_TYPES.array);
        this.u32(VALUE_TYPES.i32);
        this.#list(value.length, Int32Array.from(value));
        break;
      case "f32s":
        this.u32(VALUE_TYPES.array);
        this.u32(VALUE_TYPES.f32);
        this.#list(value.length, Float32Array.from(value));
    }
  }

  padded(): Uint8Array {
    const all = new Uint8Array(padded(this.#size));
    let at = 0;
    for (const part of this.#parts) {
      all.set(part, at);
      at += part.length;
    }
    return all;
  }
}

const padded = (size: number): number => Math.ceil(size / ALIGNMENT) * ALIGNMENT;

const byteLength = ({ shape, dtype }: GgufTensor): number => sizeOf(shape) * FILE_DTYPES[dtype].BYTES_PER_ELEMENT;

/** A file that is to be written. */
export interface GgufFile {
  /** Bytes in all. */
  readonly size: number;
  readonly tensors: readonly GgufTensor[];
  readonly chunks: AsyncIterable<Uint8Array>;
}

/**
 * A GGUF file as a stream of chunks; `tensors` stand in it in their order. Throws `E_ARGUMENT` for what the format or ggml has no room for,
 * before anything is given; in the stream `E_SHAPE` when a tensor has other than its shape's numbers, and `E_WEIGHTS` for NaN and infinity
 * among them, be it because they are too large for half precision.
 */
export function encodeGguf(metadata: GgufMetadata, tensors: readonly GgufTensor[]): GgufFile {
  const head = header(metadata, tensors);
  return {
    size: tensors.reduce((sum, tensor) => sum + padded(byteLength(tensor)), head.length),
    tensors,
    chunks: (async function* () {
      yield head;
      for (const tensor of tensors) yield* numbersOf(tensor);
    })(),
  };
}

function header(metadata: GgufMetadata, tensors: readonly GgufTensor[]): Uint8Array {
  const out = new Bytes();
  out.bytes(new TextEncoder().encode("GGUF"));
  out.u32(VERSION);
  out.u64(tensors.length);
  out.u64(Object.keys(metadata).length);
  for (const [name, value] of Object.entries(metadata)) {
    checkValue(name, value);
    out.string(name);
    out.value(value);
  }
  const names = new Set<string>();
  let offset = 0;
  for (const tensor of tensors) {
    const { name, shape, dtype } = tensor;
    check(!names.has(name), "E_ARGUMENT", () => `gguf: two tensors are named ${quote(name)}`);
    names.add(name);
    check(name.length > 0 && new TextEncoder().encode(name).length <= LONGEST_NAME, "E_ARGUMENT", () =>
      `gguf: a tensor is named ${quote(name)}; a name has 1 to ${LONGEST_NAME} bytes`);
    check(shape.length >= 1 && shape.length <= MOST_AXES && sizeOf(shape) > 0, "E_ARGUMENT", () =>
      `gguf: tensor ${quote(name)} has the shape ${showShape(shape)}; it must have 1 to ${MOST_AXES} axes, none of them empty`);
    out.string(name);
    out.u32(shape.length);
    for (const size of shape.toReversed()) out.u64(size);
    out.u32(TENSOR_TYPES[dtype]);
    out.u64(offset);
    offset += padded(byteLength(tensor));
  }
  return out.padded();
}

function checkValue(name: string, [type, value]: GgufValue): void {
  check(/^[a-z0-9_]+(?:\.[a-z0-9_]+)*$/.test(name), "E_ARGUMENT", () =>
    `gguf: a value is named ${quote(name)}; names are words of a-z, 0-9 and _ with points between them`);
  const range = type === "u32" ? [0, 2 ** 32 - 1] as const : [-(2 ** 31), 2 ** 31 - 1] as const;
  const wholes = type === "u32" || type === "i32" ? [value] : type === "i32s" ? value : [];
  const wrong = wholes.find((whole) => !Number.isInteger(whole) || whole < range[0] || whole > range[1]);
  check(wrong === undefined, "E_ARGUMENT", () =>
    `gguf: ${name} is ${wrong}; it must be a whole number from ${range[0]} to ${range[1]}`);
}

async function* numbersOf(tensor: GgufTensor): AsyncIterable<Uint8Array> {
  const { name, shape, dtype } = tensor;
  const what = `gguf: tensor ${quote(name)}`;
  const size = sizeOf(shape);
  let count = 0;
  for await (const values of tensor.numbers()) {
    count += values.length;
    check(count <= size, "E_SHAPE", () => `${what}: there are more numbers than its shape ${showShape(shape)} has`);
    const bytes = encode(values, "f32", dtype, what);
    const wrong = dtype === "F16" ? countNonFiniteF16(new Uint16Array(bytes.buffer)) : countNonFinite(values);
    check(wrong === 0, "E_WEIGHTS", () => `${what}: ${wrong} ${wrong === 1 ? "number is" : "numbers are"} NaN or infinite`
      + (dtype === "F16" ? " in half precision, whose largest number is 65,504" : ""));
    yield bytes;
  }
  check(count === size, "E_SHAPE", () => `${what}: there are ${count} numbers for its shape ${showShape(shape)}`);
  const length = byteLength(tensor);
  if (padded(length) > length) yield new Uint8Array(padded(length) - length);
}

function countNonFinite(values: Float32Array): number {
  let count = 0;
  for (let i = 0; i < values.length; i++) if (!Number.isFinite(values[i])) count++;
  return count;
}
