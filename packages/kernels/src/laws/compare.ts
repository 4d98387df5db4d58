/** Comparing what two passes gave, leaf by leaf. */
import { check, LenggenError } from "../errors";
import { sameShape, type Shape, showShape } from "../shape";
import { leaves } from "../tree";

/** A leaf without its numbers. */
interface Described {
  readonly path: string;
  readonly shape: Shape;
}

/** Numbers that were read back. */
export interface Numbers extends Described {
  /** Whole numbers have to be equal. */
  readonly whole: boolean;
  readonly values: ArrayLike<number> & ArrayBufferView;
}

/** Throws `E_LAW`: `law` says what should hold. */
export function broken(law: string, what: string): never {
  throw new LenggenError("E_LAW", `${law}: ${what}`);
}

/** All leaves of a tree, read back. */
export function readAll(tree: unknown): Promise<Numbers[]> {
  return Promise.all(leaves(tree).map(async ({ path, tensor }) =>
    ({ path, shape: tensor.shape, whole: tensor.dtype === "i32", values: await tensor.read() })));
}

/** Throws `E_LAW` unless two trees have the same leaves with the same shapes, and pairs them. */
export function paired<A extends Described, W extends Described>(
  law: string, actual: readonly A[], wanted: readonly W[],
): (readonly [A, W])[] {
  return Array.from({ length: Math.max(actual.length, wanted.length) }, (_, i) => {
    const [a, w] = [actual[i], wanted[i]];
    if (a?.path !== w?.path || !a || !w) broken(law, `leaf ${i} is ${a?.path ?? "missing"}, and should be ${w?.path ?? "absent"}`);
    if (!sameShape(a.shape, w.shape)) broken(law, `${a.path} has shape ${showShape(a.shape)}, and should have ${showShape(w.shape)}`);
    return [a, w] as const;
  });
}

/** Throws `E_LAW` unless all leaves agree: largest difference as a share of the largest number that is wanted, in the leaf. */
export function expectClose(law: string, actual: readonly Numbers[], wanted: readonly Numbers[], tolerance: number): void {
  for (const [a, w] of paired(law, actual, wanted)) {
    let [scale, worst, place] = [1e-30, 0, 0];
    for (let i = 0; i < w.values.length; i++) {
      const difference = Math.abs(a.values[i]! - w.values[i]!);
      scale = Math.max(scale, Math.abs(w.values[i]!));
      if (difference > worst || Number.isNaN(difference)) [worst, place] = [difference, i];
      if (Number.isNaN(difference)) break;
    }
    const limit = w.whole ? 0 : tolerance * scale;
    if (!(worst <= limit)) {
      broken(law, `${a.path || "the tensor"}[${placeOf(place, w.shape).join(", ")}] is ${a.values[place]} and should be ${w.values[place]}`
        + (w.whole ? "" : ` (the largest number is ${scale}, the tolerance ${tolerance} of it)`));
    }
  }
}

/** Throws `E_LAW` unless all leaves are the same bits. */
export function expectSameBits(law: string, actual: readonly Numbers[], wanted: readonly Numbers[]): void {
  for (const [a, w] of paired(law, actual, wanted)) {
    const [x, y] = [bytesOf(a), bytesOf(w)];
    const at = x.findIndex((byte, i) => byte !== y[i]);
    if (at < 0) continue;
    const place = Math.floor((at * a.values.length) / a.values.byteLength);
    broken(law, `${a.path}[${placeOf(place, a.shape).join(", ")}] is ${a.values[place]} in one and ${w.values[place]} in the other`);
  }
}

const bytesOf = ({ values }: Numbers): Uint8Array => new Uint8Array(values.buffer, values.byteOffset, values.byteLength);

function placeOf(index: number, shape: Shape): number[] {
  const place: number[] = [];
  for (const size of shape.toReversed()) {
    place.unshift(index % size);
    index = Math.floor(index / size);
  }
  return place;
}

/** Throws `E_ARGUMENT` for a setup that no law can be checked with. */
export function checkSetup(condition: unknown, message: () => string): asserts condition {
  check(condition, "E_ARGUMENT", message);
}
