/**
 * A run directory in {@link Files}, for the trainer: the same files as in Node (run.json, metrics.jsonl, checkpoints/step-N/...).
 * Folders can't be renamed here, so a checkpoint counts as complete once its trainer.json is there, which is written last.
 */
import type { FileContent, RunStore } from "@lenggen/interventions";
import { type ByteSource, check } from "@lenggen/kernels";
import type { Files } from "./files";

const CHECKPOINTS = "checkpoints";
const SEAL = "trainer.json";
const SEALED = /^checkpoints\/step-(\d+)\/trainer\.json$/;

export function runFolder(files: Files, folder: string): RunStore {
  const at = (name: string) => `${folder}/${name}`;
  const checkpointPath = (step: number) => at(`${CHECKPOINTS}/step-${step}`);
  const steps = async () => wholeCheckpoints(await files.all(folder));

  return {
    location: folder,
    checkpointPath,
    async prepare() {
      const whole = new Set(await steps());
      for (const path of await files.all(at(CHECKPOINTS))) if (!whole.has(stepOf(path))) await files.remove(at(`${CHECKPOINTS}/${path}`));
    },
    entries: async () => [...new Set((await files.all(folder)).map((path) => path.split("/")[0]!))],
    readText: async (name) => (await files.read(at(name)))?.text(),
    write: (name, content) => files.write(at(name), blobOf(content)),
    append: (name, text) => files.append(at(name), text),
    checkpoints: steps,
    async openCheckpoint(step, file) {
      const path = `${checkpointPath(step)}/${file}`;
      const found = await files.read(path);
      check(found, "E_MISSING", () => `${path}: there is no such file`);
      return blobSource(found, path);
    },
    async writeCheckpoint(step, contents) {
      const target = checkpointPath(step);
      const { [SEAL]: seal, ...others } = contents;
      check(seal !== undefined, "E_ARGUMENT", () => `a checkpoint needs ${SEAL}`);
      try {
        for (const [name, content] of Object.entries(others)) await files.write(`${target}/${name}`, blobOf(content));
        await files.write(`${target}/${SEAL}`, blobOf(seal));
      } catch (error) {
        await files.remove(target).catch(() => {}); // the first error is the one to tell
        throw error;
      }
    },
    async removeCheckpoint(step) {
      await files.remove(`${checkpointPath(step)}/${SEAL}`);
      await files.remove(checkpointPath(step));
    },
  };
}

/** Steps of which there is a whole checkpoint among the paths of a run's files, ascending. */
export function wholeCheckpoints(paths: readonly string[]): number[] {
  return paths.flatMap((path) => SEALED.exec(path)?.[1] ?? []).map(Number).sort((a, b) => a - b);
}

/** The step of a path below `checkpoints`. */
function stepOf(path: string): number {
  return Number(/^step-(\d+)\//.exec(path)?.[1] ?? Number.NaN);
}

function blobOf(content: FileContent): Blob | AsyncIterable<Uint8Array> {
  return typeof content === "string" ? new Blob([content]) : content;
}

/** A Blob as the bytes of a file. */
export function blobSource(blob: Blob, name: string): ByteSource {
  return {
    name,
    size: blob.size,
    async read(offset, length) {
      return new Uint8Array(await blob.slice(offset, offset + length).arrayBuffer());
    },
    async close() {},
  };
}
