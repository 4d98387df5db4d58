/** What pickles of state dictionaries name and mean by it: storages, views of them as tensors, and ordered dictionaries. */
import type { Shape } from "../shape";
import { quote } from "../strictJson";
import { Dictionary, Misuse, Name, type PickleNames, Tuple } from "./pickle";

/** Numbers in a file, which tensors are views of. */
export interface Storage {
  readonly key: string;
  /** A type of the safetensors format; undefined for bytes whose type each tensor has. */
  readonly dtype: string | undefined;
  /** Elements, or bytes where there is no type. */
  readonly count: number;
}

/** A tensor as a pickle describes it: a view of a storage, within it. */
export class TensorView {
  constructor(
    readonly storage: Storage,
    readonly dtype: string,
    /** In elements, as are the strides. */
    readonly offset: number,
    readonly shape: Shape,
    readonly strides: readonly number[],
  ) {}
}

/** What a file says of its tensors. */
export interface PyTorchFile {
  readonly tensors: ReadonlyMap<string, TensorView>;
  /** Where a storage begins in the file. */
  startOf(storage: Storage): Promise<number>;
}

/** Bytes of an element, by the safetensors format's names for types. */
export const WIDTHS: Readonly<Record<string, number>> = {
  F64: 8, F32: 4, F16: 2, BF16: 2, I64: 8, I32: 4, I16: 2, I8: 1, U64: 8, U32: 4, U16: 2, U8: 1, BOOL: 1, C64: 8, F8_E4M3: 1, F8_E5M2: 1,
};

/** Types of storages, by their class in `torch`. */
const STORAGES: Readonly<Record<string, string>> = {
  DoubleStorage: "F64", FloatStorage: "F32", HalfStorage: "F16", BFloat16Storage: "BF16", LongStorage: "I64", IntStorage: "I32",
  ShortStorage: "I16", CharStorage: "I8", ByteStorage: "U8", BoolStorage: "BOOL", ComplexFloatStorage: "C64",
};

/** Types by their name in `torch`: those of tensors whose storage has none. */
const TYPES: Readonly<Record<string, string>> = {
  float64: "F64", float32: "F32", float16: "F16", bfloat16: "BF16", int64: "I64", int32: "I32", int16: "I16", int8: "I8", uint64: "U64",
  uint32: "U32", uint16: "U16", uint8: "U8", bool: "BOOL", complex64: "C64", float8_e4m3fn: "F8_E4M3", float8_e5m2: "F8_E5M2",
};

/** More axes than any tensor has. */
const MOST_AXES = 64;
/** Most elements of a tensor that shows numbers of its storage more than once, as `expand` makes them. */
const MOST_REPEATED = 1 << 20;

/** The names, and the storages that a pickle has meant so far, by their keys. */
export function torchNames(): PickleNames & { readonly storages: ReadonlyMap<string, Storage> } {
  const storages = new Map<string, Storage>();
  const names = new Map<string, Name>();
  const allow = (module: string, name: string, call?: (args: readonly unknown[]) => unknown): Name => {
    const allowed = new Name(`${module}.${name}`, call);
    names.set(`${module} ${name}`, allowed);
    return allowed;
  };
  const classes = new Map<unknown, string | undefined>(Object.entries(STORAGES).map(([name, dtype]) => [allow("torch", name), dtype]));
  classes.set(allow("torch.storage", "UntypedStorage"), undefined);
  const types = new Map<unknown, string>(Object.entries(TYPES).map(([name, dtype]) => [allow("torch", name), dtype]));
  allow("collections", "OrderedDict", orderedDictionary);
  allow("torch._utils", "_rebuild_tensor", ([storage, offset, shape, strides, ...more]) => {
    if (more.length > 0) throw new Misuse("builds a tensor from more than four values");
    return tensorOf(storage, undefined, offset, shape, strides);
  });
  allow("torch._utils", "_rebuild_tensor_v2", ([storage, offset, shape, strides, , , metadata]) => {
    checkMetadata(metadata);
    return tensorOf(storage, undefined, offset, shape, strides);
  });
  allow("torch._utils", "_rebuild_tensor_v3", ([storage, offset, shape, strides, , , type, metadata]) => {
    checkMetadata(metadata);
    if (!types.has(type)) throw new Misuse("builds a tensor of no type");
    return tensorOf(storage, types.get(type), offset, shape, strides);
  });
  for (const name of ["_rebuild_parameter", "_rebuild_parameter_with_state"]) {
    allow("torch._utils", name, ([data]) => {
      if (!(data instanceof TensorView)) throw new Misuse("makes a parameter of what is no tensor");
      return data;
    });
  }
  return {
    names, storages,
    outside(id) {
      const storage = storageOf(id, classes);
      const known = storages.get(storage.key);
      if (known && (known.dtype !== storage.dtype || known.count !== storage.count)) {
        throw new Misuse(`means by the storage ${quote(storage.key)} two of different types or sizes`);
      }
      storages.set(storage.key, known ?? storage);
      return known ?? storage;
    },
    ignoresAttributes: (object) => object instanceof Dictionary || object instanceof TensorView,
  };
}

