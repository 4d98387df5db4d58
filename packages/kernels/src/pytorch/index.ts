/**
 * Files of PyTorch's `torch.save` with a state dictionary, read without running what is in them. Import as `@lenggen/kernels/pytorch`.
 *
 * `unpickle` knows instructions and names of such dictionaries alone and refuses all others by name, so that no file can do more than name
 * tensors; what they say of sizes, strides and places is held against the file before anything is allocated.
 */
import { check } from "../errors";
import type { ByteSource } from "../source";
import { stridedBytes } from "../strided";
import { type TensorFile, tensorFile } from "../tensorFile";
import type { WeightsFormat } from "../weights";
import { readArchive } from "./archive";
import { isPickle, readLegacy } from "./legacy";
import { type TensorView, WIDTHS } from "./names";
import { isZip } from "./zip";

/** Reads what a file of `torch.save` says of its tensors, and checks it. Throws `E_FORMAT`. */
export async function openPyTorch(source: ByteSource): Promise<TensorFile> {
  const file = source.name ?? "PyTorch data";
  const start = await source.read(0, Math.min(4, source.size));
  check(isZip(start) || isPickle(start), "E_FORMAT", () => `${file}: is no file of torch.save: it begins neither as a zip nor as a pickle`);
  const { tensors: found, startOf } = isZip(start) ? await readArchive(source, file) : await readLegacy(source, file);
  const tensors = Object.create(null) as Record<string, TensorView>;
  for (const [name, tensor] of found) tensors[name] = tensor;
  return tensorFile({
    file, tensors, metadata: Object.create(null) as Record<string, string>,
    async *stream({ storage, dtype, offset, shape, strides }, what) {
      const width = WIDTHS[dtype]!;
      yield* stridedBytes(source, { offset: (await startOf(storage)) + offset * width, width, shape, strides }, what);
    },
  });
}

/** The format of `torch.save`. */
export const PYTORCH: WeightsFormat = {
  name: "PyTorch",
  inFolder: { file: "pytorch_model.bin", index: "pytorch_model.bin.index.json", extension: ".bin" },
  recognizes: (start) => isZip(start) || isPickle(start),
  open: openPyTorch,
};
