/** Weights on disk: a checkpoint's folder, or one file of any format. */
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { PYTORCH } from "../pytorch";
import { RWKV_CPP } from "../rwkvCpp";
import { findWeights, openWeights, openWeightsFile, SAFETENSORS, type Weights, type WeightsFormat } from "../weights";
import { fileError, openFile } from "./files";

/** The formats that are read, in the order in which a folder is searched for them. */
const FORMATS: readonly WeightsFormat[] = [SAFETENSORS, PYTORCH, RWKV_CPP];

/** What weights are called in a checkpoint's folder, in the order in which they are looked for. */
export const CHECKPOINT_FILES: readonly string[] = FORMATS.flatMap(({ inFolder }) => (inFolder ? [inFolder.file, inFolder.index] : []));

/**
 * Opens the weights of a checkpoint: of its folder (`model.safetensors` or what else {@link CHECKPOINT_FILES} names, in one file or those
 * that an index lists), or the file itself, whatever its name. Throws what `openWeights` and `openFile` throw.
 */
export async function openWeightsIn(place: string): Promise<Weights> {
  return (await isFolder(place)) ? openWeights((name) => openFile(join(place, name)), FORMATS)
    : openWeightsFile(await openFile(place), FORMATS);
}

/** The files that {@link openWeightsIn} reads weights from, in the order of their names. */
export async function weightsFilesIn(place: string): Promise<readonly string[]> {
  if (!(await isFolder(place))) return [place];
  const { files } = await findWeights((name) => openFile(join(place, name)), FORMATS);
  return files.map((name) => join(place, name));
}

async function isFolder(place: string): Promise<boolean> {
  try {
    return (await stat(place)).isDirectory();
  } catch (error) {
    throw fileError("read", place, error);
  }
}
