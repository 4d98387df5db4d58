/**
 * A run's files in a folder:
 *
 *   run.json   metrics.jsonl   checkpoints/step-N/{config.json, model.safetensors, optimizer.safetensors, trainer.json}
 *
 * A checkpoint is written into `checkpoints/.step-N.partial` and renamed when it is complete and on disk; one that
 * goes is renamed first and then deleted. Whatever a killed process leaves has a name that starts with a dot and
 * ends in `.partial`, and `prepare` deletes it. While a run writes there, the file `.lock` says which process it is.
 */
import { appendFile, mkdir, readdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { type FolderLock, fileError, isLockFile, lockFolder, makeFolder, openFile, syncFolder, writeWhole } from "@lenggen/kernels/node";
import type { FileContent, RunStore } from "../runStore";

const CHECKPOINTS = "checkpoints";
const COMPLETE = /^step-(\d+)$/;
const LEFTOVER = /^\..*\.partial$/;

/** Answers of a folder that takes no files: who can't write there does no harm, and learns it when a file is to be written. */
const READ_ONLY: ReadonlySet<unknown> = new Set(["EACCES", "EROFS", "EPERM"]);

/** A run directory at `folder`; nothing is made before the trainer takes its lock. One process at a time can train there. */
export function runDirectory(folder: string): RunStore {
  const checkpoints = join(folder, CHECKPOINTS);
  const checkpointPath = (step: number) => join(checkpoints, `step-${step}`);
  let held: FolderLock | undefined;

  return {
    location: folder,
    checkpointPath,
    async lock(request) {
      await makeFolder(folder);
      const lock = await lockFolder(folder, request).catch((error: Error) => {
        if (READ_ONLY.has((error.cause as NodeJS.ErrnoException | undefined)?.code)) return undefined;
        throw error;
      });
      held = lock;
      return async () => {
        await lock?.release();
        if (held === lock) held = undefined;
      };
    },
    prepare: () => attempt("prepared for writing", folder, async () => {
      await makeFolder(folder);
      await makeFolder(checkpoints);
      for (const place of [folder, checkpoints]) {
        for (const name of await readdir(place)) {
          if (LEFTOVER.test(name)) await rm(join(place, name), { recursive: true, force: true });
        }
      }
    }),
    entries: () => attempt("read", folder, async () => {
      const names = await readdir(folder);
      const inside = await readdir(checkpoints);
      return names.filter((name) => (name !== CHECKPOINTS || inside.length > 0) && !isLockFile(name));
    }),
    async readText(name) {
      const path = join(folder, name);
      try {
        return await readFile(path, "utf8");
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
        throw fileError("read", path, error);
      }
    },
    async write(name, content) {
      await held?.check();
      await writeWhole(join(folder, name), chunksOf(content));
    },
    append: (name, text) => attempt("written", join(folder, name), async () => {
      await held?.check();
      await appendFile(join(folder, name), text);
    }),
    checkpoints: () => attempt("read", checkpoints, async () => {
      // An empty folder is none: somebody emptied it.
      const held = await Promise.all((await readdir(checkpoints)).map(async (name) =>
        COMPLETE.test(name) && (await readdir(join(checkpoints, name))).length > 0 ? [Number(COMPLETE.exec(name)![1])] : []));
      return held.flat().sort((a, b) => a - b);
    }),
    openCheckpoint: (step, file) => openFile(join(checkpointPath(step), file)),
    async writeCheckpoint(step, files) {
      const target = checkpointPath(step);
      const partial = join(checkpoints, `.step-${step}.partial`);
      await attempt("written", target, async () => {
        await held?.check();
        await rm(partial, { recursive: true, force: true });
        await mkdir(partial);
        try {
          for (const [name, content] of Object.entries(files)) await writeWhole(join(partial, name), chunksOf(content));
          await rename(partial, target);
        } catch (error) {
          await rm(partial, { recursive: true, force: true }).catch(() => {}); // the first error is the one to tell
          throw error;
        }
        await syncFolder(checkpoints);
      });
    },
    removeCheckpoint: (step) => attempt("deleted", checkpointPath(step), async () => {
      await held?.check();
      const leaving = join(checkpoints, `.old-step-${step}.partial`);
      await rename(checkpointPath(step), leaving);
      await rm(leaving, { recursive: true, force: true });
    }),
  };
}

async function attempt<T>(action: string, path: string, body: () => Promise<T>): Promise<T> {
  try {
    return await body();
  } catch (error) {
    throw fileError(action, path, error);
  }
}

function chunksOf(content: FileContent): AsyncIterable<Uint8Array> | Iterable<Uint8Array> {
  return typeof content === "string" ? [new TextEncoder().encode(content)] : content;
}
