/** Writes small files as PyTorch does, good ones and bad ones: pickles from parts, zips around them, and the older format. */

/** Joins pieces of bytes and of text. */
export function joined(...parts: (Uint8Array | readonly number[] | string)[]): Uint8Array {
  const pieces = parts.map((part) => (typeof part === "string" ? new TextEncoder().encode(part) : Uint8Array.from(part)));
  const bytes = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

/** A whole number in so many bytes. */
export function little(value: number | bigint, bytes: number): Uint8Array {
  return Uint8Array.from({ length: bytes }, (_, i) => Number((BigInt(value) >> BigInt(8 * i)) & 0xffn));
}

const PROTO = [0x80, 2];

/** A value that is written by instructions of its own. */
export class Raw {
  constructor(readonly bytes: Uint8Array) {}
}
export type Value = null | boolean | number | bigint | string | Raw | readonly Value[];

/** The instructions that put a value on the stack; arrays are lists. */
export function put(value: Value): Uint8Array {
  if (value instanceof Raw) return value.bytes;
  if (value === null) return joined("N");
  if (typeof value === "boolean") return joined([value ? 0x88 : 0x89]);
  if (typeof value === "string") {
    const text = new TextEncoder().encode(value);
    return joined("X", little(text.length, 4), text);
  }
  if (typeof value === "bigint") return joined([0x8a, 10], little(value, 10));
  if (typeof value === "number") {
    if (Number.isInteger(value) && Math.abs(value) < 2 ** 31)
      return value >= 0 && value < 256 ? joined("K", [value]) : joined("J", little(value, 4));
    if (Number.isSafeInteger(value)) return put(BigInt(value));
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setFloat64(0, value, false);
    return joined("G", bytes);
  }
  return joined("](", ...value.map(put), "e");
}

export const tuple = (...items: Value[]): Raw => new Raw(joined("(", ...items.map(put), "t"));
export const named = (module: string, name: string): Raw => new Raw(joined(`c${module}\n${name}\n`));
export const call = (callee: Value, ...args: Value[]): Raw => new Raw(joined(put(callee), put(tuple(...args)), "R"));
/** A dictionary of these pairs; not an object, which would reorder keys. */
export const dictionary = (...pairs: [Value, Value][]): Raw => new Raw(joined("}(", ...pairs.flat().map(put), "u"));
export const ordered = (...pairs: [Value, Value][]): Raw =>
  new Raw(joined(put(call(named("collections", "OrderedDict"))), "(", ...pairs.flat().map(put), "u"));
/** A whole pickle. */
export const pickle = (value: Value): Uint8Array => joined(PROTO, put(value), ".");

export interface View {
  readonly key?: string;
  readonly type?: Value;
  readonly count: Value;
  readonly offset?: Value;
  readonly shape: Value;
  readonly strides: Value;
  /** Behind the storage's elements: what the older format has. */
  readonly more?: Value[];
}

/** A tensor as `_rebuild_tensor_v2` builds it. */
export function view({ key = "0", type = named("torch", "FloatStorage"), count, offset = 0, shape, strides, more = [] }: View): Raw {
  const storage = new Raw(joined(put(tuple("storage", type, key, "cpu", count, ...more)), "Q"));
  return call(named("torch._utils", "_rebuild_tensor_v2"), storage, offset, shape, strides, false, ordered());
}

/** A dense tensor that has a storage of its own. */
export function tensorOf(key: string, shape: readonly number[], type = "FloatStorage", more: Value[] = []): Raw {
  const strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((a, b) => a * b, 1));
  return view({ key, type: named("torch", type), count: shape.reduce((a, b) => a * b, 1), shape: tuple(...shape),
    strides: tuple(...strides), more });
}

export interface ZipOptions {
  /** Whether numbers stand in Zip64 fields, as they must beyond 4 GiB. */
  readonly wide?: boolean;
  /** Changes a record of the directory. */
  record?(name: string, record: Uint8Array): Uint8Array;
  /** Whether there is a Zip64 record at the end, as PyTorch always writes one. */
  readonly endWide?: boolean;
  readonly comment?: string;
}

/** A zip with these files, stored as they are. */
export function zip(files: readonly (readonly [string, Uint8Array])[], options: ZipOptions = {}): Uint8Array {
  const { wide = false, record = (_, bytes) => bytes, endWide = true, comment = "" } = options;
  const parts: Uint8Array[] = [];
  const directory: Uint8Array[] = [];
  let at = 0;
  for (const [name, bytes] of files) {
    const text = new TextEncoder().encode(name);
    // A field that is there for the data's alignment alone, as PyTorch writes it.
    const padding = joined("FB", little(5, 2), "ZZZZZ");
    const sizes = wide ? joined(little(0xffffffff, 4), little(0xffffffff, 4)) : joined(little(bytes.length, 4), little(bytes.length, 4));
    const field = wide ? joined(little(1, 2), little(24, 2), little(bytes.length, 8), little(bytes.length, 8), little(at, 8)) : [];
    const header = joined("PK\u0003\u0004", new Uint8Array(14), sizes, little(text.length, 2), little(padding.length, 2), text, padding);
    directory.push(record(name, joined("PK\u0001\u0002", new Uint8Array(16), sizes, little(text.length, 2), little(field.length, 2),
      new Uint8Array(10), little(wide ? 0xffffffff : at, 4), text, field)));
    parts.push(header, bytes);
    at += header.length + bytes.length;
  }
  const size = directory.reduce((sum, { length }) => sum + length, 0);
  const end64 = joined("PK\u0006\u0006", little(44, 8), new Uint8Array(12), little(files.length, 8), little(files.length, 8),
    little(size, 8), little(at, 8));
  const locator = joined("PK\u0006\u0007", new Uint8Array(4), little(at + size, 8), little(1, 4));
  const count = little(wide ? 0xffff : files.length, 2);
  const text = new TextEncoder().encode(comment);
  return joined(...parts, ...directory, ...(endWide ? [end64, locator] : []), "PK\u0005\u0006", new Uint8Array(4), count, count,
    little(wide ? 0xffffffff : size, 4), little(wide ? 0xffffffff : at, 4), little(text.length, 2), text);
}

/** A file of `torch.save` as it is since PyTorch 1.6. */
export function archive(value: Value, storages: Readonly<Record<string, Uint8Array>>, options: ZipOptions & { byteorder?: string } = {}) {
  return zip([
    ["archive/data.pkl", pickle(value)],
    ...(options.byteorder === undefined ? [] : [["archive/byteorder", joined(options.byteorder)] as const]),
    ...Object.entries(storages).map(([key, bytes]) => [`archive/data/${key}`, bytes] as const),
    ["archive/version", joined("3\n")],
  ], options);
}

/** A file of `torch.save` as it was before. */
export function legacy(value: Value, storages: readonly (readonly [key: string, count: number, bytes: Uint8Array])[], littleEndian = true) {
  const machine = dictionary(["protocol_version", 1001], ["little_endian", littleEndian]);
  return joined(pickle(0x1950a86a20f9469cfc6cn), pickle(1001), pickle(machine), pickle(value), pickle(storages.map(([key]) => key)),
    ...storages.flatMap(([, count, bytes]) => [little(count, 8), bytes]));
}

export function floats(...numbers: number[]): Uint8Array {
  return new Uint8Array(Float32Array.from(numbers).buffer);
}