/** `OrderedDict()`, or with a list of pairs, as Python 2 wrote it. */
function orderedDictionary(args: readonly unknown[]): Dictionary {
  const made = new Dictionary();
  const [pairs = [], ...more] = args;
  if (!Array.isArray(pairs) || more.length > 0) throw new Misuse("makes a dictionary of what are no pairs");
  for (const pair of pairs as unknown[]) {
    const [key, value, ...rest] = (pair instanceof Tuple ? pair.items : Array.isArray(pair) ? pair : []) as unknown[];
    if (value === undefined || rest.length > 0 || made.has(key)) throw new Misuse("makes a dictionary of what are no pairs");
    made.set(key, value);
  }
  return made;
}

/** `("storage", class, key, device, elements)`, and in the older format a view of another storage, which nothing has saved for years. */
function storageOf(id: unknown, classes: ReadonlyMap<unknown, string | undefined>): Storage {
  const [what, type, key, , count, view, ...more] = id instanceof Tuple ? id.items : [];
  if (what !== "storage" || !classes.has(type) || typeof key !== "string" || more.length > 0) {
    throw new Misuse("means something outside of it that is no storage of numbers");
  }
  if (!isCount(count)) throw new Misuse(`gives the storage ${quote(key)} no size`);
  if (view !== undefined && view !== null) throw new Misuse(`has the storage ${quote(key)} as a part of another, as PyTorch 0.3 had it`);
  return { key, dtype: classes.get(type), count };
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

/** Marks such as `conj` and `neg`, by which numbers mean others than those that are stored. */
function checkMetadata(metadata: unknown): void {
  if (metadata !== undefined && metadata !== null && !(metadata instanceof Dictionary && metadata.size === 0)) {
    throw new Misuse("has a tensor with marks (such as conj or neg), which are not read");
  }
}

function tensorOf(storage: unknown, dtype: string | undefined, offset: unknown, shape: unknown, strides: unknown): TensorView {
  if (typeof storage !== "object" || storage === null || !("key" in storage)) throw new Misuse("builds a tensor without a storage");
  const { key, dtype: stored, count } = storage as Storage;
  const type = stored ?? dtype;
  if (type === undefined || (dtype !== undefined && dtype !== type)) throw new Misuse(`builds a tensor of another type than its storage`);
  const [sizes, steps] = [shape, strides].map((list) => (list instanceof Tuple ? list.items : undefined));
  if (!isCount(offset) || !sizes?.every(isCount) || !steps?.every(isCount) || sizes.length !== steps.length || sizes.length > MOST_AXES) {
    throw new Misuse("builds a tensor whose offset, sizes and strides are not as many whole numbers of at least 0");
  }
  const available = stored === undefined ? Math.floor(count / WIDTHS[type]!) : count;
  let [size, last] = [1, offset];
  for (const [axis, length] of sizes.entries()) {
    size *= length;
    last += Math.max(0, length - 1) * steps[axis]!;
    if (!Number.isSafeInteger(size) || !Number.isSafeInteger(last))
      throw new Misuse(`builds a tensor of too large a size, [${sizes.join(", ")}]`);
  }
  const about = (): string => `[${sizes.join(", ")}] with strides [${steps.join(", ")}] from element ${offset}`;
  if (size > 0 && last >= available) {
    throw new Misuse(`builds a tensor ${about()} that leaves its storage ${quote(key)} of ${available} elements`);
  }
  if (size > available && size > MOST_REPEATED) {
    throw new Misuse(`builds a tensor ${about()} of a storage of ${available} elements; so many repeated numbers are not read`);
  }
  return new TensorView(storage as Storage, type, offset, sizes, steps);
}
