/** What one process at a time writes at a path, beside it until it is whole; and what killed ones left of it. */
import { readdir, rm } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { type FolderLock, lockFolder, type LockOptions } from "./lock";

/** Names beside a target that belong to it: its lock, and what is not whole yet (as `besideName` calls it). */
const OF_TARGET = /^\.(.+?)(?:\.lock)?(?:\.[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\.partial)?$/;
const LEFTOVER = /\.lock$|\.partial$/;

/** The target that a name belongs to, if to one. */
const targetOf = (entry: string): string | undefined => (LEFTOVER.test(entry) ? OF_TARGET.exec(entry)?.[1] : undefined);

/**
 * Takes the right to write a file or folder at a path whose folder exists, and removes what killed processes that had it left beside it.
 * Throws what {@link lockFolder} throws.
 */
export async function lockTarget(path: string, options: Omit<LockOptions, "name" | "what"> = {}): Promise<FolderLock> {
  const [folder, name] = [dirname(resolve(path)), basename(resolve(path))];
  const lock = await lockFolder(folder, { ...options, name: `.${name}.lock`, what: path });
  for (const entry of await readdir(folder)) {
    if (entry.endsWith(".partial") && targetOf(entry) === name) await rm(join(folder, entry), { recursive: true, force: true });
  }
  return lock;
}

/** Removes what killed processes left of all targets in a folder of which nobody writes another way than {@link lockTarget}'s. */
export async function sweepTargets(folder: string): Promise<void> {
  const targets = new Set((await readdir(folder)).map(targetOf).filter((name) => name !== undefined));
  // Of a process that lives, or that nobody here can tell of without a wait, nothing is touched.
  const signal = AbortSignal.abort();
  for (const name of targets) await lockTarget(join(folder, name), { signal }).then((lock) => lock.release(), () => {});
}
