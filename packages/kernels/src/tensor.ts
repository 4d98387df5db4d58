/**
 * Tensors and their lifetimes.
 *
 * A tensor is a dense row-major window onto a device buffer. Buffers are counted: `reshape` shares one,
 * and the last tensor that is disposed frees it. Three ways to dispose, in order of preference:
 *  1. `scope(() => ...)` frees every tensor made inside it, except those it returns;
 *  2. `tensor.dispose()` or `using t = ...` frees one;
 *  3. a finalizer frees what was forgotten, some time later, and counts it in {@link leakedTensors}.
 */
import type { Device, DeviceBuffer } from "./device";
import { DTYPES, type DType, fromBytes, isWord, toBytes, type TypedArray } from "./dtype";
import { check } from "./errors";
import { checkShape, type Shape, showShape, sizeOf } from "./shape";

/** A counted device buffer. */
class Storage {
  #owners = 1;
  /** `size`: elements that it was made for. */
  constructor(readonly device: Device, readonly buffer: DeviceBuffer, readonly size: number) {}
  retain(): this {
    this.#owners++;
    return this;
  }
  release(): void {
    if (--this.#owners === 0) this.device.free(this.buffer);
  }
}

let leaks = 0;
const forgotten = new FinalizationRegistry<Storage>((storage) => {
  leaks++;
  storage.release();
});

/** How many tensors the garbage collector found that nobody had disposed. Tests hold this at 0. */
export function leakedTensors(): number {
  return leaks;
}

/** Lets the finalizer watch a tensor from now on. */
let watch: (t: Tensor) => void;

/**
 * Numbers on a device: dense, row-major, of one dtype. Made by ops, {@link tensor}, {@link zeros} and {@link full}; freed by
 * {@link scope}, `dispose()` or `using`. Use after that throws `E_DISPOSED`; `await read()` gets the numbers.
 */
export class Tensor {
  static #count = 0;
  static {
    watch = (t) => {
      if (t.#watched || t.#disposed) return;
      t.#watched = true;
      forgotten.register(t, t.#storage, t);
    };
  }

  /** Unique in this process; tapes know tensors by it. */
  readonly id = ++Tensor.#count;
  readonly size: number;
  readonly #storage: Storage;
  #disposed = false;
  #watched = false;

  private constructor(
    readonly device: Device,
    readonly shape: Shape,
    readonly dtype: DType,
    storage: Storage,
    /** Where the window starts in its buffer, in elements. */
    readonly offset: number,
  ) {
    this.#storage = storage;
    this.size = sizeOf(shape);
    // A scope holds its tensors until it ends, so that none can be forgotten before; and watching costs more than making one.
    if (currentScope) currentScope.add(this);
    else watch(this);
  }

  /** A tensor with undefined contents. Throws `E_MEMORY` when the device has no room, `E_DTYPE` when it lacks the type. */
  static empty(device: Device, shape: Shape, dtype: DType = "f32"): Tensor {
    checkShape(shape, "tensor");
    check(device.dtypes.includes(dtype), "E_DTYPE", () =>
      `device ${device.kind} has no ${dtype} tensors; it has ${device.dtypes.join(", ")}`);
    const size = sizeOf(shape);
    const buffer = device.allocate(inWords(size * DTYPES[dtype].bytes));
    return new Tensor(device, [...shape], dtype, new Storage(device, buffer, size), 0);
  }

  /** The buffer behind this tensor; for backends. Throws `E_DISPOSED` after disposal. */
  get buffer(): DeviceBuffer {
    check(!this.#disposed, "E_DISPOSED", () => `tensor ${this.id} ${showShape(this.shape)} was used after it had been freed`);
    return this.#storage.buffer;
  }

  get byteLength(): number {
    return this.size * DTYPES[this.dtype].bytes;
  }

  get byteOffset(): number {
    return this.offset * DTYPES[this.dtype].bytes;
  }

  get disposed(): boolean {
    return this.#disposed;
  }

  /**
   * Another tensor over part of the same buffer: no data moves, no gradient is recorded (ops/view.ts has the
   * ones that record). `start` counts elements from this tensor's first one.
   */
  window(shape: Shape, start = 0): Tensor {
    check(start >= 0 && start + sizeOf(shape) <= this.size, "E_SHAPE", () =>
      `a window ${showShape(shape)} from element ${start} does not fit into ${showShape(this.shape)}`);
    check(!this.#disposed, "E_DISPOSED", () => `tensor ${this.id} ${showShape(this.shape)} was used after it had been freed`);
    return new Tensor(this.device, [...shape], this.dtype, this.#storage.retain(), this.offset + start);
  }

  /**
   * A tensor of another shape that begins with this one, over the same buffer, which is made longer where that is needed; null where
   * the device can't, or this is not the beginning of its buffer. What is behind this tensor's numbers is undefined.
   */
  lengthened(shape: Shape): Tensor | null {
    if (this.offset !== 0 || !this.device.grow) return null;
    this.device.grow(this.buffer, sizeOf(shape) * DTYPES[this.dtype].bytes);
    return new Tensor(this.device, [...shape], this.dtype, this.#storage.retain(), 0);
  }

  /**
   * Copies the contents to host memory; waits for all work queued before. `into`, unless given a new array, has as many numbers as the
   * tensor, in the array type of its dtype, which {@link DTYPES} tells; throws `E_SHAPE` and `E_DTYPE` otherwise. After an error there
   * is anything in it.
   */
  async read(into?: TypedArray): Promise<TypedArray> {
    const { buffer, byteOffset, byteLength, dtype, size } = this;
    if (into) checkTarget(this, into);
    // Halves are not what JavaScript's arrays hold: theirs are copied once more.
    const direct = into && dtype !== "f16" ? toBytes(into, dtype) : undefined;
    // Devices move words of 4 bytes, in which a number of f16 may have a neighbour before or behind the tensor.
    const before = byteOffset % 4;
    const bytes = await this.device.read(buffer, byteOffset - before, inWords(before + byteLength), direct);
    const words = fromBytes(bytes, dtype);
    const numbers = words.length === size ? words : words.slice(before / 2, before / 2 + size);
    if (!into) return numbers;
    if (!direct) into.set(numbers);
    return into;
  }

  /** The single number in a tensor of one element. */
  async item(): Promise<number> {
    check(this.size === 1, "E_SHAPE", () => `item() needs a tensor of one element, not ${showShape(this.shape)}`);
    return (await this.read())[0]!;
  }

  /**
   * Replaces the contents, in queue order; floats are rounded to the tensor's type. The data is copied before this returns. Throws
   * `E_DTYPE` for what is no number, or for i32 not a whole one of 32 bits. A window of f16 that begins or ends in the middle of a pair
   * of numbers can't be written (`E_SHAPE`).
   */
  write(data: ArrayLike<number>): this {
    const end = this.offset + this.size;
    check(data.length === this.size, "E_SHAPE", () =>
      `write: ${data.length} numbers do not fill a tensor ${showShape(this.shape)} of ${this.size}`);
    check(this.dtype !== "f16" || (this.offset % 2 === 0 && (end % 2 === 0 || end === this.#storage.size)), "E_SHAPE", () =>
      `write: numbers of f16 are written in pairs, and the window ${showShape(this.shape)} from element ${this.offset} has a part of `
        + "one; write the whole tensor");
    const { array } = DTYPES[this.dtype];
    const typed = data instanceof array ? data : converted(data, this.dtype);
    this.device.write(this.buffer, this.byteOffset, toBytes(typed, this.dtype));
    return this;
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    if (this.#watched) forgotten.unregister(this);
    this.#storage.release();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  toString(): string {
    return `Tensor(${this.dtype}${showShape(this.shape)} on ${this.device.kind})`;
  }
}

function checkTarget({ size, dtype, shape }: Tensor, into: TypedArray): void {
  const { array } = DTYPES[dtype];
  check(into instanceof array, "E_DTYPE", () => `read: ${dtype} is read into a ${array.name}, not a ${into.constructor.name}`);
  check(into.length === size, "E_SHAPE", () => `read: ${into.length} numbers do not hold a tensor ${showShape(shape)} of ${size}`);
}

/** Numbers as an array of a type. */
function converted(data: ArrayLike<number>, dtype: DType): TypedArray {
  const typed = new DTYPES[dtype].array(data.length);
  const fits = dtype === "i32" ? isWord : (value: unknown) => typeof value === "number";
  for (let i = 0; i < data.length; i++) {
    const value = data[i]!;
    check(fits(value), "E_DTYPE", () =>
      `write: ${String(value)} at place ${i} is not `
        + (dtype === "i32" ? "a whole number from -2^31 to 2^31 - 1, as i32 holds" : `a number, as ${dtype} holds`));
    typed[i] = value;
  }
  return typed;
}

/** Bytes of the words of 4 that hold so many. */
function inWords(bytes: number): number {
  return Math.ceil(bytes / 4) * 4;
}

/** A tensor from numbers (nested arrays are not taken: give the shape). */
export function tensor(device: Device, data: ArrayLike<number>, shape: Shape = [data.length], dtype: DType = "f32"): Tensor {
  const result = Tensor.empty(device, shape, dtype);
  try {
    return result.write(data);
  } catch (error) {
    result.dispose();
    throw error;
  }
}

class Scope {
  readonly tensors = new Set<Tensor>();
  constructor(readonly parent: Scope | undefined) {}
  add(t: Tensor): void {
    this.tensors.add(t);
  }
}

let currentScope: Scope | undefined;

/** Every tensor in a nested value of arrays and plain objects. */
export function tensorsIn(value: unknown, into: Set<Tensor> = new Set()): Set<Tensor> {
  if (value instanceof Tensor) into.add(value);
  else if (Array.isArray(value)) for (const item of value) tensorsIn(item, into);
  else if (value !== null && typeof value === "object") for (const item of Object.values(value)) tensorsIn(item, into);
  return into;
}

/**
 * Runs `body` and frees every tensor made during it, except those in what it returns (nested arrays and plain
 * objects are searched) and those given to {@link keep}. Ops return at once, so bodies are synchronous: a body
 * that returns a promise throws `E_SCOPE`.
 */
export function scope<R>(body: () => R): R {
  const inner = new Scope(currentScope);
  currentScope = inner;
  let result: R;
  let survivors = new Set<Tensor>();
  try {
    result = body();
    check(!(result instanceof Promise), "E_SCOPE", () =>
      "scope: the body returned a promise; make tensors in synchronous code and await reads outside of it");
    survivors = tensorsIn(result);
  } finally {
    currentScope = inner.parent;
    for (const t of inner.tensors) {
      if (!survivors.has(t)) t.dispose();
      else if (currentScope) currentScope.add(t);
      else watch(t);
    }
  }
  return result;
}

/** Runs `body` and tells which tensors were made during it; they stay in the scope around. */
export function collect<R>(body: () => R): { readonly result: R; readonly made: readonly Tensor[] } {
  const inner = new Scope(currentScope);
  currentScope = inner;
  try {
    return { result: body(), made: [...inner.tensors] };
  } finally {
    currentScope = inner.parent;
    for (const t of inner.tensors) {
      if (currentScope) currentScope.add(t);
      else watch(t);
    }
  }
}

/** Takes tensors out of all scopes, so that only `dispose` frees them. */
export function keep<T>(value: T): T {
  for (const t of tensorsIn(value)) {
    for (let s = currentScope; s; s = s.parent) s.tensors.delete(t);
    watch(t);
  }
  return value;
}

/**
 * Runs `body` on a {@link Tensor.window}, which it frees. In what every page loads this stands for `using`, instead of which bundles carry
 * more code than most ops have, in each file anew, until browsers know it.
 */
export function withWindow(t: Tensor, shape: Shape, start: number, body: (window: Tensor) => void): void {
  const window = t.window(shape, start);
  try {
    body(window);
  } finally {
    window.dispose();
  }
}

/** Frees every tensor in a nested value. */
export function dispose(value: unknown): void {
  for (const t of tensorsIn(value)) t.dispose();
}

/** Frees every tensor in a nested value that is not in `kept` too: e.g. what an old state holds and its successor does not share. */
export function disposeExcept(value: unknown, kept: unknown): void {
  const living = tensorsIn(kept);
  for (const t of tensorsIn(value)) if (!living.has(t)) t.dispose();
}
