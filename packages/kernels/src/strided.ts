/** The elements of a tensor in a file, row by row, whatever its strides. */
import { check } from "./errors";
import { type Shape, sizeOf } from "./shape";
import type { ByteSource } from "./source";
import { readExactly, SLICE, sliced } from "./tensorFile";

/** Elements of a file that are in memory at a time. */
const WINDOW = 1 << 20;

const ARRAYS = { 1: Uint8Array, 2: Uint16Array, 4: Uint32Array, 8: BigUint64Array } as const;

/** An axis longer than 1: what one step along it moves in the file and in the result. */
interface Axis {
  readonly length: number;
  readonly from: number;
  readonly to: number;
}

/** Where the elements of a tensor lie in a file. */
export interface Strided {
  /** Where the first one begins. */
  readonly offset: number;
  /** Bytes of an element. */
  readonly width: number;
  readonly shape: Shape;
  /** In elements. */
  readonly strides: readonly number[];
}

/**
 * The bytes of a tensor, row by row, in slices. What lies in one piece is streamed; anything else is put together in memory from windows
 * of the file, each of which is read once. Throws `E_FORMAT`.
 */
export async function* stridedBytes(
  source: ByteSource, { offset, width, shape, strides }: Strided, what: string,
): AsyncGenerator<Uint8Array> {
  const size = sizeOf(shape);
  if (size === 0) return;
  const axes = axesOf(shape, strides);
  if (axes.every(({ from, to }) => from === to)) {
    yield* sliced(source, offset, size * width, SLICE * width, what);
    return;
  }
  const elements = new ARRAYS[width as keyof typeof ARRAYS](size);
  await gather(source, offset, axes, elements, what);
  const bytes = new Uint8Array(elements.buffer);
  for (let at = 0; at < bytes.length; at += SLICE * width) yield bytes.subarray(at, at + SLICE * width);
}

function axesOf(shape: Shape, strides: readonly number[]): Axis[] {
  const axes: Axis[] = [];
  let to = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    const length = shape[axis]!;
    if (length !== 1) axes.push({ length, from: strides[axis]!, to });
    to *= length;
  }
  return axes;
}

/** Copies elements in the order in which they lie in the file, so that its windows pass once. */
async function gather(
  source: ByteSource, first: number, axes: readonly Axis[], into: InstanceType<(typeof ARRAYS)[keyof typeof ARRAYS]>, what: string,
): Promise<void> {
  const width = into.BYTES_PER_ELEMENT as keyof typeof ARRAYS;
  const inOrder = [...axes].sort((a, b) => b.from - a.from);
  const last = axes.reduce((sum, { length, from }) => sum + (length - 1) * from, 0);
  check(last < WINDOW || !overlaps(inOrder), "E_FORMAT", () =>
    `${what}: its strides show overlapping parts of ${last + 1} elements; so many are not put together`);
  const { length, from, to } = inOrder.at(-1)!;
  const outer = inOrder.slice(0, -1);
  const counters = outer.map(() => 0);
  let [window, begin, end] = [new ARRAYS[width](0), 0, 0];
  for (let [base, out] = [0, 0]; ; ) {
    for (let i = 0; i < length; ) {
      const at = base + i * from;
      if (at < begin || at >= end) {
        [begin, end] = [at, Math.min(at + WINDOW, last + 1)];
        window = aligned(await readExactly(source, first + begin * width, (end - begin) * width, what), width);
      }
      const until = from === 0 ? length : Math.min(length, i + Math.floor((end - 1 - at) / from) + 1);
      for (; i < until; i++) into[out + i * to] = window[base + i * from - begin]!;
    }
    let axis = outer.length - 1;
    for (; axis >= 0; axis--) {
      const { length: count, from: step, to: outStep } = outer[axis]!;
      base += step;
      out += outStep;
      if (++counters[axis]! < count) break;
      counters[axis] = 0;
      base -= count * step;
      out -= count * outStep;
    }
    if (axis < 0) return;
  }
}

/** Whether an element of the file can be reached in two ways, other than by axes along which nothing moves. */
function overlaps(inOrder: readonly Axis[]): boolean {
  let reach = 0;
  for (const { length, from } of inOrder.toReversed()) {
    if (from === 0) continue;
    if (from <= reach) return true;
    reach += (length - 1) * from;
  }
  return false;
}

function aligned(bytes: Uint8Array, width: keyof typeof ARRAYS): InstanceType<(typeof ARRAYS)[keyof typeof ARRAYS]> {
  const whole = bytes.byteOffset % width === 0 ? bytes : bytes.slice();
  return new ARRAYS[width](whole.buffer as ArrayBuffer, whole.byteOffset, whole.length / width);
}
