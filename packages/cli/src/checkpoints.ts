/** Checkpoints on disk: where they are, what they hold, and what the run that they belong to recorded. */
import { readdir, realpath, stat } from "node:fs/promises";
import { basename, dirname, extname, join, sep } from "node:path";
import {
  check, type Device, isJsonObject, type JsonObject, LenggenError, type LoadedCheckpoint, type MakeOptions, type SequenceModel,
} from "@lenggen/kernels";
import { CHECKPOINT_FILES, openWeightsIn } from "@lenggen/kernels/node";
import { isHubReference } from "@lenggen/data/node";
import { MODELS } from "./families";
import { fromHub, type HubContext } from "./hub";
import { ofFile, readConfig, readJson } from "./jsonFiles";

/** What a checkpoint may be named by, for help. */
export const CHECKPOINT_HELP = "a run directory (its last checkpoint), a checkpoint's folder, a file of weights, or "
  + "hf:owner/name[@revision] of the hub";

/** How the files of weights end that are published under names of their own. */
const EXTENSIONS = new Set([".safetensors", ".bin", ".pth", ".pt"]);

/**
 * The place of a checkpoint: a folder, which has its weights under a name that is looked for there, or else one file. That is the path
 * given, or the folder of the file given where it is the one that the folder is read by, or the last checkpoint of the run directory given.
 * A reference to the hub is fetched, if it is not in the cache; without a context it is a path like any other.
 */
export async function findCheckpoint(path: string, context?: HubContext): Promise<string> {
  if (context && isHubReference(path)) return (await fromHub(path, "checkpoint", context)).path;
  const found = await stat(path).catch(() => undefined);
  check(found, "E_MISSING", () => `checkpoint ${path}: there is no such folder or file`);
  check(extname(path) !== ".gguf" || found.isDirectory(), "E_FORMAT", () =>
    `checkpoint ${path}: is a file of llama.cpp, which lenggen convert writes and nothing here reads; give what it was made from`);
  if (!found.isDirectory()) return basename(path) === (await firstWeights(dirname(path))) ? dirname(path) : path;
  if ((await firstWeights(path)) !== undefined) return path;
  const checkpoints = join(path, "checkpoints");
  const steps = ((await exists(checkpoints)) ? await readdir(checkpoints) : [])
    .map((name) => ({ name, step: Number(/^step-(\d+)$/.exec(name)?.[1] ?? Number.NaN) }))
    .filter(({ step }) => Number.isSafeInteger(step))
    .sort((a, b) => b.step - a.step);
  // The last that is not empty, as the trainer counts them.
  for (const { name } of steps) if ((await readdir(join(checkpoints, name))).length > 0) return join(checkpoints, name);
  const file = (await readdir(path)).find((name) => EXTENSIONS.has(extname(name)));
  const hint = file === undefined ? "" : `; name a file of weights itself, such as ${join(path, file)}`;
  throw new LenggenError("E_MISSING", `${path} holds no checkpoint: neither ${CHECKPOINT_FILES.join(", ")} nor a folder `
    + `checkpoints/step-N (a run that has not saved yet has none)${hint}`);
}

/** What a folder's weights are called, if it has any; the first of what is looked for. */
async function firstWeights(folder: string): Promise<string | undefined> {
  for (const name of CHECKPOINT_FILES) if (await exists(join(folder, name))) return name;
  return undefined;
}

/** The `config.json` of a checkpoint: in its folder, or beside its file. Undefined where there is none. */
export async function configOf(checkpoint: string): Promise<string | undefined> {
  const folder = (await stat(checkpoint)).isDirectory() ? checkpoint : dirname(checkpoint);
  const path = join(folder, "config.json");
  return (await exists(path)) ? path : undefined;
}

/** What `--weights` may be, with its help: the type that a model's matrices are kept in. */
export const WEIGHTS = ["f32", "f16"] as const;
export const WEIGHTS_HELP = "how the model's matrices are kept: f32, or f16, which takes half the memory and rounds them to 11 bits";

/**
 * Loads a checkpoint: its configuration, if it has one, and its weights, in one file or several, and says what it is. With f16 its matrices
 * are, and it can't be trained.
 */
export async function loadCheckpoint(
  checkpoint: string, device: Device, dtype: (typeof WEIGHTS)[number] = "f32",
): Promise<LoadedCheckpoint> {
  const path = await configOf(checkpoint);
  const config = path === undefined ? undefined : await readConfig(path);
  const weights = await openWeightsIn(checkpoint);
  try {
    return await inCheckpoint(checkpoint, path, () => MODELS.load(config, weights, device, dtype));
  } finally {
    await weights.close();
  }
}

/** A model by its `config.json`. Errors name the file. */
export async function modelIn(config: string, options?: MakeOptions): Promise<SequenceModel> {
  const json = await readConfig(config);
  try {
    return MODELS.make(json, options);
  } catch (error) {
    throw ofFile(error, config);
  }
}

/** The model of a checkpoint, without its weights. */
export async function modelOf(checkpoint: string): Promise<SequenceModel> {
  return modelIn(join(checkpoint, "config.json"), { unknownFields: "report" });
}

/** What the run that a checkpoint belongs to recorded, also of one that is named by a link; undefined when nothing is known of one. */
export async function settingsOfRun(checkpoint: string): Promise<JsonObject | undefined> {
  const place = dirname(await realpath(checkpoint));
  const file = join(dirname(place), "run.json");
  if (basename(place) !== "checkpoints" || !(await exists(file))) return undefined;
  const run = await readJson(file);
  return isJsonObject(run) && isJsonObject(run["settings"]) ? run["settings"] : undefined;
}

const isFolder = (path: string): Promise<boolean> => stat(path).then((found) => found.isDirectory(), () => false);

async function exists(path: string): Promise<boolean> {
  return stat(path).then(() => true, () => false);
}

/** The work on a checkpoint and its configuration, if it has one: errors then name the file that they are about, or the checkpoint. */
export async function inCheckpoint<T>(checkpoint: string, config: string | undefined, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw await ofCheckpoint(error, checkpoint, config);
  }
}

/** What is read of a checkpoint, piece by piece; errors as those of {@link inCheckpoint}. */
export async function* piecesOf<T>(checkpoint: string, pieces: AsyncIterable<T>): AsyncGenerator<T, void, undefined> {
  try {
    yield* pieces;
  } catch (error) {
    throw await ofCheckpoint(error, checkpoint);
  }
}

/** Errors begin with what they are about: "config", or the path of a file, which readers know. The others are of the checkpoint. */
async function ofCheckpoint(error: unknown, checkpoint: string, config = checkpoint): Promise<unknown> {
  const named = ofFile(error, config);
  if (named !== error || !(error instanceof LenggenError)) return named;
  const begin = (await isFolder(checkpoint)) ? join(checkpoint, sep) : `${checkpoint}:`;
  if (error.message.startsWith(begin)) return error;
  return new LenggenError(error.code, `checkpoint ${checkpoint}: ${error.message}`, { cause: error });
}
