/**
 * The files of rwkv.cpp (https://github.com/RWKV/rwkv.cpp, docs/FILE_FORMAT.md), of its RWKV-6: six words (the number "ggmf", a version,
 * the sizes of vocabulary, width and depth, a type), then tensors one after the other, each with its rank, the length of its name, its
 * type, its axes from the innermost on, its name, and its numbers.
 *
 * Its converter changed some shapes of the authors' files, by name, and this reader gives them back:
 *   time_maa_w1, time_decay_w1, time_decay_w2   [a,b] was written as [b,a]
 *   time_maa_w2                                 [5,a,b] as [5,b,a]
 *   other time_maa_*, time_decay                [1,1,D] without axes of one, the latter perhaps cut into heads
 *   time_faaaa                                  [H,K] with an axis of one behind it
 * Files of its other generations hold other numbers than their authors' (decays under another name's formula), and are refused, as are
 * quantised ones.
 */
import { check } from "./errors";
import { type FileDType, FILE_DTYPES } from "./fileDtype";
import { showShape, sizeOf } from "./shape";
import type { ByteSource } from "./source";
import { quote } from "./strictJson";
import { stridedBytes } from "./strided";
import { type FileTensor, type TensorFile, tensorFile } from "./tensorFile";
import type { WeightsFormat } from "./weights";

const MAGIC = 0x67676d66;
/** 100 has no types but these; 101 has quantised ones too. */
const VERSIONS = [100, 101];
const TYPES: readonly (FileDType | undefined)[] = ["F32", "F16"];
const [HEADER, TENSOR_HEADER] = [24, 12];
/** More than any model has, of any size: a damaged file can claim billions of either. */
const [MOST_TENSORS, MOST_AXES, LONGEST_NAME] = [65_536, 8, 512];

const TRANSPOSED = /\.time_(?:maa_w1|maa_w2|decay_w1|decay_w2)$/;
const VECTOR = /\.time_(?:maa_[xwkvrg]|decay)$/;
const BONUS = /\.time_faaaa$/;

interface Entry extends FileTensor {
  readonly dtype: FileDType;
  readonly offset: number;
  /** Whether the last two axes are stored the other way round. */
  readonly transposed: boolean;
}

/** The format of rwkv.cpp. Its files have no name of their own in a folder. */
export const RWKV_CPP: WeightsFormat = {
  name: "rwkv.cpp",
  recognizes: (start) => start.length >= 4 && new DataView(start.buffer, start.byteOffset, 4).getUint32(0, true) === MAGIC,
  open: openRwkvCpp,
};

async function openRwkvCpp(source: ByteSource): Promise<TensorFile> {
  const file = source.name ?? "rwkv.cpp data";
  const words = async (offset: number, count: number): Promise<number[]> => {
    check(offset + 4 * count <= source.size, "E_FORMAT", () =>
      `${file}: ends at byte ${source.size}, in the middle of what begins at ${offset}; it is cut short`);
    const bytes = await source.read(offset, 4 * count);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    return Array.from({ length: count }, (_, i) => view.getUint32(4 * i, true));
  };
  const [, version, vocabulary, width, , type] = await words(0, HEADER / 4);
  check(VERSIONS.includes(version!), "E_FORMAT", () =>
    `${file}: is of version ${version} of rwkv.cpp's format; ${VERSIONS.join(" and ")} are read`);
  check(TYPES[type!], "E_DTYPE", () => `${file}: is quantised (type ${type}); the FP32 or FP16 file that it was made from is read`);

  const tensors = Object.create(null) as Record<string, Entry>;
  let count = 0;
  for (let at = HEADER; at < source.size; ) {
    const [rank, nameLength, dtype] = (await words(at, TENSOR_HEADER / 4)) as [number, number, number];
    check(++count <= MOST_TENSORS && rank <= MOST_AXES && nameLength <= LONGEST_NAME, "E_FORMAT", () =>
      `${file}: what begins at byte ${at} is no tensor; the file is damaged`);
    const shape = (await words(at + TENSOR_HEADER, rank)).toReversed();
    const nameAt = at + TENSOR_HEADER + 4 * rank;
    check(nameAt + nameLength <= source.size, "E_FORMAT", () =>
      `${file}: ends in the middle of the name at byte ${nameAt}; it is cut short`);
    const name = new TextDecoder().decode(await source.read(nameAt, nameLength));
    const stored = TYPES[dtype];
    check(stored, "E_DTYPE", () => `${file}: tensor ${quote(name)} is quantised (type ${dtype}); F32 and F16 are read`);
    const offset = nameAt + nameLength;
    const byteLength = sizeOf(shape) * FILE_DTYPES[stored].BYTES_PER_ELEMENT;
    check(byteLength <= source.size - offset, "E_FORMAT", () =>
      `${file}: tensor ${quote(name)} ${showShape(shape)} needs ${byteLength} bytes, and ${source.size - offset} are left; it is cut `
        + "short");
    check(!(name in tensors), "E_FORMAT", () => `${file}: holds two tensors named ${quote(name)}`);
    tensors[name] = { dtype: stored, shape: authorsShape(name, shape, file), offset, transposed: TRANSPOSED.test(name) };
    at = offset + byteLength;
  }
  const [rows, columns] = tensors["emb.weight"]?.shape ?? [vocabulary, width];
  check(rows === vocabulary && columns === width, "E_FORMAT", () =>
    `${file}: says that it has ${vocabulary} tokens of width ${width}, and its embedding has ${rows} of ${columns}; it is damaged`);
  check("blocks.0.att.time_maa_x" in tensors, "E_FORMAT", () =>
    `${file}: is a file of rwkv.cpp of another generation than RWKV-6, the only one that is read`);

  return tensorFile({
    file, tensors, metadata: {},
    stream: ({ dtype, shape, offset, transposed }, what) => stridedBytes(source,
      { offset, width: FILE_DTYPES[dtype].BYTES_PER_ELEMENT, shape, strides: stridesOf(shape, transposed) }, what),
  });
}

/** The shape that the authors' file has, of what is stored with this one. */
function authorsShape(name: string, shape: readonly number[], file: string): readonly number[] {
  if (TRANSPOSED.test(name)) {
    check(shape.length >= 2, "E_FORMAT", () => `${file}: tensor ${quote(name)} ${showShape(shape)} must have two axes or three`);
    return [...shape.slice(0, -2), shape.at(-1)!, shape.at(-2)!];
  }
  if (VECTOR.test(name)) return [1, 1, sizeOf(shape)];
  return BONUS.test(name) && shape.at(-1) === 1 ? shape.slice(0, -1) : shape;
}

/** Of a tensor of this shape [...,a,b], which is stored in its order or as [...,b,a]. */
function stridesOf(shape: readonly number[], transposed: boolean): number[] {
  const strides = shape.map((_, axis) => sizeOf(shape.slice(axis + 1)));
  return transposed ? [...strides.slice(0, -2), 1, shape.at(-2)!] : strides;
}
