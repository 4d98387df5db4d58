/** A run that `--resume` goes on with: what it recorded decides, where the flags leave something open. */
import { join } from "node:path";
import { hashTokens, type JsonRecord } from "@lenggen/interventions";
import { joinTokens, LenggenError } from "@lenggen/kernels";
import { fileTokens, weightsFilesIn } from "@lenggen/kernels/node";
import { findCheckpoint } from "./checkpoints";
import type { HubContext } from "./hub";
import { readJson } from "./jsonFiles";

export interface BegunRun {
  readonly settings: JsonRecord;
  /** The field of its text's records, where one was named. */
  readonly field?: string;
  /** Its last checkpoint, which is all that it needs to go on. */
  readonly checkpoint: string;
}

/** The run in a folder; undefined where none has saved anything yet, so that a new one begins. */
export async function begunRun(folder: string): Promise<BegunRun | undefined> {
  const checkpoint = await findIfThere(folder);
  if (checkpoint === undefined) return undefined;
  const { settings = {}, about = {} } = ((await readJson(join(folder, "run.json"))) ?? {}) as { settings?: JsonRecord; about?: JsonRecord };
  const { field } = about;
  return { settings, ...(typeof field === "string" && { field }), checkpoint };
}

/** A checkpoint's folder; undefined when there is none in that place any more. */
export async function findIfThere(path: string, context?: HubContext): Promise<string | undefined> {
  try {
    return await findCheckpoint(path, context);
  } catch (error) {
    if (error instanceof LenggenError && error.code === "E_MISSING") return undefined;
    throw error;
  }
}

/** The hash of a checkpoint's weights: what it is, wherever it lies. */
export async function weightsHash(checkpoint: string, signal: AbortSignal): Promise<string> {
  const files = fileTokens();
  try {
    const weights = await Promise.all((await weightsFilesIn(checkpoint)).map((path) => files.open(path)));
    return await hashTokens(joinTokens(weights), { signal });
  } finally {
    files.close();
  }
}

/** Whether a run read its text as one: what older runs did not, unless asked to. */
export function joinedDocuments({ settings }: BegunRun): boolean {
  const documents = (settings["data"] as JsonRecord | undefined)?.["documents"];
  return typeof documents !== "number" || documents === 1;
}

/** A whole number that a run recorded. */
export function recordedCount(settings: JsonRecord | undefined, name: string): number | undefined {
  const value = settings?.[name];
  return Number.isSafeInteger(value) ? (value as number) : undefined;
}
