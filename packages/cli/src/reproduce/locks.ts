/** One process at a time in a reproduction's folder, or in the part of one of its models. */
import { type FolderLock, lockFolder } from "@lenggen/kernels/node";

/**
 * Runs a body while the folder is locked for these models, or as a whole where they can't be done apart. Throws `E_LOCKED` with who works
 * there.
 */
export async function holdingParts<R>(
  folder: string, models: readonly string[] | undefined,
  { signal, note }: { readonly signal: AbortSignal; readonly note: (line: string) => void },
  body: () => Promise<R>,
): Promise<R> {
  const locks: FolderLock[] = [];
  const onWait = (holder: string): void => note(`waiting for a sign of life of ${holder}, which worked in ${folder}`);
  try {
    const names = models ? new Set(models.map((model) => `.lock-${model}`)) : [".lock"];
    for (const name of names) locks.push(await lockFolder(folder, { name, signal, onWait }));
    return await body();
  } finally {
    for (const lock of locks) await lock.release();
  }
}
