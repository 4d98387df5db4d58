/** JSON files: configurations, and what runs recorded. */
import { check, type Json, LenggenError, parseConfig, parseJsonBytes } from "@lenggen/kernels";
import { openFile } from "@lenggen/kernels/node";

/** Most bytes of a config.json that is read; published ones have a few hundred. */
const LARGEST_CONFIG = 1 << 20;

/** Reads a model's `config.json`, as whichever program wrote it. Throws `E_MISSING`, `E_IO` or `E_FORMAT`. */
export async function readConfig(path: string): Promise<unknown> {
  return parseConfig(await readSmall(path), path);
}

/** Reads a JSON file of moderate size. Throws `E_MISSING`, `E_IO` or `E_FORMAT`. */
export async function readJson(path: string): Promise<Json> {
  return parseJsonBytes(await readSmall(path), path);
}

async function readSmall(path: string): Promise<Uint8Array> {
  const source = await openFile(path);
  try {
    check(source.size <= LARGEST_CONFIG, "E_FORMAT", () =>
      `${path} has ${source.size} bytes, too many for a configuration (at most ${LARGEST_CONFIG})`);
    return await source.read(0, source.size);
  } finally {
    await source.close();
  }
}

/** An error about a configuration as one that names its file; others as they are. */
export function ofFile(error: unknown, path: string): unknown {
  if (!(error instanceof LenggenError) || !/^config\b/.test(error.message)) return error;
  return new LenggenError(error.code, error.message.replace(/^config\b/, () => path), { cause: error });
}
