/** Opening a run's store: a new run, or one to go on with. */
import { check, isJsonObject, parseJson } from "@lenggen/kernels";
import { differences, type Json, type JsonRecord } from "./json";
import { settingsToGoOn } from "./resume";
import type { RunStore } from "./runStore";

const RUN_FILE = "run.json";
export const METRICS_FILE = "metrics.jsonl";

/** What `run.json` holds. */
export interface RunRecord {
  /** Version of the layout of the run directory. */
  readonly format: 1;
  /** What decides the result, on one device to the last bit. A run is resumed only with the same, but for its number of steps. */
  readonly settings: JsonRecord;
  /** What is good to know, e.g. versions and the machine; may differ when a run is resumed. */
  readonly about: JsonRecord;
}

export interface OpenRunOptions {
  readonly resume: boolean;
  /** Called before anything of a new run is written; throws when it must not begin. */
  readonly onNew: () => void;
}

export interface OpenedRun {
  /** Step of the checkpoint to go on from; undefined for a new start. */
  readonly last: number | undefined;
  /** Those of the run from now on, as run.json has them. */
  readonly settings: JsonRecord;
}

/**
 * Makes the store ready and says where to go on.
 *
 * Throws `E_EXISTS` when the store holds something else than a run, or a run while `resume` is false; `E_CONFIG`
 * when it holds a run with another model or other settings (see {@link settingsToGoOn}); `E_FORMAT` when run.json is damaged.
 */
export async function openRun(store: RunStore, record: Omit<RunRecord, "format">, { resume, onNew }: OpenRunOptions): Promise<OpenedRun> {
  await store.prepare();
  const entries = await store.entries();
  // A run that ended before its first checkpoint left only its description: nothing would be lost.
  const isNew = entries.every((name) => name === RUN_FILE);
  if (isNew) {
    onNew();
    await write(store, { format: 1, ...record });
    return { last: undefined, settings: record.settings };
  }
  const text = await store.readText(RUN_FILE);
  check(text !== undefined, "E_EXISTS", () =>
    `${store.location} exists and holds no run (there is ${entries.slice(0, 3).join(", ")}); choose another folder`);
  const run = parseRun(text, `${store.location}/${RUN_FILE}`);
  const last = (await store.checkpoints()).at(-1);
  check(resume, "E_EXISTS", () =>
    `${store.location} holds a run already (${last === undefined ? "without a checkpoint" : `checkpoint at step ${last}`}); `
    + `resume it${last ? "" : ", delete it"} or choose another folder`);
  const settings = settingsToGoOn(run.settings, record.settings, last ?? 0, store.location);
  if (differences(run.settings, settings).length > 0) await write(store, { ...run, settings });
  await truncateMetrics(store, last ?? 0);
  return { last, settings };
}

function write(store: RunStore, run: RunRecord): Promise<void> {
  return store.write(RUN_FILE, `${JSON.stringify(run, null, 2)}\n`);
}

function parseRun(text: string, where: string): RunRecord {
  const run = parseJson(text, where);
  check(isJsonObject(run) && run["format"] === 1 && isJsonObject(run["settings"]), "E_FORMAT", () =>
    `${where} is not the description of a run: it needs "format": 1 and "settings"`);
  return run as unknown as RunRecord;
}

/** Drops the lines of steps after `step`, which will be run again, and a last line that was cut off. */
async function truncateMetrics(store: RunStore, step: number): Promise<void> {
  const text = await store.readText(METRICS_FILE);
  if (text === undefined) return;
  const kept = text.split("\n").filter((line) => stepOf(line) <= step).map((line) => `${line}\n`).join("");
  if (kept !== text) await store.write(METRICS_FILE, kept);
}

function stepOf(line: string): number {
  try {
    const step = (JSON.parse(line) as { step?: Json }).step;
    return typeof step === "number" ? step : Infinity;
  } catch {
    return Infinity;
  }
}
