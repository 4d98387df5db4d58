/**
 * The weights of a checkpoint: in one file, `model.safetensors`, or in several that `model.safetensors.index.json` lists, as transformers
 * splits large models:
 *
 *   {"metadata": {...}, "weight_map": {"backbone.norm_f.weight": "model-00002-of-00002.safetensors", ...}}
 *
 * Other formats have names of their own in a folder, and lie in it in the same two ways. Neither the index nor the files are trusted: an
 * index can name files of its own folder only, and what it says is held against what they hold.
 */
import { check, LenggenError } from "./errors";
import { openSafetensors } from "./safetensors";
import type { ByteSource } from "./source";
import { isJsonObject, parseJsonBytes, quote } from "./strictJson";
import { allBy, type TensorFile } from "./tensorFile";

/** The file that holds all weights. */
export const WEIGHTS_FILE = "model.safetensors";
/** The file that tells in which files they are. */
export const WEIGHTS_INDEX = "model.safetensors.index.json";

/** As large as a header may be that names as many tensors. */
const LARGEST_INDEX = 100_000_000;
/** More than any published model has; each stays open. */
const MOST_FILES = 1024;
/** Bytes from a file's beginning by which its format is told. */
const START = 64;

/** A format that files of weights can have. */
export interface WeightsFormat {
  /** As people call it. */
  readonly name: string;
  /** What it is called in a checkpoint's folder, if it is ever found in one: a file with everything, or an index, and files that end so. */
  readonly inFolder?: { readonly file: string; readonly index: string; readonly extension: string };
  /** Whether a file is of this format, by its first bytes (64, or all there are). */
  recognizes(start: Uint8Array): boolean;
  /** Reads what says which tensors there are. */
  open(source: ByteSource): Promise<TensorFile>;
}

/** The format of safetensors. */
export const SAFETENSORS: WeightsFormat = {
  name: "safetensors",
  inFolder: { file: WEIGHTS_FILE, index: WEIGHTS_INDEX, extension: ".safetensors" },
  recognizes: (start) => start[8] === 0x7b, // the brace behind the header's length
  open: openSafetensors,
};

/** Weights from one file or several; close them when done. */
export interface Weights extends TensorFile {
  close(): Promise<void>;
}

/** A function that opens a file of a folder, and throws `E_MISSING` where there is none. */
export type OpenInFolder = (name: string) => Promise<ByteSource>;

/** Where a folder has its weights. */
export interface WeightsPlace {
  readonly format: WeightsFormat;
  /** The files, in the order of their names. */
  readonly files: readonly string[];
  /** The index that lists them, where they are several: in which file each tensor is. */
  readonly index?: { readonly name: string; readonly tensors: ReadonlyMap<string, string> };
}

/**
 * Finds the weights in a checkpoint's folder: of the formats in their order, a single file before several. Throws `E_MISSING` where there
 * are none and `E_FORMAT` for an index that names none of its folder.
 */
export async function findWeights(open: OpenInFolder, formats: readonly WeightsFormat[] = [SAFETENSORS]): Promise<WeightsPlace> {
  let missing: LenggenError | undefined;
  for (const format of formats) {
    if (!format.inFolder) continue;
    const { file, index, extension } = format.inFolder;
    const single = await present(open(file));
    if (!(single instanceof LenggenError)) {
      await single.close();
      return { format, files: [file] };
    }
    missing ??= single;
    const listed = await present(open(index));
    if (listed instanceof LenggenError) continue;
    try {
      return { format, ...(await readIndex(listed, extension)) };
    } finally {
      await listed.close();
    }
  }
  throw missing!;
}

/**
 * Opens the weights of a checkpoint by a function that opens a file of its folder, and throws `E_MISSING` where there is none. One file
 * goes before several. Throws `E_MISSING` when a file is not there, `E_FORMAT` for a damaged file or an index that names none of its
 * folder, and `E_WEIGHTS` when index and files disagree: a tensor that is not where the index has it, or that two files hold.
 */
