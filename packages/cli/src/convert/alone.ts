/** One process at a time writes what `lenggen convert` makes. */
import { readdir, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { check } from "@lenggen/kernels";
import { checkWritable, lockTarget, makeFolder } from "@lenggen/kernels/node";
import type { Conversion } from "./target";

/** Makes sure that nothing is replaced that should not be: an empty folder is nothing, a run is kept. Throws `E_EXISTS`. */
export async function checkFree({ to, overwrite }: Pick<Conversion, "to" | "overwrite">): Promise<void> {
  const found = await stat(to).catch(() => undefined);
  const there = found !== undefined && (!found.isDirectory() || (await readdir(to)).length > 0);
  check(!(await isRun(to)), "E_EXISTS", () =>
    `${to} holds a run, whose checkpoints nobody would find behind a model that lies before them; choose another name`);
  check(overwrite || !there, "E_EXISTS", () => `${to} is there already; choose another name, or give --overwrite`);
}

const isRun = (path: string): Promise<boolean> => stat(join(path, "checkpoints")).then((found) => found.isDirectory(), () => false);

/**
 * Runs what writes to a path while no other process does, in a folder that is made, without what killed ones left there of it. Throws
 * `E_LOCKED` while another one does, and `E_EXISTS` where one has.
 */
export async function alone<T>(path: string, conversion: Conversion, write: () => Promise<T>): Promise<T> {
  await makeFolder(dirname(resolve(path)));
  await checkWritable(path);
  const lock = await lockTarget(path);
  try {
    await checkFree(conversion);
    return await write();
  } finally {
    await lock.release();
  }
}
