/** Stages of a reproduction whose results are kept on disk. */
import { readFile } from "node:fs/promises";
import { dirname } from "node:path";
import { makeFolder, writeWhole } from "@lenggen/kernels/node";

export interface Stage<R> {
  readonly result: R;
  /** What it took when it was run. */
  readonly seconds: number;
  /** Whether it was run now, not found from before. */
  readonly fresh: boolean;
}

/** Runs a stage, or finds it in its file: an interrupted reproduction goes on where it was. `decides`: all that its result depends on. */
export async function resumable<R>(file: string, decides: unknown, run: () => Promise<R>): Promise<Stage<R>> {
  const wanted = JSON.stringify(decides);
  const found = await readFile(file, "utf8").then((text) => JSON.parse(text) as Stage<R> & { decides: string }, () => undefined);
  if (found?.decides === wanted) return { result: found.result, seconds: found.seconds, fresh: false };
  await makeFolder(dirname(file)); // before the stage is run, so that nothing is lost for want of it
  const started = performance.now();
  const stage = { result: await run(), seconds: (performance.now() - started) / 1000 };
  await writeWhole(file, [new TextEncoder().encode(JSON.stringify({ decides: wanted, ...stage }))]);
  return { ...stage, fresh: true };
}
