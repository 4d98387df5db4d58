/**
 * The weights of a checkpoint: `model.safetensors`, or several files that `model.safetensors.index.json` lists, as transformers splits
 * large models:
 *
 *   {"metadata": {...}, "weight_map": {"backbone.norm_f.weight": "model-00002-of-00002.safetensors", ...}}
 *
 * Neither the index nor the files are trusted: it can name files of its own folder only, and what it says is held against what they hold.
 */
import { check, LenggenError } from "./errors";
import { allBy, openSafetensors, type Safetensors } from "./safetensors";
import type { ByteSource } from "./source";
import { isJsonObject, parseJsonBytes, quote } from "./strictJson";

/** The file that holds all weights. */
export const WEIGHTS_FILE = "model.safetensors";
/** The file that tells in which files they are. */
export const WEIGHTS_INDEX = "model.safetensors.index.json";

/** As large as a header may be that names as many tensors. */
const LARGEST_INDEX = 100_000_000;
/** More than any published model has; each stays open. */
const MOST_FILES = 1024;

/** Weights from one file or several; close them when done. */
export interface Weights extends Safetensors {
  close(): Promise<void>;
}

/**
 * Opens the weights of a checkpoint by a function that opens a file of its folder, and throws `E_MISSING` where there is none. One file
 * goes before several. Throws `E_MISSING` when a file is not there, `E_FORMAT` for a damaged file or an index that names none of its
 * folder, and `E_WEIGHTS` when index and files disagree: a tensor that is not where the index has it, or that two files hold.
 */
export async function openWeights(open: (name: string) => Promise<ByteSource>): Promise<Weights> {
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
    const single = await present(opened(WEIGHTS_FILE));
    if (single instanceof LenggenError) {
      const index = await present(opened(WEIGHTS_INDEX));
      if (index instanceof LenggenError) throw single;
      return { ...(await openAll(index, opened)), close };
    }
    return { ...(await openSafetensors(single)), close };
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

async function openAll(index: ByteSource, open: (name: string) => Promise<ByteSource>): Promise<Safetensors> {
  const what = index.name ?? WEIGHTS_INDEX;
  const places = await readIndex(index, what);
  const names = [...new Set(places.values())].sort();
  check(names.length <= MOST_FILES, "E_FORMAT", () => `${what}: lists ${names.length} files; at most ${MOST_FILES} are opened`);
  const tensors = Object.create(null) as Record<string, Safetensors["tensors"][string]>;
  const metadata = Object.create(null) as Record<string, string>;
  const holders = new Map<string, { readonly name: string; readonly file: Safetensors }>();
  for (const name of names) {
    const source = await present(open(name));
    check(!(source instanceof LenggenError), "E_MISSING", () =>
      `${what}: lists the file ${quote(name)}, which is not there: ${(source as LenggenError).message}`);
    const file = await openSafetensors(source);
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
  const load: Safetensors["load"] = async (name, device, dtype) => {
    const holder = holders.get(name);
    check(holder, "E_UNKNOWN_NAME",
      () => `${what}: there is no tensor named ${quote(name)} in its files; they hold ${holders.size} others`);
    return holder.file.load(name, device, dtype);
  };
  return { tensors, metadata, load, loadAll: allBy(load, Object.keys(tensors)) };
}

/** In which file each tensor is. */
async function readIndex(index: ByteSource, what: string): Promise<ReadonlyMap<string, string>> {
  check(index.size <= LARGEST_INDEX, "E_FORMAT",
    () => `${what}: has ${index.size} bytes, too many for an index (at most ${LARGEST_INDEX})`);
  const bytes = await index.read(0, index.size);
  const json = parseJsonBytes(bytes, what);
  const map = isJsonObject(json) ? json["weight_map"] : undefined;
  check(isJsonObject(map), "E_FORMAT", () => `${what}: must be an object with "weight_map", which maps tensors to files`);
  return new Map(Object.entries(map).map(([tensor, file]) => {
    check(typeof file === "string" && isPlainName(file), "E_FORMAT", () =>
      `${what}: has tensor ${quote(tensor)} in ${typeof file === "string" ? quote(file) : JSON.stringify(file).slice(0, 80)}; `
      + "it must be the name of a .safetensors file in the same folder");
    return [tensor, file];
  }));
}

/** Whether a name can be that of a file in the same folder, on any system. */
function isPlainName(name: string): boolean {
  // oxlint-disable-next-line no-control-regex -- no file has these in its name
  return /^[^/\\:\u0000-\u001f]{1,243}\.safetensors$/.test(name);
}
