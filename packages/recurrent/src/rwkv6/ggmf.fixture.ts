/**
 * Reads the container of rwkv.cpp (https://github.com/RWKV/rwkv.cpp, docs/FILE_FORMAT.md): the number "ggmf", a version, the model's sizes,
 * then tensors one after the other, each with its name, its sizes (the innermost first) and its numbers.
 */
import { check, sizeOf } from "@lenggen/kernels";

/** Numbers [row-major] and sizes, the outermost first. */
export interface GgmfTensor {
  readonly shape: readonly number[];
  readonly values: Float32Array;
}

/** A file's contents. */
export interface Ggmf {
  readonly vocabulary: number;
  readonly width: number;
  readonly layers: number;
  readonly tensors: ReadonlyMap<string, GgmfTensor>;
}

const MAGIC = 0x67676d66;
const VERSION = 101;
const F32 = 0;

/** Throws `E_FORMAT` for what is no such file, or holds numbers that are not float32. */
export function readGgmf(bytes: Uint8Array): Ggmf {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  const take = (size: number): number => {
    check(at + size <= bytes.length, "E_FORMAT", () => `ggmf: ends at byte ${bytes.length}, in the middle of what begins at ${at}`);
    at += size;
    return at - size;
  };
  const word = () => view.getUint32(take(4), true);
  const [magic, version] = [word(), word()];
  check(magic === MAGIC && version === VERSION, "E_FORMAT", () =>
    `ggmf: begins with ${magic.toString(16)} and version ${version}, not with ${MAGIC.toString(16)} and ${VERSION}`);
  const [vocabulary, width, layers, type] = [word(), word(), word(), word()];
  check(type === F32, "E_FORMAT", () => `ggmf: holds numbers of type ${type}; only float32 is read`);
  const tensors = new Map<string, GgmfTensor>();
  while (at < bytes.length) {
    const [rank, nameLength, dtype] = [word(), word(), word()];
    const shape = Array.from({ length: rank }, word).toReversed();
    const start = take(nameLength);
    const name = new TextDecoder().decode(bytes.subarray(start, at));
    check(dtype === F32, "E_FORMAT", () => `ggmf: ${name} holds numbers of type ${dtype}; only float32 is read`);
    const numbers = take(4 * sizeOf(shape));
    tensors.set(name, { shape, values: new Float32Array(bytes.slice(numbers, at).buffer) });
  }
  return { vocabulary, width, layers, tensors };
}