export async function openWeights(open: OpenInFolder, formats: readonly WeightsFormat[] = [SAFETENSORS]): Promise<Weights> {
  const { format, files, index } = await findWeights(open, formats);
  const sources: ByteSource[] = [];
  const close = async (): Promise<void> => {
    await Promise.all(sources.map((source) => source.close()));
  };
  const opened = async (name: string): Promise<ByteSource> => {
    const source = await open(name);
    sources.push(source);
    return source;
  };
  try {
    const tensors = index ? await openAll(index, files, format, opened) : await format.open(await opened(files[0]!));
    return { ...tensors, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Opens one file of weights, of any of the formats; closing them closes it. Throws `E_FORMAT`, also for a file of none of them. */
export async function openWeightsFile(source: ByteSource, formats: readonly WeightsFormat[] = [SAFETENSORS]): Promise<Weights> {
  const close = (): Promise<void> => source.close();
  try {
    const start = await source.read(0, Math.min(START, source.size));
    const name = source.name ?? "";
    // What is called so is one, if a damaged one, whose reader says what is wrong with it.
    const format = formats.find(({ recognizes }) => recognizes(start))
      ?? formats.find(({ inFolder }) => inFolder !== undefined && name.endsWith(inFolder.extension));
    check(format, "E_FORMAT", () =>
      `${source.name ?? "file"}: begins as no file of weights does that can be read: ${formats.map(({ name }) => name).join(", ")}`);
    return { ...(await format.open(source)), close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** The error that says that there is no such file, instead of throwing it. */
async function present(source: Promise<ByteSource>): Promise<ByteSource | LenggenError> {
  try {
    return await source;
  } catch (error) {
    if (error instanceof LenggenError && error.code === "E_MISSING") return error;
    throw error;
  }
}

async function openAll(
  { name: what, tensors: places }: NonNullable<WeightsPlace["index"]>, files: readonly string[], format: WeightsFormat, open: OpenInFolder,
): Promise<TensorFile> {
  const tensors = Object.create(null) as Record<string, TensorFile["tensors"][string]>;
  const metadata = Object.create(null) as Record<string, string>;
  const holders = new Map<string, { readonly name: string; readonly file: TensorFile }>();
  for (const name of files) {
    const source = await present(open(name));
    check(!(source instanceof LenggenError), "E_MISSING", () =>
      `${what}: lists the file ${quote(name)}, which is not there: ${(source as LenggenError).message}`);
    const file = await format.open(source);
    for (const [tensor, about] of Object.entries(file.tensors)) {
      check(!holders.has(tensor), "E_WEIGHTS", () =>
        `${what}: tensor ${quote(tensor)} is in two files, ${quote(holders.get(tensor)!.name)} and ${quote(name)}`);
      holders.set(tensor, { name, file });
      tensors[tensor] = about;
    }
    Object.assign(metadata, file.metadata);
  }
  for (const [tensor, name] of places) {
    check(holders.get(tensor)?.name === name, "E_WEIGHTS", () =>
      `${what}: has tensor ${quote(tensor)} in ${quote(name)}, which holds none of that name${
        holders.has(tensor) ? `; it is in ${quote(holders.get(tensor)!.name)}` : ""}`);
  }
  const holderOf = (name: string): TensorFile => {
    const holder = holders.get(name);
    check(holder, "E_UNKNOWN_NAME",
      () => `${what}: there is no tensor named ${quote(name)} in its files; they hold ${holders.size} others`);
    return holder.file;
  };
  const load: TensorFile["load"] = async (name, ...how) => holderOf(name).load(name, ...how);
  return { tensors, metadata, load, loadAll: allBy(load, Object.keys(tensors)), bytes: (name) => holderOf(name).bytes(name) };
}

/** In which file each tensor is, and the files. */
async function readIndex(index: ByteSource, extension: string): Promise<Required<Pick<WeightsPlace, "files" | "index">>> {
  const what = index.name ?? "index of weights";
  check(index.size <= LARGEST_INDEX, "E_FORMAT",
    () => `${what}: has ${index.size} bytes, too many for an index (at most ${LARGEST_INDEX})`);
  const bytes = await index.read(0, index.size);
  const json = parseJsonBytes(bytes, what);
  const map = isJsonObject(json) ? json["weight_map"] : undefined;
  check(isJsonObject(map), "E_FORMAT", () => `${what}: must be an object with "weight_map", which maps tensors to files`);
  const tensors = new Map(Object.entries(map).map(([tensor, file]) => {
    check(typeof file === "string" && isPlainName(file, extension), "E_FORMAT", () =>
      `${what}: has tensor ${quote(tensor)} in ${typeof file === "string" ? quote(file) : JSON.stringify(file).slice(0, 80)}; `
      + `it must be the name of a ${extension} file in the same folder`);
    return [tensor, file];
  }));
  const files = [...new Set(tensors.values())].sort();
  check(files.length <= MOST_FILES, "E_FORMAT", () => `${what}: lists ${files.length} files; at most ${MOST_FILES} are opened`);
  return { files, index: { name: what, tensors } };
}

/** Whether a name can be that of a file in the same folder, on any system. */
function isPlainName(name: string, extension: string): boolean {
  // oxlint-disable-next-line no-control-regex -- no file has these in its name
  return name.endsWith(extension) && /^[^/\\:\u0000-\u001f]{1,255}$/.test(name) && name.length > extension.length;
}
